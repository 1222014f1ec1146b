// The editor page: the files of the own site, their texts in tabs, and how the site looks beside them. This module puts the
// parts together; they hold what is known (`site`, `documents`, `tree`) and how it is shown.

import { listen } from '../events.js';
import { rename as readdress } from '../navigate.js';
import { loadSession, saveSplit, session, splitOf } from '../session.js';
import { Icon } from '../components/icon.js';
import { openMenu } from '../components/menu.js';
import { failure } from '../components/parts.js';
import { toast } from '../components/toast.js';
import { effect, html, render, signal, useEffect, useRef } from '../../vendor/ui.js';
import * as actions from './actions.js';
import { Code, focusCode } from './code.js';
import { Conflict } from './conflict.js';
import * as documents from './documents.js';
import * as look from './look.js';
import { addressOf, extensionOf, kindOf, nameOf } from './paths.js';
import { Search } from './search.js';
import * as site from './site.js';
import { Split } from './split.js';
import { PANEL, Tabs, tabId } from './tabs.js';
import * as tree from './tree.js';
import { Uploads } from './uploading.js';
import { bring, dropped } from './upload.js';

const strings = {
  heading: 'Editor',
  panes: 'Show',
  all: 'Site',
  files: 'Files',
  search: 'Search',
  text: 'Text',
  preview: 'Preview',
  side: 'Files and search',
  newFile: 'New file',
  newFolder: 'New folder',
  upload: 'Upload',
  more: (name) => `Actions for ${name}`,
  into: 'New in',
  site: 'My site',
  chosen: 'Files to upload',
  reading: 'Reading the site…',
  listFailed: 'The files of the site could not be read.',
  again: 'Try again',
  empty: 'Your site is empty',
  emptyText: 'Make a first page, or drop files here.',
  firstPage: 'Make a page',
  nothing: 'No file is open',
  nothingText: 'Choose one among the files. Several can be open at once; what you write is kept until you save it.',
  readingFile: 'Reading the file…',
  fileFailed: 'This file could not be read.',
  save: 'Save',
  saving: 'Saving…',
  saved: 'Saved',
  unsaved: 'Not saved',
  decide: 'Two versions',
  failed: 'Not saved',
  place: (line, column) => `Line ${line}, column ${column}`,
  notSaved: (why) => `It is not saved: ${why}`,
  compare: 'Compare',
  changed: 'This file was changed on the disk, and you changed it here.',
  gone: 'This file was deleted on the disk. Saving makes it again.',
  conflict: 'There are two versions of this file. Compare them to choose.',
  withText: 'Width of the files',
  withLook: 'Width of the preview',
  open: 'Open',
  out: 'Open in a tab of the browser',
  rename: 'Rename…',
  move: 'Move…',
  copy: 'Copy…',
  remove: 'Delete',
  find: 'Find and replace',
  revert: 'Back to the saved text',
  reverted: 'The saved text is back. Undo in the text brings yours back.',
  show: 'Show among the files',
  close: 'Close',
  closeOthers: 'Close the others',
  closeAll: 'Close all',
};

const LOOK_OPEN = 'editor:preview';
/** What the widths are saved under on the peer. */
const SIDE_SHARE = 'editor';
const LOOK_SHARE = 'editor-preview';
/** From this width on the preview is open unless somebody closed it, in pixels. */
const ROOM = 1100;
/** Milliseconds in which the list is not asked for again because somebody came back to the window. */
const FRESH = 3000;

/** What is seen on a small window: files, text or look. */
const pane = signal('files');
const side = signal('files');
const sideShare = signal(20);
const lookShare = signal(34);
const lookOpen = signal(localStorage.getItem(LOOK_OPEN) ? localStorage.getItem(LOOK_OPEN) === 'true' : innerWidth >= ROOM);

function setLook(open) {
  lookOpen.value = open;
  localStorage.setItem(LOOK_OPEN, String(open));
}

function toggleLook() {
  setLook(!lookOpen.value);
  if (!lookOpen.value && pane.value === 'look') pane.value = 'text';
}

