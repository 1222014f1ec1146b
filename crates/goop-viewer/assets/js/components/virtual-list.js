// A long list of equally high rows: only those near the window exist. The page itself scrolls.
//
// Whoever stands in a row stays there: rows keep their elements while the list changes around them, and a row with the
// focus exists even when it is scrolled away. Up and down lead to the same control of the neighbouring row.

import { html, useLayoutEffect, useRef, useState } from '../../vendor/ui.js';
import { useListener } from './mount.js';

/** Rows beyond each edge of the window. */
const SPARE = 6;
/** Height in pixels until a row was measured. */
const GUESS = 84;
/** What takes part in up and down. */
const CONTROLS = 'a[href], button, input, select';

/** `items` are shown by `row(item)`; `keyOf(item)` names them. `label` is for screen readers. */
export function VirtualList({ items, keyOf, row, label }) {
  const list = useRef(null);
  const [height, setHeight] = useState(GUESS);
  const [[from, to], setRange] = useState([0, 20]);
  const held = useRef(null);
  const frame = useRef(0);

  function look() {
    const box = list.current?.getBoundingClientRect();
    if (!box) return;
    const first = Math.max(0, Math.floor(-box.top / height) - SPARE);
    const last = Math.ceil((innerHeight - box.top) / height) + SPARE;
    setRange((old) => (old[0] === first && old[1] === last ? old : [first, last]));
  }
  function lookSoon() {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(look);
  }
  useListener(window, 'scroll', lookSoon, { passive: true });
  useListener(window, 'resize', lookSoon);

  // The element with the focus before this drawing; moving it in the document would take the focus away.
  const before = list.current?.contains(document.activeElement) ? document.activeElement : null;
  useLayoutEffect(() => {
    const measured = list.current?.firstElementChild?.getBoundingClientRect().height;
    if (measured && Math.abs(measured - height) > 0.5) setHeight(measured);
    if (before?.isConnected && document.activeElement !== before) before.focus({ preventScroll: true });
    look();
  });

  const shown = [];
  for (let at = from; at < Math.min(to, items.length); at += 1) shown.push(at);
  if (held.current !== null) {
    const at = items.findIndex((item) => keyOf(item) === held.current);
    if (at !== -1 && (at < from || at >= to)) shown.push(at);
  }

  function step(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const at = Number(event.target.closest?.('.virtual-row')?.dataset.index);
    if (!by || Number.isNaN(at) || event.altKey || event.ctrlKey || event.metaKey) return;
    const here = [...event.target.closest('.virtual-row').querySelectorAll(CONTROLS)].indexOf(event.target);
    const next = list.current.querySelector(`[data-index="${at + by}"]`)?.querySelectorAll(CONTROLS);
    if (!next?.length) return;
    event.preventDefault();
    next[Math.min(Math.max(here, 0), next.length - 1)].focus();
  }

  return html`<ul class="virtual" role="list" ref=${list} aria-label=${label} style=${{ height: `${items.length * height}px` }} onKeyDown=${step}
      onFocusIn=${(event) => { held.current = event.target.closest('.virtual-row')?.dataset.key ?? null; }}
      onFocusOut=${(event) => { if (!list.current?.contains(event.relatedTarget)) held.current = null; }}>
    ${shown.map((at) => html`<li key=${keyOf(items[at])} class="virtual-row" data-key=${keyOf(items[at])} data-index=${at}
      aria-setsize=${items.length} aria-posinset=${at + 1} style=${{ top: `${at * height}px` }}>${row(items[at])}</li>`)}
  </ul>`;
}
