// What a person finds on the page: the elements with a role and a name that are shown. Called with the role, the name (null
// for any), whether that is the whole name, and an element to look in or null. White space in names does not count.
const [role, name, isWhole, inside] = arguments;

const KINDS = {
  button: 'button, input[type=submit]',
  cell: 'td',
  checkbox: 'input[type=checkbox]',
  columnheader: 'th[scope=col]',
  combobox: 'select',
  dialog: 'dialog[open]',
  heading: 'h1, h2, h3, h4',
  iframe: 'iframe',
  image: 'img[alt]:not([alt=""])',
  link: 'a[href]',
  list: 'ul, ol',
  listitem: 'li',
  main: 'main',
  navigation: 'nav',
  option: 'option',
  radio: 'input[type=radio]',
  region: 'section[aria-label], section[aria-labelledby]',
  row: 'tr',
  rowheader: 'th[scope=row]',
  progressbar: 'progress',
  searchbox: 'input[type=search]',
  slider: 'input[type=range]',
  table: 'table',
  textbox: 'input:not([type]), input[type=text], input[type=email], textarea',
};
/** Roles whose name is never their content. */
const NAMED_OUTSIDE = ['checkbox', 'combobox', 'dialog', 'grid', 'group', 'iframe', 'list', 'listbox', 'main', 'menu', 'navigation', 'progressbar', 'radio', 'region', 'searchbox',
  'separator', 'slider', 'table', 'tablist', 'tabpanel', 'textbox', 'toolbar', 'tree'];

const squeezed = (text) => (text ?? '').replace(/\s+/g, '');
const fits = (called) => name === null || (isWhole ? squeezed(called) === squeezed(name) : squeezed(called).includes(squeezed(name)));
const isShown = (node) => node.checkVisibility({ visibilityProperty: true }) && node.getClientRects().length > 0;

function textOf(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (node.nodeType !== Node.ELEMENT_NODE || node.getAttribute('aria-hidden') === 'true' || getComputedStyle(node).display === 'none') return '';
  return node.getAttribute('aria-label') ?? node.getAttribute('alt') ?? [...node.childNodes].map(textOf).join('');
}

function nameOf(node) {
  const by = (node.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => id && node.getRootNode().getElementById(id)).filter(Boolean);
  if (by.length > 0) return by.map(textOf).join('');
  if (node.getAttribute('aria-label')) return node.getAttribute('aria-label');
  if (node.labels?.length) return [...node.labels].map(textOf).join('');
  const content = NAMED_OUTSIDE.includes(role) ? '' : textOf(node);
  return content || node.getAttribute('title') || node.getAttribute('placeholder') || '';
}

/** Everything that matches, in shadow roots, too. */
const all = (root, css) => [
  ...root.querySelectorAll(css),
  ...[...root.querySelectorAll('*')].filter((node) => node.shadowRoot).flatMap((node) => all(node.shadowRoot, css)),
];

// What lies behind a dialog cannot be reached.
const root = inside ?? document.querySelector('dialog:modal')?.parentNode ?? document;
const css = [`[role="${role}"]`, KINDS[role]].filter(Boolean).join(', ');
return all(root, css).filter((node) => (node.getAttribute('role') ?? role) === role && isShown(node)
  && fits(nameOf(node)));