/** A stored width counts while it is one the divider could have. */
function restoreShare(share, key, least, most) {
  const stored = splitOf(key);
  if (stored >= least && stored <= most) share.value = stored;
}

const siteAddress = () => session.value?.site_url ?? '';

async function openFile(path, place, withFocus = Boolean(place)) {
  pane.value = 'text';
  await documents.open(path, place);
  if (withFocus) focusCode();
}

// --- Menus ---

const isMac = navigator.platform.startsWith('Mac');

const outside = (path) => open(addressOf(siteAddress(), path), '_blank', 'noreferrer');

const changes = (path) => [
  { text: strings.rename, icon: 'text', keys: 'F2', act: () => actions.rename(path) },
  { text: strings.move, icon: 'folder', act: () => actions.move(path) },
  { text: strings.copy, icon: 'copy', act: () => actions.copy(path) },
  { text: strings.remove, icon: 'trash', keys: 'Del', bad: true, act: () => actions.remove(path) },
];

function fileMenu(row, at) {
  const { path, folder } = row;
  const inside = [
    { text: `${strings.newFile}…`, icon: 'new-file', act: () => actions.newFile(path) },
    { text: `${strings.newFolder}…`, icon: 'new-folder', act: () => actions.newFolder(path) },
    { text: `${strings.upload}…`, icon: 'upload', act: () => actions.chooseFiles(path) },
  ];
  const opening = [
    { text: strings.open, icon: 'edit', keys: 'Enter', act: () => openFile(path, undefined, true) },
    { text: strings.out, icon: 'out', act: () => outside(path) },
  ];
  const items = folder ? inside : opening;
  openMenu(at, strings.more(row.name), path === '' ? items : [...items, ...changes(path)]);
}

function textMenu(doc, at) {
  const path = doc.path.value;
  const others = documents.documents.value.filter((other) => other !== doc);
  const isText = doc.kind.value === 'text';
  openMenu(at, strings.more(nameOf(path)), [
    ...(isText ? [
      { text: strings.save, icon: 'check', keys: isMac ? '⌘S' : 'Ctrl S', act: () => documents.save(doc) },
      { text: strings.find, icon: 'search', keys: isMac ? '⌘F' : 'Ctrl F', act: () => documents.search() },
      ...(doc.dirty.value && doc.stale.value !== 'gone' ? [{ text: strings.revert, icon: 'undo', act: () => revert(doc) }] : []),
    ] : []),
    { text: strings.show, icon: 'home', act: () => showInTree(path) },
    { text: strings.out, icon: 'out', act: () => outside(path) },
    { text: strings.rename, icon: 'text', act: () => actions.rename(path) },
    { text: strings.move, icon: 'folder', act: () => actions.move(path) },
    { text: strings.copy, icon: 'copy', act: () => actions.copy(path) },
    { text: strings.remove, icon: 'trash', bad: true, act: () => actions.remove(path) },
    { text: strings.close, icon: 'close', act: () => actions.close(doc) },
    ...(others.length > 0 ? [
      { text: strings.closeOthers, icon: 'close', act: () => actions.close(...others) },
      { text: strings.closeAll, icon: 'close', act: () => actions.close(...others, doc) },
    ] : []),
  ]);
}

async function revert(doc) {
  try {
    await documents.revert(doc);
    toast(strings.reverted);
  } catch (error) {
    doc.problem.value = error.message;
  }
}

function showInTree(path) {
  side.value = 'files';
  pane.value = 'files';
  tree.reveal(path);
  requestAnimationFrame(() => document.querySelector('[role="tree"]')?.focus());
}

const treeKeys = {
  rename: (row) => row.path !== '' && actions.rename(row.path),
  delete: (row) => row.path !== '' && actions.remove(row.path),
  undo: () => actions.undoDelete(),
};

// --- Parts ---

