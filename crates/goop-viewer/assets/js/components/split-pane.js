// Two panes with a divider: mouse and touch drag it, arrows move it, a double click or Enter puts it back. Narrow windows
// show the panes below each other. The position is saved on the peer.

import { html, useRef, useState } from '../../vendor/ui.js';
import { saveSplit, splitOf } from '../session.js';

const strings = { divider: 'Width of the left side' };

/** Percent an arrow key moves. */
const STEP = 2;

/** `name` is what the position is saved under; `initial`, `min` and `max` are percent of the width. */
export function SplitPane({ name, initial = 26, min = 15, max = 60, left, right }) {
  const box = useRef(null);
  const [dragged, setDragged] = useState(null);
  const clamp = (value) => Math.min(max, Math.max(min, Math.round(value * 10) / 10));
  const at = clamp(dragged ?? splitOf(name) ?? initial);
  function move(event) {
    if (dragged === null) return;
    const { left: start, width } = box.current.getBoundingClientRect();
    setDragged(clamp(((event.clientX - start) / width) * 100));
  }
  function drop() {
    if (dragged === null) return;
    saveSplit(name, dragged);
    setDragged(null);
  }
  function key(event) {
    const to = { ArrowLeft: at - STEP, ArrowRight: at + STEP, Home: min, End: max, Enter: initial }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    saveSplit(name, clamp(to));
  }
  return html`<div class="split" ref=${box} style=${{ '--split': `${at}%` }} data-dragged=${dragged !== null}>
    <div class="split-left">${left}</div>
    <div class="split-bar" role="separator" tabindex="0" aria-orientation="vertical" aria-label=${strings.divider}
      aria-valuemin=${min} aria-valuemax=${max} aria-valuenow=${Math.round(at)}
      onPointerDown=${(event) => { event.currentTarget.setPointerCapture(event.pointerId); setDragged(at); }}
      onPointerMove=${move} onPointerUp=${drop} onPointerCancel=${drop} onKeyDown=${key} onDblClick=${() => saveSplit(name, initial)}></div>
    <div class="split-right">${right}</div>
  </div>`;
}
