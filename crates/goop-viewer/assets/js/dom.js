// Building elements: text is always text, attributes are named, nothing is parsed as HTML.

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

/** Shows a short message for some seconds. */
export function toast(text) {
  const note = el('p', { class: 'toast' }, text);
  document.getElementById('toasts').append(note);
  setTimeout(() => note.remove(), 5000);
}

/** Shows `nodes` in `parent` and keeps every child that looks the same: what is being clicked or read stays in place. */
export function fillWith(parent, nodes, key) {
  const old = new Map([...parent.children].map((node) => [key(node), node]));
  const kept = nodes.map((node) => {
    const before = old.get(key(node));
    return before?.isEqualNode(node) ? before : node;
  });
  const stays = new Set(kept);
  for (const node of [...parent.children]) if (!stays.has(node)) node.remove();
  let next = parent.firstElementChild;
  for (const node of kept) {
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
}