const IconButton = ({ icon, label, act, testid, ...rest }) => html`
  <button type="button" class="icon-button" aria-label=${label} title=${label} data-testid=${testid} onClick=${act} ...${rest}><${Icon} name=${icon} /></button>`;

const Choice = ({ label, of, value, chosen, onChoose }) => html`
  <div class="choice" role="group" aria-label=${label} data-of=${of}>
    ${value.map(([name, text]) => html`<button key=${name} type="button" aria-pressed=${String(chosen === name)} onClick=${() => onChoose(name)}>${text}</button>`)}
  </div>`;

function Files() {
  const current = documents.current.value;
  if (site.state.value === 'failed') {
    return html`<div class="note bad" role="alert"><p>${strings.listFailed}</p><p>${site.problem.value.message}</p>
      <p><button type="button" class="button" onClick=${site.reload}>${strings.again}</button></p></div>`;
  }
  if (site.state.value === 'reading') return html`<p class="muted small ed-wait" role="status">${strings.reading}</p>`;
  const activeRow = { path: tree.active.value, name: nameOf(tree.active.value) || strings.site, folder: site.isFolder(tree.active.value) };
  const into = tree.target.value;
  return html`
    <div class="ed-tools">
      <p class="ed-into small"><span class="muted">${strings.into}</span> <b title=${into || strings.site} data-testid="target">${nameOf(into) || strings.site}</b></p>
      <${IconButton} icon="new-file" label=${strings.newFile} act=${() => actions.newFile(into)} />
      <${IconButton} icon="new-folder" label=${strings.newFolder} act=${() => actions.newFolder(into)} />
      <${IconButton} icon="upload" label=${strings.upload} act=${() => actions.chooseFiles(into)} />
      <${IconButton} icon="more" label=${strings.more(activeRow.name)} act=${(event) => fileMenu(activeRow, event.currentTarget)} aria-haspopup="menu" testid="tree-actions" />
    </div>
    ${site.entries.value.size === 0 && html`<div class="empty"><h2>${strings.empty}</h2><p>${strings.emptyText}</p>
      <p><button type="button" class="button primary" onClick=${() => actions.newFile('')}>${strings.firstPage}</button></p></div>`}
    <${tree.Tree} shown=${current?.path.value} onOpen=${(path, withFocus) => openFile(path, undefined, withFocus)} onMenu=${fileMenu}
      onKey=${(what, row) => treeKeys[what](row)}
      onDrop=${async (transfer, folder) => bring(await dropped(transfer), folder)} />`;
}

function Side() {
  return html`
    <section class="ed-card ed-side" aria-label=${strings.side}>
      <${Choice} label=${strings.side} of="side" value=${[['files', strings.files], ['search', strings.search]]} chosen=${side.value} onChoose=${(name) => { side.value = name; }} />
      ${side.value === 'files' ? html`<${Files} />` : html`<${Search} onOpen=${(path, place) => openFile(path, place)} />`}
      <${Uploads} />
      <input id="ed-files" type="file" multiple hidden aria-label=${strings.chosen} data-testid="files" />
    </section>`;
}

function Strip({ bad, text, action, act }) {
  return html`<p class="ed-strip" data-bad=${String(Boolean(bad))} role=${bad ? 'alert' : 'status'}><span>${text}</span>
    ${action && html`<button type="button" class="button" onClick=${act}>${action}</button>`}</p>`;
}

/** What there is to know before one goes on writing. */
function Remarks({ doc }) {
  if (doc.problem.value) return html`<${Strip} bad text=${strings.notSaved(doc.problem.value)} action=${strings.again} act=${() => documents.save(doc)} />`;
  if (doc.conflict.value) return html`<${Strip} bad text=${strings.conflict} action=${strings.compare} act=${() => documents.compare(doc)} />`;
  if (doc.stale.value === 'changed') return html`<${Strip} bad text=${strings.changed} action=${strings.compare} act=${() => documents.compare(doc)} />`;
  if (doc.stale.value === 'gone') return html`<${Strip} text=${strings.gone} action=${strings.save} act=${() => documents.save(doc)} />`;
  return null;
}

