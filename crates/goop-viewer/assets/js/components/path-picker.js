// Choosing a folder or a file of the machine that runs the peer: a dialog that walks through its folders.
// Offers: pickPath, PathField.

import { get } from '../api.js';
import { size } from '../format.js';
import { html, useEffect, useId, useRef, useState } from '../../vendor/ui.js';
import { Dialog, openDialog } from './dialog.js';
import { Field } from './field.js';
import { Icon } from './icon.js';
import { useLoad } from './mount.js';
import { Failure, Loading } from './states.js';

const strings = {
  folder: 'Choose a folder',
  file: 'Choose a file',
  machine: 'Folders of the machine that runs this peer.',
  up: 'Up to the folder above',
  list: 'What is in the folder',
  nothing: 'This folder is empty.',
  nothingFits: 'There is no such file in this folder.',
  useFolder: 'Use this folder',
  useFile: 'Use this file',
  cancel: 'Cancel',
  unreadable: 'This folder cannot be read. Perhaps it is gone, or belongs to somebody else.',
  start: 'To the home folder',
  browse: 'Browse…',
  clear: 'Clear',
};

/** Milliseconds of rest after which typed letters begin a new word. */
const WORD = 700;

/** A path below `dir`, with the separator that the machine uses. */
function below(dir, name) {
  const separator = dir.includes('\\') && !dir.includes('/') ? '\\' : '/';
  return dir.endsWith(separator) ? dir + name : dir + separator + name;
}

