// Short messages with something to do about them. They wait while somebody reaches for them.

import { el } from '../dom.js';

/** How long a message stays, in milliseconds: time to read it and to reach the button with the keyboard. */
const STAYS = 12000;

/** Shows `text` with a button. `act` may take a while; what it throws is shown in place of the text. */
export function offer(text, label, act) {
  const words = el('span', {}, text);
  const button = el('button', { type: 'button', class: 'toast-action', onclick: async () => {
    button.disabled = true;
    try {
      await act();
      note.remove();
    } catch (error) {
      words.textContent = error.message;
      button.remove();
    }
  } }, label);
  const note = el('div', { class: 'toast with-action' }, words, button);
  let timer;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => note.remove(), STAYS);
  };
  const hold = () => clearTimeout(timer);
  note.addEventListener('pointerenter', hold);
  note.addEventListener('pointerleave', wait);
  note.addEventListener('focusin', hold);
  note.addEventListener('focusout', wait);
  document.getElementById('toasts').append(note);
  wait();
  return () => note.remove();
}
