// A menu at a place: arrows, Home, End and first letters move, Enter and Space choose, Escape and Tab leave.

import { el } from '../dom.js';

/** Room that stays between the menu and the edge of the window, in pixels. */
const EDGE = 8;

const isMac = navigator.platform.startsWith('Mac');
const keyText = (keys) => keys.replace('Control+', isMac ? '⌘' : 'Ctrl ').replace('Delete', 'Del');

let leaveOpen = () => {};

/**
 * Opens a menu. `items` are `{label, act, keys, bad}` or `null` for a line between groups; `at` is `{x, y}` or an element.
 * Focus comes back to where it was.
 */
export function openMenu(items, at, label) {
  leaveOpen();
  const before = document.activeElement;
  const gone = new AbortController();
  const menu = el('div', { class: 'menu', role: 'menu', 'aria-label': label });
  const buttons = [];
  const close = (back = true) => {
    gone.abort();
    const had = menu.contains(document.activeElement);
    menu.remove();
    leaveOpen = () => {};
    if (back && had) before?.focus?.({ preventScroll: true });
  };
  leaveOpen = close;
  for (const item of items) {
    if (!item) {
      menu.append(el('div', { class: 'menu-line', role: 'separator' }));
      continue;
    }
    const button = el('button', { class: item.bad ? 'menu-item bad' : 'menu-item', role: 'menuitem', type: 'button', tabindex: -1, onclick: () => {
      close();
      item.act();
    } }, el('span', {}, item.label), item.keys && el('kbd', { 'aria-hidden': 'true' }, keyText(item.keys)));
    if (item.keys) button.setAttribute('aria-keyshortcuts', isMac ? item.keys.replace('Control', 'Meta') : item.keys);
    buttons.push(button);
    menu.append(button);
  }
  const go = (index) => buttons[(index + buttons.length) % buttons.length].focus();
  menu.addEventListener('keydown', (event) => {
    const here = buttons.indexOf(document.activeElement);
    const moves = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: buttons.length - 1 };
    if (event.key in moves) go(moves[event.key]);
    else if (event.key === 'Escape' || event.key === 'Tab') close();
    else if (event.key.length === 1 && event.key !== ' ' && !event.ctrlKey && !event.metaKey) {
      const turned = [...buttons.slice(here + 1), ...buttons.slice(0, here + 1)];
      turned.find((button) => button.textContent.toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
    } else return;
    if (event.key !== 'Tab') event.preventDefault();
    event.stopPropagation();
  });
  menu.addEventListener('contextmenu', (event) => event.preventDefault());
  document.getElementById('main').append(menu);
  place(menu, at);
  const { signal } = gone;
  addEventListener('pointerdown', (event) => { if (!menu.contains(event.target)) close(false); }, { capture: true, signal });
  addEventListener('blur', () => close(false), { signal });
  addEventListener('resize', () => close(), { signal });
  buttons[0]?.focus();
}

/** Closes whatever menu is open. */
export const closeMenu = () => leaveOpen(false);

function place(menu, at) {
  const box = at instanceof Element ? at.getBoundingClientRect() : { left: at.x, right: at.x, top: at.y, bottom: at.y };
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = box.bottom + height + EDGE <= innerHeight;
  const top = below ? box.bottom : Math.max(EDGE, box.top - height);
  const left = box.left + width + EDGE <= innerWidth ? box.left : box.right - width;
  menu.style.top = `${Math.max(EDGE, Math.min(top, innerHeight - height - EDGE))}px`;
  menu.style.left = `${Math.max(EDGE, Math.min(left, innerWidth - width - EDGE))}px`;
}
