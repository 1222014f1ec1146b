// Building elements without the reactive layer: text is always text, attributes are named, nothing is parsed as HTML.

export { toast } from './components/toast.js';

/** Makes an element. `props` holds attributes; `on…` functions are listeners; children are nodes or texts. */
export function el(name, props = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
