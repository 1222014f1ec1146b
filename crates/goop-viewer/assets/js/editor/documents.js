// The open files. What was typed and not saved outlives navigation and reload (session storage); a file that changed on the
// disk meanwhile is never overwritten unasked: the save ends in a conflict that holds both versions.

import { get, post } from '../api.js';
import { Compartment, EditorState, EditorView, languageOf, openSearchPanel, setup } from '../../vendor/editor.js';
import { computed, effect, signal } from '../../vendor/ui.js';
import { announce, exists, reload } from './site.js';
import { appearance } from './appearance.js';
import { freePath, isWithin, moved, nameOf } from './paths.js';

const strings = {
  label: (name) => `Text of ${name}`,
  leave: 'Tab indents. Escape, then Tab leaves the text.',
  missing: 'It is not on the disk. Somebody may have moved or deleted it.',
  tooLarge: 'This text is too large to be kept over a reload. Save it.',
  copy: (stem, n) => (n === 1 ? `${stem} my version` : `${stem} my version ${n}`),
};

const OPEN = 'editor:open';
const DRAFT = 'editor:draft:';
/** Milliseconds from a key to its place in the session storage. */
const SOON = 300;
/** Which extensions of an editor depend on the name of its file. */
const named = new Compartment();

/** The open files in the order of their tabs. */
export const documents = signal([]);
/** The one that is shown, or `null`. */
export const current = signal(null);
/** Those with text that is not saved. */
export const unsaved = computed(() => documents.value.filter((doc) => doc.dirty.value));

/** The view that shows a text, while one does. */
let mounted = null;
let count = 0;

function make(path) {
  return {
    id: count += 1,
    path: signal(path),
    /** unread, reading, text, binary or failed */
    kind: signal('unread'),
    dirty: signal(false),
    saving: signal(false),
    /** What went wrong last, for people. */
    problem: signal(''),
    /** What happened to the file on the disk while there is unsaved text: '', `changed` or `gone`. */
    stale: signal(''),
    /** `{content, etag, gone, binary}`: what is on the disk, when a save met another version. */
    conflict: signal(null),
    /** Whether both versions are shown. */
    comparing: signal(false),
    place: signal({ line: 1, column: 1 }),
    /** Where to go as soon as the text is shown: `{from, to}`. */
    jump: signal(null),
    state: null,
    /** The saved text (CodeMirror's), or `null` when it is not known. */
    base: null,
    /** What the saved text was before the file was deleted: `{etag, base}`. */
    before: null,
    etag: '',
    eol: '\n',
    size: 0,
    scroll: null,
    /** Counts what the server told us, so that an answer that took long does not undo a later one. */
    turn: 0,
    /** The text that is being saved, and when it will be. */
    sending: null,
    running: null,
    again: false,
  };
}

// --- Text ---

/** The line ends of a text, if all of them are alike. Else every byte is kept as a sign of its line. */
function eolOf(text) {
  const count = (sign) => text.split(sign).length - 1;
  const pairs = count('\r\n');
  if (count('\r') === 0) return '\n';
  return pairs === count('\n') && pairs === count('\r') ? '\r\n' : '';
}

function stateOf(doc, text) {
  doc.eol = eolOf(text);
  return EditorState.create({
    doc: text,
    extensions: [
      setup([]), appearance,
      doc.eol === '' ? EditorState.lineSeparator.of('\n') : [],
      named.of(namedOf(doc.path.value)),
      EditorView.updateListener.of((update) => {
        doc.state = update.state;
        if (update.docChanged) changed(doc);
        if (update.docChanged || update.selectionSet) placed(doc);
      }),
    ],
  });
}

const namedOf = (path) => [
  languageOf(nameOf(path)),
  EditorView.contentAttributes.of({ 'aria-label': strings.label(path), 'aria-description': strings.leave, tabindex: '0' }),
];

/** The text byte for byte as it goes to the disk. */
const textOf = (doc, text = doc.state.doc) => text.sliceString(0, text.length, doc.eol || '\n');

function changed(doc) {
  doc.dirty.value = !(doc.base && doc.state.doc.eq(doc.base));
  keepSoon(doc);
}

function placed(doc) {
  const { head } = doc.state.selection.main;
  const line = doc.state.doc.lineAt(head);
  doc.place.value = { line: line.number, column: head - line.from + 1 };
}

/** Changes a text whether it is shown or not. */
function apply(doc, spec) {
  if (mounted?.doc === doc) {
    mounted.view.dispatch(spec);
    return;
  }
  doc.state = doc.state.update(spec).state;
  changed(doc);
  placed(doc);
}

