// Search in the text files of the site; a result opens at its line.

import { get } from '../api.js';
import { Icon } from '../components/icon.js';
import { html, signal, useEffect, useRef } from '../../vendor/ui.js';
import { kindOf, nameOf, parentOf } from './paths.js';

const strings = {
  label: 'Search in the files',
  hint: 'Finds what is saved, in capital and small letters.',
  found: (n, files, more) => `${more ? 'More than ' : ''}${n} ${n === 1 ? 'place' : 'places'} in ${files} ${files === 1 ? 'file' : 'files'}${more ? '. Search for more letters to see fewer.' : ''}`,
  none: (q) => `Nothing in the files says “${q}”.`,
  searching: 'Searching…',
  line: (n) => `line ${n}`,
};

/** Most places that are shown. */
const LIMIT = 300;
/** Milliseconds after a key before the server is asked. */
const PAUSE = 250;
/** Signs of a line shown before the place that was found. */
const BEFORE = 20;

/** What was searched for last; it is there again when the person comes back. */
const query = signal('');
const answer = signal(null);
const problem = signal('');
const busy = signal(false);
let turn = 0;

async function search() {
  const asked = query.value.trim();
  const mine = turn += 1;
  problem.value = '';
  busy.value = asked !== '';
  if (asked === '') {
    answer.value = null;
    return;
  }
  try {
    const found = await get(`/api/site/search?q=${encodeURIComponent(asked)}&limit=${LIMIT}`);
    if (mine === turn) answer.value = { ...found, query: asked };
  } catch (error) {
    if (mine === turn) problem.value = error.message;
  }
  if (mine === turn) busy.value = false;
}

/** Where the words are in the line, from 0. */
function placeIn({ text, column }, asked) {
  const lower = text.toLowerCase();
  const wanted = asked.toLowerCase();
  return lower.startsWith(wanted, column - 1) ? column - 1 : lower.indexOf(wanted);
}

function Found({ match, asked, onOpen }) {
  const place = placeIn(match, asked);
  const from = Math.max(0, place - BEFORE);
  const before = (from > 0 ? '…' : '') + match.text.slice(from, Math.max(0, place)).replace(/^\s+/, '');
  const words = place < 0 ? '' : match.text.slice(place, place + asked.length);
  const after = place < 0 ? match.text.trim() : match.text.slice(place + asked.length, place + asked.length + 160);
  return html`<li><button type="button" class="ed-found" onClick=${() => onOpen(match.path, { line: match.line, column: match.column, length: asked.length })}>
    <span class="ed-found-line" aria-label=${strings.line(match.line)}>${match.line}</span>
    <span class="ed-found-text">${before}<mark>${words}</mark>${after}</span></button></li>`;
}

/** The search; `onOpen(path, place)` opens a file at a place. */
export function Search({ onOpen }) {
  const timer = useRef(0);
  const field = useRef(null);
  useEffect(() => {
    field.current.focus();
    field.current.select();
    return () => clearTimeout(timer.current);
  }, []);
  function onInput(event) {
    query.value = event.target.value;
    clearTimeout(timer.current);
    timer.current = setTimeout(search, PAUSE);
  }
  function onKeyDown(event) {
    if (event.key === 'Enter') {
      clearTimeout(timer.current);
      search();
    }
  }
  /** Up and down go from result to result. */
  function onArrow(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const all = [...event.currentTarget.querySelectorAll('.ed-found')];
    const next = all.indexOf(document.activeElement) + step;
    if (next < 0) field.current.focus();
    else all[next]?.focus();
    event.preventDefault();
  }
  const found = answer.value;
  const groups = new Map();
  for (const match of found?.matches ?? []) groups.set(match.path, [...(groups.get(match.path) ?? []), match]);
  const said = busy.value ? strings.searching : !found ? strings.hint
    : found.matches.length === 0 ? strings.none(found.query) : strings.found(found.matches.length, groups.size, found.more);
  return html`
    <div class="ed-search" onKeyDown=${onArrow}>
      <input class="search" type="search" ref=${field} value=${query.value} placeholder=${strings.label} aria-label=${strings.label}
        autocomplete="off" spellcheck="false" onInput=${onInput} onKeyDown=${onKeyDown} data-testid="search" />
      <p class="small muted" role="status">${said}</p>
      ${problem.value && html`<p class="note bad" role="alert">${problem.value}</p>`}
      <div class="ed-results">
        ${[...groups].map(([path, matches]) => html`
          <section key=${path}><h2 class="ed-found-file"><${Icon} name=${kindOf(path)} /><span>${nameOf(path)}</span><span class="small muted">${parentOf(path)}</span></h2>
            <ul>${matches.map((match, index) => html`<${Found} key=${index} match=${match} asked=${found.query} onOpen=${onOpen} />`)}</ul></section>`)}
      </div>
    </div>`;
}