function Content({ doc }) {
  const kind = doc.kind.value;
  if (kind === 'failed') return html`<div class="empty" role="alert"><h2>${strings.fileFailed}</h2><p>${doc.problem.value}</p>
    <p><button type="button" class="button" onClick=${() => documents.show(doc)}>${strings.again}</button></p></div>`;
  if (kind === 'binary') return html`<${look.Shown} doc=${doc} site=${siteAddress()} />`;
  if (kind !== 'text') return html`<p class="muted ed-wait" role="status">${strings.readingFile}</p>`;
  if (doc.conflict.value && doc.comparing.value) return html`<${Conflict} doc=${doc} />`;
  return html`<${Remarks} doc=${doc} /><${Code} doc=${doc} />`;
}

function stateOf(doc) {
  if (doc.saving.value) return ['saving', strings.saving];
  if (doc.conflict.value) return ['bad', strings.decide];
  if (doc.problem.value) return ['bad', strings.failed];
  return doc.dirty.value ? ['unsaved', strings.unsaved] : ['saved', strings.saved];
}

function Foot({ doc }) {
  const [state, text] = stateOf(doc);
  const { line, column } = doc.place.value;
  const isText = doc.kind.value === 'text';
  return html`<div class="ed-foot small">
    <span class="ed-foot-path" title=${doc.path.value}>${doc.path.value}</span>
    ${isText && html`<span class="ed-state" role="status" data-state=${state} data-testid="state">${text}</span>`}
    ${isText && !doc.comparing.value && html`<span class="muted ed-place">${strings.place(line, column)}</span>`}
  </div>`;
}

function Work() {
  const doc = documents.current.value;
  const canSave = doc?.kind.value === 'text' && doc.dirty.value && !doc.saving.value;
  return html`
    <section class="ed-card ed-work" aria-label=${strings.text}>
      <div class="ed-head">
        <${Tabs} onClose=${(closed) => actions.close(closed)} />
        <span class="ed-gap"></span>
        ${doc && doc.kind.value !== 'binary' && html`<button type="button" class="button primary ed-save" aria-disabled=${String(!canSave)} data-testid="save" onClick=${() => documents.save(doc)}>${strings.save}</button>`}
        ${doc && html`<${IconButton} icon="more" label=${strings.more(nameOf(doc.path.value))} act=${(event) => textMenu(doc, event.currentTarget)} aria-haspopup="menu" testid="text-actions" />`}
        <${IconButton} icon="eye" label=${strings.preview} act=${toggleLook} aria-pressed=${String(lookOpen.value)} testid="preview-toggle" />
      </div>
      ${doc ? html`<div class="ed-panel" role="tabpanel" id=${PANEL} aria-labelledby=${tabId(doc)}><${Content} doc=${doc} /></div><${Foot} doc=${doc} />`
    : html`<div class="empty"><img src="/assets/images/mark.svg" alt="" /><h2>${strings.nothing}</h2><p>${strings.nothingText}</p></div>`}
    </section>`;
}

function Editor() {
  const box = useRef(null);
  const withLook = lookOpen.value || pane.value === 'look';
  // A file that is dropped beside the tree must not take the place of the page.
  useEffect(() => {
    const stop = (event) => { if (event.dataTransfer?.types.includes('Files') && !event.defaultPrevented) event.preventDefault(); };
    const node = box.current;
    node.addEventListener('dragover', stop);
    node.addEventListener('drop', stop);
    return () => {
      node.removeEventListener('dragover', stop);
      node.removeEventListener('drop', stop);
    };
  }, []);
  const style = { '--side': `${sideShare.value}%`, '--look': `${lookShare.value}%` };
  return html`
    <div class="ed" ref=${box} data-pane=${pane.value} data-look=${String(withLook)} style=${style}>
      <h1 class="hidden">${strings.heading}</h1>
      <${Choice} label=${strings.panes} of="pane" value=${[['files', strings.all], ['text', strings.text], ['look', strings.preview]]} chosen=${pane.value} onChoose=${(name) => { pane.value = name; }} />
      <${Side} />
      <${Split} label=${strings.withText} share=${sideShare} least=${14} most=${40} usual=${20} side="start" of=".ed" onDone=${(value) => saveSplit(SIDE_SHARE, value)} />
      <${Work} />
      ${withLook && html`<${Split} label=${strings.withLook} share=${lookShare} least=${18} most=${60} usual=${34} side="end" of=".ed" onDone=${(value) => saveSplit(LOOK_SHARE, value)} />
        <${look.Preview} site=${siteAddress()} onClose=${toggleLook} />`}
    </div>`;
}