/** Puts another text in place of this one: what is the same stays, cursor included, and undo brings the old one back. */
function replaceText(doc, text) {
  const next = stateOf(doc, text).doc;
  const [old, now] = [doc.state.doc.toString(), next.toString()];
  let from = 0;
  while (from < old.length && from < now.length && old[from] === now[from]) from += 1;
  let end = 0;
  while (end < old.length - from && end < now.length - from && old[old.length - 1 - end] === now[now.length - 1 - end]) end += 1;
  if (from === old.length && from === now.length) return;
  // Named, so that undo takes it back without what was typed just before.
  apply(doc, { changes: { from, to: old.length - end, insert: next.slice(from, now.length - end) }, userEvent: 'replace' });
}

/** Opens the search of the text that is shown. */
export const search = () => mounted && openSearchPanel(mounted.view);

/** A view shows `doc` from here on; gives back how to stop. */
export function attach(view, doc) {
  mounted = { view, doc };
  return () => {
    doc.scroll = view.scrollSnapshot();
    if (mounted?.view === view) mounted = null;
  };
}

// --- Reading ---

function adopt(doc, answer) {
  doc.turn += 1;
  doc.etag = answer.etag;
  doc.size = answer.size ?? 0;
  doc.stale.value = '';
  doc.before = null;
  if (answer.binary) {
    doc.kind.value = 'binary';
    doc.state = null;
    doc.dirty.value = false;
    return;
  }
  if (doc.state) replaceText(doc, answer.content);
  else doc.state = stateOf(doc, answer.content);
  doc.base = doc.state.doc;
  doc.kind.value = 'text';
  changed(doc);
}

const ask = (path) => get(`/api/site/content?path=${encodeURIComponent(path)}`);

/** Reads a file that was not read yet. */
async function read(doc) {
  doc.kind.value = 'reading';
  doc.problem.value = '';
  try {
    adopt(doc, await ask(doc.path.value));
  } catch (error) {
    doc.kind.value = 'failed';
    doc.problem.value = error.status === 404 ? strings.missing : error.message;
  }
}

/** Looks whether the file on the disk is still the one that was opened. */
export async function check(doc) {
  const { turn } = doc;
  if (!['text', 'binary'].includes(doc.kind.value) || doc.sending || doc.conflict.value) return;
  let answer = null;
  try {
    answer = await ask(doc.path.value);
  } catch (error) {
    if (error.status !== 404) return;
  }
  if (doc.turn !== turn || doc.sending || doc.conflict.value || !documents.value.includes(doc)) return;
  if (!answer) gone(doc);
  else if (doc.before?.etag === answer.etag) back(doc);
  else if (answer.etag === doc.etag) same(doc, answer);
  else if (!doc.dirty.value || (!answer.binary && answer.content === textOf(doc))) adopt(doc, answer);
  else doc.stale.value = 'changed';
}

/** The file is not there any more; saving makes it again. */
function gone(doc) {
  if (doc.kind.value !== 'text' || doc.stale.value === 'gone') return;
  doc.turn += 1;
  doc.before = { etag: doc.etag, base: doc.base };
  Object.assign(doc, { etag: 'none', base: null });
  doc.stale.value = 'gone';
  changed(doc);
}

/** The file that was gone is there again as it was. */
function back(doc) {
  doc.turn += 1;
  Object.assign(doc, doc.before, { before: null });
  doc.stale.value = '';
  changed(doc);
}

function same(doc, answer) {
  doc.stale.value = '';
  // After a reload the unsaved text was known, the saved one was not.
  if (doc.kind.value === 'text' && !doc.base) {
    doc.base = stateOf({ path: doc.path }, answer.content).doc;
    changed(doc);
  }
}

/** Looks after every open file within `paths`, or after all. */
export const checkAll = (paths = ['']) =>
  Promise.all(documents.value.filter((doc) => paths.some((path) => isWithin(doc.path.value, path))).map(check));

// --- Tabs ---

export const find = (path) => documents.value.find((doc) => doc.path.value === path);

/** Shows an open file. */
export function show(doc) {
  current.value = doc;
  keepTabs();
  if (!doc) return;
  if (['unread', 'failed'].includes(doc.kind.value)) return read(doc);
  return check(doc);
}

/** Opens a file, at a place of its text if one is given (`{line, column, length}`, counted from 1). */
export async function open(path, place) {
  let doc = find(path);
  if (!doc) {
    doc = make(path);
    documents.value = [...documents.value, doc];
  }
  const known = doc.kind.value === 'text';
  const shown = show(doc);
  if (!known) await shown;
  if (place && doc.kind.value === 'text') jump(doc, place);
  return doc;
}

