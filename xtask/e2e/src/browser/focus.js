// What has the focus, and what is wrong with that: `{node, spot, problem}`. `spot` is what a person sees as the place: the
// node itself, or the row that a tree names as its active one. Pages and headings take the focus to be read, not to be used,
// and show no ring.
let node = document.activeElement;
while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
const spot = document.getElementById(node?.getAttribute('aria-activedescendant')) ?? node;

/** A part of it is inside the window, and nothing lies over that part. */
function isSeen() {
  const { left, top, right, bottom } = spot.getBoundingClientRect();
  const [l, t, r, b] = [Math.max(left, 0), Math.max(top, 0), Math.min(right, innerWidth), Math.min(bottom, innerHeight)];
  if (r - l < 2 || b - t < 2) return false;
  const parts = [0.1, 0.5, 0.9];
  return parts.some((x) => parts.some((y) => {
    const top = spot.getRootNode().elementFromPoint(l + (r - l) * x, t + (b - t) * y);
    return spot.contains(top) || spot.getRootNode().host === top;
  }));
}

/** Around it, around the box of a text, or around the picture that stands for a choice. */
function hasRing() {
  const around = [node, spot, node.nextElementSibling, node.getRootNode().host, node.querySelector(':scope > circle')].filter(Boolean);
  return around.some((one) => {
    const { outlineStyle, outlineWidth, boxShadow, strokeWidth } = getComputedStyle(one);
    return (outlineStyle !== 'none' && parseFloat(outlineWidth) > 0) || (one !== node && boxShadow.includes('inset'))
      || (one.tagName === 'circle' && parseFloat(strokeWidth) > 4);
  });
}

function problem() {
  if (!node || node === document.body) return 'nothing has the focus';
  if (node.id === 'main' || /^H[1-6]$/.test(node.tagName)) return '';
  if (!isSeen()) return `it is not in sight: ${JSON.stringify(spot.getBoundingClientRect())}`;
  return node.tagName === 'IFRAME' || hasRing() ? '' : 'nothing shows that it has the focus';
}

return { node, spot, problem: problem() };
