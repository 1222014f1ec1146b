// A divider between two parts of a page: dragged, moved with the arrow keys, put back with a double click.

import { html } from '../../vendor/ui.js';

/** How far an arrow key moves it, in percent. */
const STEP = 2;

/**
 * `share` is a signal with the part's width in percent of the whole (`of`, a selector). `side` is `start` for a part on the
 * left and `end` for one on the right. `onDone(value)` hears where it was left.
 */
export function Split({ label, share, least, most, usual, side, of, onDone }) {
  const set = (value) => { share.value = Math.round(Math.max(least, Math.min(most, value)) * 10) / 10; };
  const finish = (value) => {
    set(value);
    onDone(share.value);
  };

  function onPointerDown(event) {
    if (event.button !== 0) return;
    const handle = event.currentTarget;
    const box = handle.closest(of).getBoundingClientRect();
    const at = (move) => ((side === 'start' ? move.clientX - box.left : box.right - move.clientX) / box.width) * 100;
    handle.setPointerCapture(event.pointerId);
    handle.dataset.held = 'true';
    const move = (moved) => set(at(moved));
    const end = () => {
      handle.removeEventListener('pointermove', move);
      delete handle.dataset.held;
      onDone(share.value);
    };
    handle.addEventListener('pointermove', move);
    handle.addEventListener('lostpointercapture', end, { once: true });
  }

  function onKeyDown(event) {
    const wider = side === 'start' ? 'ArrowRight' : 'ArrowLeft';
    const narrower = side === 'start' ? 'ArrowLeft' : 'ArrowRight';
    const to = { [wider]: share.value + STEP, [narrower]: share.value - STEP, Home: least, End: most, Enter: usual }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    finish(to);
  }

  return html`
    <div class="ed-split" role="separator" aria-orientation="vertical" tabindex="0" aria-label=${label}
      aria-valuemin=${least} aria-valuemax=${most} aria-valuenow=${Math.round(share.value)}
      onPointerDown=${onPointerDown} onKeyDown=${onKeyDown} onDblClick=${() => finish(usual)}></div>`;
}