function jump(doc, { line, column = 1, length = 0 }) {
  const text = doc.state.doc;
  const { from, to } = text.line(Math.min(Math.max(1, line), text.lines));
  const start = Math.min(to, from + Math.max(0, column - 1));
  doc.jump.value = { from: start, to: Math.min(to, start + length) };
}

/** Closes tabs whatever is in them. */
export function close(...closed) {
  const all = documents.value;
  const place = all.indexOf(current.value);
  documents.value = all.filter((doc) => !closed.includes(doc));
  for (const doc of closed) forget(doc);
  if (closed.includes(current.value)) {
    const next = all.slice(place).find((doc) => !closed.includes(doc)) ?? documents.value.at(-1) ?? null;
    show(next);
  }
  keepTabs();
}

/** Puts the tab of `doc` `by` places further. */
export function shift(doc, by) {
  const rest = documents.value.filter((other) => other !== doc);
  const place = documents.value.indexOf(doc) + by;
  if (place < 0 || place > rest.length) return;
  documents.value = [...rest.slice(0, place), doc, ...rest.slice(place)];
  keepTabs();
}

/** Whether nothing was ever opened in this tab of the browser. */
export const isFresh = () => sessionStorage.getItem(OPEN) === null;

/** Waits for what is being saved below `path`. */
export const settle = (path) => Promise.all(documents.value.filter((doc) => isWithin(doc.path.value, path)).map((doc) => doc.running));

/** Open files follow what they show when it gets another path. */
export function follow(from, to) {
  for (const doc of documents.value.filter((doc) => isWithin(doc.path.value, from))) {
    forget(doc);
    // What is being asked about the old path says nothing any more.
    doc.turn += 1;
    doc.path.value = moved(doc.path.value, from, to);
    if (doc.state) apply(doc, { effects: named.reconfigure(namedOf(doc.path.value)) });
  }
  keepTabs();
}

/** After a delete: what was saved is closed, what was not stays. Gives back the paths of the closed ones. */
export function dropDeleted(path) {
  const inside = documents.value.filter((doc) => isWithin(doc.path.value, path));
  const clean = inside.filter((doc) => !doc.dirty.value);
  for (const doc of inside) if (doc.dirty.value) gone(doc);
  close(...clean);
  return clean.map((doc) => doc.path.value);
}

// --- Saving ---

/** Saves a text. Asking twice saves once; what is typed while it is saved is saved afterwards if it was asked for. */
export function save(doc) {
  if (doc?.kind.value !== 'text') return Promise.resolve();
  if (doc.conflict.value) {
    doc.comparing.value = true;
    return Promise.resolve();
  }
  if (doc.sending) {
    doc.again ||= !doc.state.doc.eq(doc.sending);
    return doc.running;
  }
  if (!doc.dirty.value) return Promise.resolve();
  doc.running = (async () => {
    do {
      doc.again = false;
      await send(doc, doc.etag);
    } while (doc.again && doc.dirty.value && !doc.conflict.value && !doc.problem.value);
  })();
  return doc.running;
}

async function send(doc, ifMatch) {
  const text = doc.state.doc;
  const path = doc.path.value;
  doc.sending = text;
  doc.saving.value = true;
  doc.problem.value = '';
  try {
    const answer = await post('/api/site/save', { path, content: textOf(doc, text), if_match: ifMatch });
    saved(doc, text, answer.etag);
    announce(path);
    reload();
  } catch (error) {
    if (error.status === 409) await meet(doc, error);
    else doc.problem.value = error.message;
  } finally {
    doc.sending = null;
    doc.saving.value = false;
  }
}

function saved(doc, text, etag) {
  doc.turn += 1;
  Object.assign(doc, { etag, base: text, before: null });
  doc.stale.value = '';
  doc.conflict.value = null;
  doc.comparing.value = false;
  changed(doc);
}

/** A save met another version. */
async function meet(doc, error) {
  // A conflict says what is there; something else in the way (a folder, say) only says so.
  if (error.data?.error !== 'conflict') {
    doc.problem.value = error.message;
    return;
  }
  const { etag = '', content = '', binary = false } = error.data;
  const isGone = etag === '';
  doc.turn += 1;
  // Both wrote the same: there is nothing to decide.
  if (!isGone && !binary && content === textOf(doc)) {
    saved(doc, doc.state.doc, etag);
    return;
  }
  doc.conflict.value = { etag, content, gone: isGone, binary };
  doc.comparing.value = true;
  keepSoon(doc);
}

