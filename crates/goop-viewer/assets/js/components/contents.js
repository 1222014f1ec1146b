// What is in a long page, as links to its parts; the part that is looked at is marked, and stays in sight among the links.
// Offers: Contents.

import { html, useEffect, useLayoutEffect, useRef, useState } from '../../vendor/ui.js';
import { useListener } from './mount.js';

/** A part is looked at when its top is in this part of the window. */
const LOOKED_AT = 1 / 3;
/** Pixels that may be missing to the end of the page. */
const NEAR = 2;

const hash = () => {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return '';
  }
};

/** `list` are `{id, text, depth}`, in the order of the page; `label` is for screen readers. */
export function Contents({ list, label }) {
  const box = useRef(null);
  const [current, setCurrent] = useState(() => (list.some(({ id }) => id === hash()) ? hash() : list[0]?.id));
  useListener(window, 'scroll', () => {
    const last = list.findLast(({ id }) => (document.getElementById(id)?.getBoundingClientRect().top ?? Infinity) < innerHeight * LOOKED_AT);
    const isEnd = scrollY > 0 && innerHeight + scrollY >= document.documentElement.scrollHeight - NEAR;
    setCurrent((isEnd ? list.at(-1) : last ?? list[0])?.id);
  }, { passive: true });
  useEffect(() => { if (hash()) document.getElementById(hash())?.scrollIntoView(); }, []);
  useLayoutEffect(() => {
    // In a row of links only the row moves: the page is where somebody scrolled it.
    const link = box.current.querySelector('[aria-current]');
    if (link && box.current.scrollWidth > box.current.clientWidth) box.current.scrollLeft = link.offsetLeft - (box.current.clientWidth - link.offsetWidth) / 2;
  }, [current]);
  return html`<nav class="contents" aria-label=${label} ref=${box}>
    ${list.map(({ id, text, depth }) => html`<a key=${id} href=${`#${id}`} data-depth=${depth} aria-current=${id === current ? 'true' : undefined}>${text}</a>`)}</nav>`;
}
