// What is wrong with the layout: a page that scrolls sideways, controls that leave the window where nothing scrolls to them,
// rows whose content does not fit.
const done = arguments[arguments.length - 1];
const EDGE = 1;
function wrong() {
  const found = [];
  const root = document.scrollingElement;
  // A picture is no page.
  if (!root || !document.getElementById('main')) return found;
  const width = root.clientWidth;
  if (root.scrollWidth > width) {
    const reach = (node) => Math.max(node.getBoundingClientRect().right, node.getBoundingClientRect().left + node.scrollWidth);
    const widest = [...document.body.querySelectorAll('*')].filter((node) => reach(node) > width + EDGE && !scrolled(node)).reverse();
    found.push(`the page is ${root.scrollWidth} px wide in ${width}: ${widest.slice(0, 3).map(shown).join(' | ')}`);
  }
  for (const node of document.querySelectorAll('a[href], button, input, select, [role="tab"], h1, h2, td, th')) {
    const { left, right } = node.getBoundingClientRect();
    const out = right > width + EDGE || (left < -EDGE && right > 0);
    if (out && node.checkVisibility() && !scrolled(node) && !node.matches('.hidden')) found.push(`from ${Math.round(left)} to ${Math.round(right)} of ${width}: ${shown(node)}`);
  }
  for (const node of document.querySelectorAll('[role="listitem"], [role="list"] > li, [role="treeitem"], dialog, [role="menu"]')) {
    if (node.checkVisibility() && node.scrollHeight > node.clientHeight + EDGE && getComputedStyle(node).overflowY === 'visible') {
      found.push(`${node.scrollHeight} px in ${node.clientHeight}: ${shown(node)}`);
    }
    const { top, bottom } = node.getBoundingClientRect();
    if (node.matches('dialog, [role="menu"]') && (top < 0 || bottom > innerHeight)) found.push(`beyond the window: ${shown(node)}`);
  }
  return found.slice(0, 8);
}
function shown(node) {
  return node.outerHTML.slice(0, 160);
}
function scrolled(node) {
  for (let above = node.parentElement; above && above !== document.body; above = above.parentElement) {
    if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(above).overflowX)) {
      // What is cut off without a way to it counts as broken when it is all there is of a control.
      return ['auto', 'scroll'].includes(getComputedStyle(above).overflowX) || node.getBoundingClientRect().left < above.getBoundingClientRect().right;
    }
  }
  return false;
}
// Beside a frame whose page was refused there may be no next frame to draw; a moment has to do.
const LONGEST = 1000;
const drawn = new Promise((ready) => { requestAnimationFrame(() => requestAnimationFrame(ready)); });
const late = new Promise((ready) => { setTimeout(ready, LONGEST); });
Promise.race([drawn, late]).then(() => done(wrong()), (error) => done([String(error)]));