/** Shows the own text beside what is on the disk now. */
export async function compare(doc) {
  doc.comparing.value = true;
  if (doc.conflict.value) return;
  try {
    const { etag, content, binary } = await ask(doc.path.value);
    if (!doc.sending && doc.dirty.value) doc.conflict.value = { etag, content, gone: false, binary };
  } catch (error) {
    doc.problem.value = error.message;
  }
}

/** Ends a conflict: the own text is saved over the other one, unless that changed once more. */
export async function keepMine(doc) {
  const { conflict } = doc;
  if (doc.sending || !conflict.value) return false;
  doc.running = send(doc, conflict.value.gone ? 'none' : conflict.value.etag);
  await doc.running;
  return !conflict.value && !doc.problem.value;
}

/** Ends a conflict: the text on the disk takes the place of the own one. Undo in the text brings that back. */
export function takeTheirs(doc) {
  const theirs = doc.conflict.value;
  if (doc.sending || !theirs) return;
  doc.conflict.value = null;
  doc.comparing.value = false;
  if (theirs.gone) close(doc);
  else adopt(doc, theirs);
}

/** Ends a conflict: the own text becomes a file of its own. Gives back its path. */
export async function keepBoth(doc) {
  const text = textOf(doc);
  if (doc.sending || !doc.conflict.value) return null;
  doc.saving.value = true;
  try {
    const path = await saveCopy(doc.path.value, text, strings.copy);
    takeTheirs(doc);
    return path;
  } finally {
    doc.saving.value = false;
  }
}

/** Saves a text beside `path` under a name that nobody has. */
export async function saveCopy(path, content, name) {
  const taken = new Set();
  for (;;) {
    const free = freePath(path, (tried) => taken.has(tried) || exists(tried), name);
    try {
      await post('/api/site/save', { path: free, content, if_match: 'none' });
      await reload();
      announce(free);
      return free;
    } catch (error) {
      if (error.status !== 409) throw error;
      taken.add(free);
    }
  }
}

/** Goes back to the saved text; undo in the text brings the own one back. */
export async function revert(doc) {
  if (doc.base) replaceText(doc, textOf(doc, doc.base));
  else adopt(doc, await ask(doc.path.value));
}

// --- What outlives a reload ---

let timer = null;
const waiting = new Set();

function keepSoon(doc) {
  waiting.add(doc);
  timer ??= setTimeout(keep, SOON);
}

/** Writes what waits into the session storage. */
export function keep() {
  clearTimeout(timer);
  timer = null;
  for (const doc of waiting) keepDraft(doc);
  waiting.clear();
}

function keepDraft(doc) {
  const key = DRAFT + doc.path.value;
  if (!documents.value.includes(doc) || !doc.dirty.value) {
    sessionStorage.removeItem(key);
    return;
  }
  try {
    sessionStorage.setItem(key, JSON.stringify({ etag: doc.etag, text: textOf(doc) }));
    if (doc.problem.value === strings.tooLarge) doc.problem.value = '';
  } catch {
    // An old draft would be worse than none.
    sessionStorage.removeItem(key);
    doc.problem.value = strings.tooLarge;
  }
}

function forget(doc) {
  sessionStorage.removeItem(DRAFT + doc.path.value);
  waiting.delete(doc);
  if (documents.value.includes(doc)) keepSoon(doc);
}

function keepTabs() {
  const paths = documents.value.map((doc) => doc.path.value);
  sessionStorage.setItem(OPEN, JSON.stringify({ paths, current: current.value?.path.value ?? null }));
}

function restore() {
  const { paths = [], current: last } = JSON.parse(sessionStorage.getItem(OPEN) ?? '{}');
  documents.value = paths.map((path) => {
    const doc = make(path);
    const draft = JSON.parse(sessionStorage.getItem(DRAFT + path) ?? 'null');
    if (draft) {
      doc.state = stateOf(doc, draft.text);
      doc.etag = draft.etag;
      doc.kind.value = 'text';
      doc.dirty.value = true;
    }
    return doc;
  });
  current.value = find(last) ?? null;
}

restore();
addEventListener('pagehide', keep);
document.addEventListener('visibilitychange', () => { if (document.hidden) keep(); });

const warn = (event) => event.preventDefault();
// Closing the tab ends its session storage, too.
effect(() => {
  if (unsaved.value.length > 0) addEventListener('beforeunload', warn);
  else removeEventListener('beforeunload', warn);
});