// --- The page ---

/** The address names the file that is shown; the page beside it is the last one that was. */
function followCurrent() {
  const path = documents.current.value?.path.value;
  const query = path ? `?path=${encodeURIComponent(path).replaceAll('%2F', '/')}` : '';
  if (location.pathname === '/edit' && location.search !== query) readdress(`/edit${query}`);
  if (path && (kindOf(path) === 'page' || extensionOf(path) === 'svg')) look.page.value = path;
  if (look.page.value === '' || (site.state.value === 'ready' && !site.exists(look.page.value))) look.page.value = firstPage();
}

function firstPage() {
  if (site.exists('index.html')) return 'index.html';
  return site.files('').find((entry) => kindOf(entry.path) === 'page')?.path ?? '';
}

function onKeyDown(event) {
  const command = (event.ctrlKey || event.metaKey) && !event.altKey;
  if (command && !event.shiftKey && (event.key.toLowerCase() === 's' || event.code === 'KeyS')) {
    event.preventDefault();
    if (!event.repeat && !document.querySelector('dialog[open]')) documents.save(documents.current.value);
  } else if (command && event.shiftKey && event.code === 'KeyF') {
    event.preventDefault();
    pane.value = 'files';
    side.value = 'search';
    document.querySelector('.ed-search input')?.focus();
  }
}

async function begin(query) {
  await Promise.all([session.value ?? loadSession(), site.reload()]);
  if (site.problem.value?.status === 401) throw site.problem.value;
  restoreShare(sideShare, SIDE_SHARE, 14, 40);
  restoreShare(lookShare, LOOK_SHARE, 18, 60);
  const wanted = query.get('path');
  const line = Number(query.get('line'));
  if (wanted) {
    tree.reveal(wanted);
    await openFile(wanted, line > 0 ? { line, column: Number(query.get('column')) || 1 } : undefined);
  } else if (documents.current.value) await documents.show(documents.current.value);
  else if (documents.isFresh() && site.exists('index.html')) await documents.open('index.html');
}

/** Shows the editor in `main`; gives back how to leave. */
export function start(main, { query }) {
  // What was shown last does not flash up before what is asked for.
  if (query.get('path')) documents.current.value = documents.find(query.get('path')) ?? null;
  main.replaceChildren();
  render(html`<${Editor} />`, main);
  let seen = Date.now();
  function lookAgain() {
    if (document.hidden || Date.now() - seen < FRESH) return;
    seen = Date.now();
    site.reload();
    if (documents.current.value) documents.check(documents.current.value);
  }
  const end = new AbortController();
  const { signal: until } = end;
  document.addEventListener('keydown', onKeyDown, { signal: until });
  addEventListener('focus', lookAgain, { signal: until });
  document.addEventListener('visibilitychange', lookAgain, { signal: until });
  const stops = [
    site.follow(),
    site.watch((paths) => {
      documents.checkAll(paths);
      look.reload();
    }),
    listen(({ topic }) => { if (topic === 'reset') lookAgain(); }),
  ];
  begin(query).then(() => until.aborted || stops.push(effect(followCurrent)), (error) => {
    if (until.aborted) return;
    render(null, main);
    main.replaceChildren(failure(error));
  });
  return () => {
    end.abort();
    for (const stop of stops) stop();
    documents.keep();
    render(null, main);
  };
}
