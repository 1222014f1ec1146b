// Messages of the system's desktop, for who looks somewhere else: only where the owner wants them, and only while no tab
// of these pages is before their eyes.
// Offers: wanted (a signal), canNotify, setWanted, notify.

import { signal } from '../vendor/ui.js';

const KEY = 'notify';
/** Held, shared, by every tab that is in sight. */
const IN_SIGHT = 'goop2-in-sight';

export const canNotify = 'Notification' in window;

/** Whether desktop messages are wanted in this browser, and allowed. */
export const wanted = signal(canNotify && localStorage.getItem(KEY) === 'yes' && Notification.permission === 'granted');

/** Switches them on or off; answers whether they are on. The browser may ask the owner. */
export async function setWanted(on) {
  const allowed = on && canNotify && await Notification.requestPermission() === 'granted';
  localStorage.setItem(KEY, allowed ? 'yes' : 'no');
  wanted.value = allowed;
  return allowed;
}

let letGo = null;

function look() {
  if (document.hidden) {
    letGo?.();
    letGo = null;
  } else if (!letGo) {
    navigator.locks.request(IN_SIGHT, { mode: 'shared' }, () => new Promise((done) => { letGo = done; }));
  }
}
document.addEventListener('visibilitychange', look);
look();

/** Shows a message outside the browser; the tabs that show the same one (`tag`) show it once. */
export async function notify({ title, text, tag, open, icon }) {
  if (!wanted.value || !document.hidden) return;
  const { held } = await navigator.locks.query();
  if (held.some(({ name }) => name === IN_SIGHT)) return;
  const shown = new Notification(title, { body: text, tag, icon });
  shown.addEventListener('click', () => {
    shown.close();
    window.focus();
    open();
  });
}
