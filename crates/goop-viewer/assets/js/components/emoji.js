// A button beside a text field that shows emoji: found by their names, or in a grid that arrows walk through; what is chosen stands
// where the cursor was.
// Offers: EmojiButton, insertAt.

import { html, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from '../../vendor/ui.js';
import { parts } from './emoji-list.js';
import { Icon } from './icon.js';

const strings = {
  button: 'Insert an emoji',
  title: 'Emoji',
  search: 'Search by name',
  grid: 'Emoji',
  parts: 'Kinds of emoji',
  found: (n) => (n === 1 ? 'One found' : `${n} found`),
  nothing: 'No emoji has this name.',
};

/** Emoji in a row of the grid. */
const COLUMNS = 8;
/** Pixels to the edge of the window. */
const EDGE = 8;

/** Puts `text` where the cursor of `input` is, in place of what is marked, and says so as if it was typed. */
export function insertAt(input, text) {
  input.setRangeText(text, input.selectionStart ?? input.value.length, input.selectionEnd ?? input.value.length, 'end');
  input.dispatchEvent(new InputEvent('input', { bubbles: true, data: text, inputType: 'insertText' }));
}

const rowsOf = (list) => Array.from({ length: Math.ceil(list.length / COLUMNS) }, (_, row) => list.slice(row * COLUMNS, (row + 1) * COLUMNS));

/** One stop for Tab; arrows walk, Home and End lead to the ends of a row, with Ctrl to the ends of all. */
function Grid({ list, onPick, onLeaveUp }) {
  const [at, setAt] = useState(0);
  const box = useRef(null);
  const here = Math.min(at, list.length - 1);
  const to = (next) => {
    const spot = Math.max(0, Math.min(list.length - 1, next));
    setAt(spot);
    box.current.querySelector(`[data-at="${spot}"]`).focus();
  };
  function key(event) {
    const start = here - (here % COLUMNS);
    const ways = {
      ArrowRight: here + 1, ArrowLeft: here - 1, ArrowDown: here + COLUMNS < list.length ? here + COLUMNS : here, ArrowUp: here - COLUMNS,
      Home: event.ctrlKey ? 0 : start, End: event.ctrlKey ? list.length - 1 : start + COLUMNS - 1,
    };
    if (!(event.key in ways)) return;
    event.preventDefault();
    if (event.key === 'ArrowUp' && here < COLUMNS) onLeaveUp();
    else to(ways[event.key]);
  }
  return html`<div class="emoji-grid" role="grid" aria-label=${strings.grid} ref=${box} onKeyDown=${key}>
    ${rowsOf(list).map((row, line) => html`<div key=${line} role="row" class="emoji-row">
      ${row.map(({ sign, words }, place) => {
    const spot = line * COLUMNS + place;
    return html`<span key=${sign} role="gridcell"><button type="button" class="emoji" data-at=${spot} tabindex=${spot === here ? 0 : -1} aria-label=${words} title=${words}
          onFocus=${() => setAt(spot)} onClick=${() => onPick(sign)}>${sign}</button></span>`;
  })}</div>`)}
  </div>`;
}

function Picker({ anchor, onPick, onClose }) {
  const [text, setText] = useState('');
  const [part, setPart] = useState(parts[0].name);
  const box = useRef(null);
  const search = useRef(null);
  const wanted = text.trim().toLowerCase();
  const list = useMemo(() => (wanted ? parts.flatMap(({ emoji }) => emoji).filter(({ sign, words }) => sign === wanted || wanted.split(/\s+/).every((word) => words.includes(word)))
    : parts.find(({ name }) => name === part).emoji), [wanted, part]);
  // Phones are turned, and their keyboards come and go: it stays at its button, and in the window.
  useLayoutEffect(() => {
    function place() {
      const spot = anchor.getBoundingClientRect();
      const { width, height } = box.current.getBoundingClientRect();
      const below = spot.bottom + height + EDGE <= innerHeight;
      box.current.style.left = `${Math.max(EDGE, Math.min(spot.left, innerWidth - width - EDGE))}px`;
      box.current.style.top = `${Math.max(EDGE, Math.min(below ? spot.bottom + EDGE / 2 : spot.top - height - EDGE / 2, innerHeight - height - EDGE))}px`;
    }
    place();
    search.current.focus({ preventScroll: true });
    const watcher = new ResizeObserver(place);
    watcher.observe(box.current);
    watcher.observe(document.documentElement);
    addEventListener('resize', place);
    addEventListener('scroll', place, { passive: true });
    return () => {
      watcher.disconnect();
      removeEventListener('resize', place);
      removeEventListener('scroll', place);
    };
  }, []);
  useEffect(() => {
    const away = (event) => box.current?.contains(event.target) || anchor.contains(event.target) || onClose(false);
    addEventListener('pointerdown', away, true);
    return () => removeEventListener('pointerdown', away, true);
  }, []);
  function key(event) {
    if (event.key === 'Escape') onClose(true);
    else if (event.key === 'ArrowDown' && event.target === search.current) box.current.querySelector('.emoji[tabindex="0"]')?.focus();
    else if (event.key === 'Enter' && event.target === search.current && wanted && list.length > 0) onPick(list[0].sign);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
  const left = (event) => event.relatedTarget && !box.current.contains(event.relatedTarget) && event.relatedTarget !== anchor && onClose(false);
  return html`<div class="emoji-picker" role="dialog" aria-label=${strings.title} ref=${box} onKeyDown=${key} onFocusOut=${left}>
    <input class="search" type="search" ref=${search} placeholder=${strings.search} aria-label=${strings.search} value=${text} onInput=${(event) => setText(event.currentTarget.value)} />
    <div class="emoji-parts" role="group" aria-label=${strings.parts}>${parts.map(({ name, icon }) => html`<button key=${name} type="button" class="emoji" aria-label=${name} title=${name}
      aria-pressed=${String(!wanted && name === part)} onClick=${() => { setText(''); setPart(name); }}>${icon}</button>`)}</div>
    <p class="small muted" role="status">${wanted ? (list.length > 0 ? strings.found(list.length) : strings.nothing) : part}</p>
    ${list.length > 0 && html`<${Grid} key=${wanted || part} list=${list} onPick=${onPick} onLeaveUp=${() => search.current.focus()} />`}
  </div>`;
}

/** The button; `field` is a ref of the input or text area that gets the emoji. */
export function EmojiButton({ field, disabled = false }) {
  const [open, setOpen] = useState(false);
  const button = useRef(null);
  const id = useId();
  const close = (back) => {
    setOpen(false);
    if (back) button.current.focus();
  };
  const pick = (sign) => {
    setOpen(false);
    insertAt(field.current, sign);
    field.current.focus();
  };
  return html`<span class="emoji-box"><button type="button" class="icon-button" ref=${button} disabled=${disabled} aria-label=${strings.button} title=${strings.button} aria-haspopup="dialog"
      aria-expanded=${String(open)} aria-controls=${open ? id : undefined} onClick=${() => setOpen(!open)}><${Icon} name="smile" /></button>
    ${open && html`<div id=${id}><${Picker} anchor=${button.current} onPick=${pick} onClose=${close} /></div>`}</span>`;
}
