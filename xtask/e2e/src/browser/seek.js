// Elements as a person finds them: by what they are and what they are called. `arguments`: role, name or null, whether the
// name is all of it. Gives the visible ones, in the order of the page.
const [wanted, called, whole] = arguments;
const INPUTS = { checkbox: 'checkbox', radio: 'radio', search: 'searchbox', file: '', hidden: '', range: 'slider' };
const ROLES = {
  A: (node) => (node.hasAttribute('href') ? 'link' : ''), BUTTON: 'button', SELECT: 'combobox', TEXTAREA: 'textbox', OPTION: 'option',
  INPUT: (node) => INPUTS[node.type] ?? 'textbox', H1: 'heading', H2: 'heading', H3: 'heading', UL: 'list', OL: 'list', LI: 'listitem',
  TABLE: 'table', TR: 'row', TD: 'cell', IFRAME: 'frame', MAIN: 'main', NAV: 'navigation', IMG: (node) => (node.alt ? 'img' : ''),
};
const CONTAINERS = ['list', 'main', 'navigation', 'table', 'region', 'tree', 'tablist', 'group'];
const tidy = (text) => text.replace(/\s+/g, ' ').trim();
const roleOf = (node) => {
  const own = node.getAttribute('role') ?? ROLES[node.tagName] ?? '';
  return typeof own === 'function' ? own(node) : own;
};
const nameOf = (node) => {
  const by = node.getAttribute('aria-labelledby')?.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? '').join(' ');
  const labels = [...(node.labels ?? [])].map((label) => label.textContent).join(' ');
  const content = CONTAINERS.includes(roleOf(node)) ? '' : node.textContent;
  return tidy(by || node.getAttribute('aria-label') || labels || node.alt || content || node.title || node.placeholder || '');
};
const fits = (name) => called === null || (whole ? name === tidy(called) : name.includes(tidy(called)));
return [...document.querySelectorAll('*')].filter((node) => roleOf(node) === wanted && node.checkVisibility() && fits(nameOf(node)));