/** The rows of one folder: arrows, Home, End and letters move, Enter or a double click opens. */
function Rows({ entries, chosen, onMove, onOpen, onUp }) {
  const id = useId();
  const box = useRef(null);
  const word = useRef({ text: '', at: 0 });
  useEffect(() => { box.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest' }); }, [chosen]);
  function key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const last = entries.length - 1;
    const to = { ArrowDown: Math.min(last, chosen + 1), ArrowUp: Math.max(0, chosen - 1), Home: 0, End: last }[event.key];
    if (to !== undefined) onMove(to);
    else if (event.key === 'Enter' || event.key === 'ArrowRight') onOpen(entries[chosen], event.key === 'Enter');
    else if (event.key === 'Backspace' || event.key === 'ArrowLeft') onUp();
    else if (event.key.length === 1) {
      const now = Date.now();
      const text = now - word.current.at > WORD ? event.key : word.current.text + event.key;
      word.current = { text, at: now };
      // One letter goes on to the next such name; a word stays where it fits.
      const from = text.length === 1 ? chosen + 1 : Math.max(0, chosen);
      const order = [...entries.keys()].map((at) => (at + from) % entries.length);
      const found = order.find((at) => entries[at].name.toLowerCase().startsWith(text.toLowerCase()));
      if (found !== undefined) onMove(found);
    } else return;
    event.preventDefault();
  }
  return html`<ul class="picker-list" role="listbox" tabindex="0" ref=${box} aria-label=${strings.list}
      aria-activedescendant=${entries[chosen] ? `${id}-${chosen}` : undefined} onKeyDown=${key}>
    ${entries.map((entry, at) => html`<li key=${entry.name} id=${`${id}-${at}`} class="picker-row" role="option" aria-selected=${String(at === chosen)}
        onClick=${() => onMove(at)} onDblClick=${() => onOpen(entry, true)}>
      <${Icon} name=${entry.is_dir ? 'folder' : 'paper'} /><span class="cut">${entry.name}</span>${entry.size && html`<span class="small muted">${size(entry.size)}</span>`}</li>`)}
  </ul>`;
}

function Picker({ kind, from, ends, browse, onClose }) {
  const [dir, setDir] = useState(from);
  const [chosen, setChosen] = useState(0);
  const here = useLoad(() => browse(dir), [dir]);
  const head = useRef(null);
  const isFirst = useRef(true);
  useEffect(() => {
    if (!here.data && !here.error) return;
    // The list that had the focus is gone with its folder; the next one goes on.
    const dialog = head.current.closest('dialog');
    if (isFirst.current || !dialog.contains(document.activeElement)) (dialog.querySelector('[role="listbox"]') ?? head.current.querySelector('button')).focus();
    isFirst.current = false;
  }, [here.data, here.error]);
  const isFolder = kind === 'folder';
  const wanted = ({ name, is_dir: folder }) => folder || (!isFolder && (ends.length === 0 || ends.some((end) => name.toLowerCase().endsWith(end))));
  const entries = (here.data?.entries ?? []).filter(wanted);
  const go = (to) => {
    setChosen(0);
    here.set(null);
    setDir(to);
  };
  const up = () => here.data && here.data.parent !== here.data.dir && go(here.data.parent);
  const entry = entries[chosen];
  const isFile = entry && !entry.is_dir;
  const open = (one, whole) => {
    if (one?.is_dir) go(below(here.data.dir, one.name));
    else if (one && whole) onClose(below(here.data.dir, one.name));
  };
  const failed = here.error && html`<${Failure} error=${here.error.status === 400 ? new Error(strings.unreadable) : here.error} />
    <p><button type="button" class="button" onClick=${() => go('')}>${strings.start}</button></p>`;
  const use = () => onClose(isFolder ? here.data.dir : below(here.data.dir, entry.name));
  const canUse = Boolean(here.data) && !here.error && (isFolder || isFile);
  return html`<${Dialog} title=${isFolder ? strings.folder : strings.file} onClose=${() => onClose(null)}>
    <p class="small muted">${strings.machine}</p>
    <div class="row picker-head" ref=${head}>
      <button type="button" class="icon-button" aria-label=${strings.up} title=${strings.up} aria-disabled=${String(!here.data || here.data.parent === here.data.dir)} onClick=${up}><${Icon} name="up" /></button>
      <p class="mono picker-path" role="status">${here.data?.dir ?? dir}</p>
    </div>
    ${failed || (!here.data && html`<${Loading} />`)}
    ${here.data && !here.error && entries.length === 0 && html`<p class="picker-nothing muted">${isFolder || ends.length === 0 ? strings.nothing : strings.nothingFits}</p>`}
    ${here.data && !here.error && entries.length > 0 && html`<${Rows} key=${here.data.dir} entries=${entries} chosen=${chosen} onMove=${setChosen} onOpen=${open} onUp=${up} />`}
    <div class="row dialog-ways">
      <button type="button" class="button" onClick=${() => onClose(null)}>${strings.cancel}</button>
      <button type="button" class="button primary" aria-disabled=${String(!canUse)} onClick=${() => canUse && use()}>${isFolder ? strings.useFolder : strings.useFile}</button>
    </div>
  <//>`;
}

const ask = (dir) => get(`/api/fs/browse?dir=${encodeURIComponent(dir)}`);

/** Asks for a folder or a `file`; gives its path, or null. `from` is where to begin, '' the home folder; `ends` are the endings a file
 * may have, such as `['.js']`; `browse(dir)` answers as `GET /api/fs/browse` does. */
export const pickPath = ({ kind = 'folder', from = '', ends = [], browse = ask } = {}) =>
  openDialog((close) => html`<${Picker} kind=${kind} from=${from} ends=${ends} browse=${browse} onClose=${close} />`);

/** A path that is typed, or chosen with Browse. */
export function PathField({ value, onChange, kind = 'folder', ends = [], browse = ask, input = {}, ...field }) {
  const choose = async () => {
    // Only a whole path is somewhere; what is named from the peer's own folder begins at home.
    const from = kind === 'folder' && /^(\/|[a-z]:)/i.test(value) ? value : '';
    const path = await pickPath({ kind, from, ends, browse });
    if (path !== null) onChange(path);
  };
  return html`<${Field} ...${field}>${(names) => html`<div class="with-buttons">
    <input ...${names} ...${input} type="text" spellcheck=${false} value=${value} onInput=${(event) => onChange(event.currentTarget.value)} />
    <button type="button" class="button small" disabled=${input.disabled} aria-label=${`${strings.browse} ${field.label}`} onClick=${choose}><${Icon} name="folder" />${strings.browse}</button>
    ${value && html`<button type="button" class="button small" disabled=${input.disabled} aria-label=${`${strings.clear}: ${field.label}`} onClick=${() => onChange('')}><${Icon} name="close" />${strings.clear}</button>`}
  </div>`}<//>`;
}
