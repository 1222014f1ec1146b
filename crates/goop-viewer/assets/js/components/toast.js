// Short messages at the edge of the page that leave by themselves.
// Offers: toast(text, {level, title, action, label}), Toasts.

import { html, signal, useEffect, useState } from '../../vendor/ui.js';
import { Icon } from './icon.js';

const strings = { close: 'Close this message' };

/** Milliseconds a message stays. */
const STAY = { error: 6000, warning: 5000, success: 3000, info: 4000 };
/** Longest text that is shown. */
const MAX_TEXT = 240;

const shown = signal([]);
let next = 0;

/**
 * Shows a message and gives back how to take it away. `action` is called when it is clicked, or when its button `label` is;
 * `stay` overrides how many milliseconds it is shown; `picture` is the address of somebody's picture.
 */
export function toast(text, { level = 'info', title = '', action = null, label = '', stay = STAY[level], picture = '' } = {}) {
  next += 1;
  const id = next;
  const cut = String(text).length > MAX_TEXT ? `${String(text).slice(0, MAX_TEXT)}…` : String(text);
  shown.value = [...shown.value, { id, text: cut, level, title, action, label, stay, picture }];
  return () => remove(id);
}

/** Shows an error that has no better place. */
export const toastError = (error) => toast(error.message, { level: 'error' });

const remove = (id) => { shown.value = shown.value.filter((item) => item.id !== id); };

function Toast({ item }) {
  const [held, setHeld] = useState(false);
  useEffect(() => {
    if (held) return undefined;
    const timer = setTimeout(() => remove(item.id), item.stay);
    return () => clearTimeout(timer);
  }, [held]);
  const words = html`${item.title && html`<strong>${item.title}</strong>`}<span>${item.text}</span>`;
  const act = () => { remove(item.id); item.action(); };
  return html`<div class="toast" data-level=${item.level} role=${item.level === 'error' ? 'alert' : undefined}
      onMouseEnter=${() => setHeld(true)} onMouseLeave=${() => setHeld(false)} onFocusIn=${() => setHeld(true)} onFocusOut=${() => setHeld(false)}>
    ${item.picture ? html`<img class="avatar" src=${item.picture} alt="" />` : html`<${Icon} name=${item.level} />`}
    ${item.action && !item.label ? html`<button type="button" class="toast-words" onClick=${act}>${words}</button>` : html`<p class="toast-words">${words}</p>`}
    ${item.label && html`<button type="button" class="button small" onClick=${act}>${item.label}</button>`}
    <button type="button" class="icon-button" aria-label=${strings.close} onClick=${() => remove(item.id)}><${Icon} name="close" /></button>
  </div>`;
}

/** The stack of messages. */
export function Toasts() {
  return shown.value.map((item) => html`<${Toast} key=${item.id} item=${item} />`);
}
