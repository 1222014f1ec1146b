// Menus at a point or at a button: arrows, Home, End and first letters move, Escape and Tab leave.
// Offers: openMenu, menuAt, Menus.

import { html, signal, useEffect, useLayoutEffect, useRef } from '../../vendor/ui.js';
import { Icon } from './icon.js';

/** Pixels to the edge of the window. */
const EDGE = 8;

const menu = signal(null);

/** Shows a menu. `at` is a point or an element; `items` are `{text, icon, act, bad, keys}` or `{href, …}`. */
export function openMenu(at, label, items) {
  menu.value = { at, label, items, back: document.activeElement };
}

/** For `contextmenu` listeners: a menu where the mouse is, or at the element when a key asked for it. */
export function menuAt(event, label, items) {
  event.preventDefault();
  const byKey = event.clientX === 0 && event.clientY === 0;
  const here = event.target.closest('a, button') ?? event.currentTarget;
  openMenu(byKey || event.pointerType === '' ? here : { x: event.clientX, y: event.clientY }, label, items);
}

function close(giveBack) {
  const back = menu.value?.back;
  menu.value = null;
  if (giveBack && back?.isConnected) back.focus({ preventScroll: true });
}

function Menu({ at, label, items }) {
  const box = useRef(null);
  const choices = () => [...box.current.querySelectorAll('[role="menuitem"]')];
  useLayoutEffect(() => {
    const size = box.current.getBoundingClientRect();
    const spot = at instanceof Element ? at.getBoundingClientRect() : { left: at.x, bottom: at.y, top: at.y };
    const below = spot.bottom + size.height + EDGE <= innerHeight;
    box.current.style.left = `${Math.max(EDGE, Math.min(spot.left, innerWidth - size.width - EDGE))}px`;
    box.current.style.top = `${Math.max(EDGE, below ? spot.bottom : spot.top - size.height)}px`;
    choices()[0]?.focus({ preventScroll: true });
  }, []);
  useEffect(() => {
    const away = (event) => box.current?.contains(event.target) || close(false);
    const moved = () => close(false);
    addEventListener('pointerdown', away, true);
    addEventListener('resize', moved);
    addEventListener('scroll', moved, { passive: true });
    addEventListener('blur', moved);
    return () => {
      removeEventListener('pointerdown', away, true);
      removeEventListener('resize', moved);
      removeEventListener('scroll', moved);
      removeEventListener('blur', moved);
    };
  }, []);
  function key(event) {
    const all = choices();
    const here = all.indexOf(document.activeElement);
    const to = {
      ArrowDown: (here + 1) % all.length, ArrowUp: (here - 1 + all.length) % all.length, Home: 0, End: all.length - 1,
    }[event.key];
    if (event.key === 'Escape' || event.key === 'Tab') close(true);
    else if (to !== undefined) all[to].focus();
    else if (event.key.length === 1 && event.key !== ' ') {
      const order = [...all.slice(here + 1), ...all.slice(0, here + 1)];
      order.find((item) => item.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
      return;
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
  const choose = (item) => () => {
    close(true);
    item.act?.();
  };
  return html`<section aria-label=${label}><div class="menu" role="menu" aria-label=${label} ref=${box} onKeyDown=${key}>
    ${items.filter(Boolean).map((item) => {
    const inner = html`<${Icon} name=${item.icon} /><span>${item.text}</span>${item.keys && html`<kbd aria-hidden="true">${item.keys}</kbd>`}`;
    const cls = item.bad ? 'menu-item bad' : 'menu-item';
    return item.href
      ? html`<a key=${item.text} class=${cls} role="menuitem" tabindex="-1" href=${item.href} target=${item.target} rel="noreferrer" onClick=${choose(item)}>${inner}</a>`
      : html`<button key=${item.text} class=${cls} type="button" role="menuitem" tabindex="-1" onClick=${choose(item)}>${inner}</button>`;
  })}
  </div></section>`;
}

/** The open menu, if there is one. */
export const Menus = () => menu.value && html`<${Menu} key=${menu.value.items} ...${menu.value} />`;
