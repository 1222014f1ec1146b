// Dialogs over the page: the focus stays inside, Escape and a click outside leave, and it returns to where it was.
// Offers: Dialog, Dialogs, openDialog, confirm.

import { html, signal, useEffect, useId, useRef } from '../../vendor/ui.js';
import { Icon } from './icon.js';

const strings = { close: 'Close', cancel: 'Cancel', ok: 'OK' };

const INSIDE = 'a[href], button:not([disabled]), input:not([disabled]), select:not([disabled]), textarea:not([disabled]), [tabindex="0"]';

/** A dialog while it is drawn. `onClose` is asked to take it away; `keep` ignores clicks outside. */
export function Dialog({ title, onClose, wide = false, keep = false, children }) {
  const box = useRef(null);
  const id = useId();
  useEffect(() => {
    const dialog = box.current;
    const back = document.activeElement;
    dialog.showModal();
    (dialog.querySelector('[data-first]') ?? dialog.querySelector('.dialog-body')?.querySelector(INSIDE) ?? dialog).focus();
    return () => {
      dialog.close();
      if (back?.isConnected) back.focus({ preventScroll: true });
    };
  }, []);
  function trap(event) {
    if (event.key !== 'Tab') return;
    const inside = [...box.current.querySelectorAll(INSIDE)].filter((node) => node.offsetParent !== null);
    const edge = event.shiftKey ? inside[0] : inside.at(-1);
    if (document.activeElement !== edge) return;
    event.preventDefault();
    (event.shiftKey ? inside.at(-1) : inside[0])?.focus();
  }
  const outside = (event) => event.target === box.current && !keep && onClose();
  return html`<dialog ref=${box} class=${wide ? 'dialog wide' : 'dialog'} aria-labelledby=${id} onKeyDown=${trap} onMouseDown=${outside}
      onCancel=${(event) => { event.preventDefault(); onClose(); }}>
    <div class="dialog-head"><h2 id=${id}>${title}</h2>
      <button type="button" class="icon-button" aria-label=${strings.close} onClick=${onClose}><${Icon} name="close" /></button></div>
    <div class="dialog-body stack">${children}</div>
  </dialog>`;
}

const open = signal([]);
let next = 0;

/** Shows a dialog that is no part of a page: `draw(close)` gives it, and the promise what `close` was called with. */
export function openDialog(draw) {
  return new Promise((resolve) => {
    next += 1;
    const id = next;
    const close = (answer) => {
      open.value = open.value.filter((item) => item.id !== id);
      resolve(answer);
    };
    open.value = [...open.value, { id, draw, close }];
  });
}

/** Dialogs of `openDialog`. */
export const Dialogs = () => open.value.map(({ id, draw, close }) => html`<div key=${id}>${draw(close)}</div>`);

/** Asks before something is done that cannot be taken back. Cancel has the focus. */
export const confirm = ({ title, text, ok = strings.ok, bad = false }) => openDialog((close) => html`
  <${Dialog} title=${title} onClose=${() => close(false)}>
    <p>${text}</p>
    <div class="row dialog-ways">
      <button type="button" class="button" data-first onClick=${() => close(false)}>${strings.cancel}</button>
      <button type="button" class=${bad ? 'button danger' : 'button primary'} onClick=${() => close(true)}>${ok}</button>
    </div>
  <//>`);
