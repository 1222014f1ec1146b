// The file tree: a tree for the keyboard and for screen readers that draws only the rows in sight, so that 20,000 files
// scroll like twenty. It knows which row is active and which folders are open; what happens to files is the page's.

import { Icon } from '../components/icon.js';
import { computed, effect, html, signal, useEffect, useLayoutEffect, useRef } from '../../vendor/ui.js';
import { foldersOf, isWithin, kindOf, moved, parentOf } from './paths.js';
import { childrenOf, isFolder } from './site.js';

const strings = {
  tree: 'Files of my site',
  root: 'My site',
  actions: (name) => `Actions for ${name}`,
  hint: 'Arrow keys move, Enter opens, Shift F10 shows what can be done.',
};

const KEY = 'editor:folders';
/** Rows drawn above and below those in sight. */
const SPARE = 8;
/** Milliseconds in which typed letters belong together. */
const TYPING = 700;

/** The row keys work on; '' is the site itself. */
export const active = signal('');
const opened = signal(new Set(JSON.parse(sessionStorage.getItem(KEY) ?? '[""]')));
effect(() => sessionStorage.setItem(KEY, JSON.stringify([...opened.value])));

/** The folder new things go to. */
export const target = computed(() => (isFolder(active.value) ? active.value : parentOf(active.value)));

function toggle(folder, open = !opened.value.has(folder)) {
  const next = new Set(opened.value);
  if (open) next.add(folder);
  else next.delete(folder);
  opened.value = next;
}

/** Makes a path the active row and opens the folders it lies in. */
export function reveal(path) {
  const missing = path === '' ? [] : ['', ...foldersOf(path)].filter((folder) => !opened.value.has(folder));
  if (missing.length > 0) opened.value = new Set([...opened.value, ...missing]);
  active.value = path;
}

/** Rows follow what they show when it gets another path. */
export function follow(from, to) {
  opened.value = new Set([...opened.value].map((folder) => moved(folder, from, to)));
  if (isWithin(active.value, from)) active.value = moved(active.value, from, to);
}

const rows = computed(() => {
  const list = [{ path: '', name: strings.root, folder: true, level: 1, place: 1, of: 1 }];
  const add = (folder, level) => {
    if (!opened.value.has(folder)) return;
    const inside = childrenOf(folder);
    inside.forEach((entry, index) => {
      list.push({ path: entry.path, name: entry.name, folder: entry.folder, level, place: index + 1, of: inside.length });
      if (entry.folder) add(entry.path, level + 1);
    });
  };
  add('', 2);
  return list;
});

const indexOf = computed(() => new Map(rows.value.map((row, index) => [row.path, index])));

/** The index of the active row; where its path is gone, of the folder it was in. */
const activeIndex = computed(() => {
  let path = active.value;
  while (path !== '' && !indexOf.value.has(path)) path = parentOf(path);
  return indexOf.value.get(path) ?? 0;
});

const idOf = (index) => `tree-row-${index}`;
const iconOf = (row) => (row.path === '' ? 'home' : row.folder ? 'folder' : kindOf(row.path));

function Row({ row, index, height, shown, over, onMenu }) {
  const isActive = index === activeIndex.value;
  const open = row.folder && opened.value.has(row.path);
  const style = { top: `${index * height}px`, height: `${height}px`, '--level': String(row.level - 1) };
  return html`
    <div id=${idOf(index)} class="tree-row" role="treeitem" style=${style} data-path=${row.path} data-active=${String(isActive)}
      data-over=${String(over)} aria-label=${row.name} aria-level=${row.level} aria-posinset=${row.place} aria-setsize=${row.of}
      aria-selected=${String(isActive)} aria-expanded=${row.folder ? String(open) : undefined} aria-current=${shown ? 'page' : undefined}>
      <span class="tree-twist">${row.folder && html`<${Icon} name=${open ? 'open' : 'closed'} />`}</span>
      <${Icon} name=${iconOf(row)} />
      <span class="tree-name" title=${row.name}>${row.name}</span>
      <button class="tree-more" type="button" tabindex="-1" aria-label=${strings.actions(row.name)} title=${strings.actions(row.name)}
        onClick=${(event) => { event.stopPropagation(); onMenu(row, event.currentTarget); }}><${Icon} name="more" /></button>
    </div>`;
}

/** Height of a row in pixels: two lines of the page's text, more where fingers point. */
function rowHeight() {
  const size = parseFloat(getComputedStyle(document.documentElement).fontSize);
  return Math.round(size * (matchMedia('(pointer: coarse)').matches ? 2.75 : 2));
}

/**
 * The tree. `shown` is the path of the file that is shown; `onOpen(path, withFocus)` opens a file, and goes there;
 * `onMenu(row, at)` shows what can be done; `onKey(what, row)` does `rename`, `delete` and `undo`; `onDrop(dataTransfer, folder)`
 * takes files.
 */
export function Tree({ shown, onOpen, onMenu, onKey, onDrop }) {
  const box = useRef(null);
  const sight = useRef(signal({ top: 0, height: 600 })).current;
  const over = useRef(signal(null)).current;
  const typed = useRef({ text: '', at: 0 });
  const height = useRef(rowHeight()).current;
  const list = rows.value;
  const index = activeIndex.value;

  useEffect(() => {
    const watcher = new ResizeObserver(() => look());
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
  useLayoutEffect(() => {
    const node = box.current;
    if (index * height < node.scrollTop) node.scrollTop = index * height;
    else if ((index + 1) * height > node.scrollTop + node.clientHeight) node.scrollTop = (index + 1) * height - node.clientHeight;
  }, [list[index].path]);

  function look() {
    if (!box.current) return;
    const { scrollTop, clientHeight } = box.current;
    if (clientHeight > 0) sight.value = { top: scrollTop, height: clientHeight };
  }

  const go = (to) => { active.value = list[Math.max(0, Math.min(list.length - 1, to))].path; };

  function choose(row, withFocus) {
    active.value = row.path;
    if (row.folder) toggle(row.path);
    else onOpen(row.path, withFocus);
  }

  function typeAhead(key) {
    const now = Date.now();
    const last = typed.current;
    const text = (now - last.at < TYPING ? last.text : '') + key.toLowerCase();
    typed.current = { text, at: now };
    // The same letter again and again goes from one name with it to the next.
    const wanted = /^(.)\1+$/u.test(text) ? text[0] : text;
    const first = wanted.length === 1 ? index + 1 : index;
    for (let step = 0; step < list.length; step += 1) {
      const at = (first + step) % list.length;
      if (list[at].name.toLowerCase().startsWith(wanted)) return go(at);
    }
  }

  function right(row) {
    if (!row.folder) return;
    if (!opened.value.has(row.path)) toggle(row.path, true);
    else if (list[index + 1]?.level > row.level) go(index + 1);
  }

  function left(row) {
    if (row.folder && opened.value.has(row.path)) toggle(row.path, false);
    else if (row.path !== '') active.value = parentOf(row.path);
  }

  function onKeyDown(event) {
    const row = list[index];
    const command = event.ctrlKey || event.metaKey;
    const page = Math.max(1, Math.floor(sight.value.height / height) - 1);
    const keys = {
      ArrowDown: () => go(index + 1), ArrowUp: () => go(index - 1), Home: () => go(0), End: () => go(list.length - 1),
      PageDown: () => go(index + page), PageUp: () => go(index - page),
      ArrowRight: () => right(row), ArrowLeft: () => left(row),
      Enter: () => choose(row, true), ' ': () => choose(row, false),
      F2: () => onKey('rename', row), Delete: () => onKey('delete', row), ContextMenu: () => menuOf(row),
    };
    if (event.key === 'F10' && event.shiftKey) menuOf(row);
    else if (command && event.key.toLowerCase() === 'z') onKey('undo', row);
    else if (command || event.altKey) return;
    else if (keys[event.key]) keys[event.key]();
    else if (event.key.length === 1) typeAhead(event.key);
    else return;
    event.preventDefault();
  }

  const rowOf = (event) => list[indexOf.value.get(event.target.closest?.('[data-path]')?.dataset.path)];
  const menuOf = (row) => onMenu(row, document.getElementById(idOf(indexOf.value.get(row.path)))?.querySelector('.tree-name') ?? box.current);

  function onContextMenu(event) {
    event.preventDefault();
    // Asked for without a pointer it is about the active row, else about the row below it or the whole site.
    const row = rowOf(event) ?? list[event.pointerId === -1 ? index : 0];
    active.value = row.path;
    onMenu(row, { x: event.clientX, y: event.clientY });
  }

  const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
  const folderAt = (event) => {
    const row = rowOf(event);
    return !row ? '' : row.folder ? row.path : parentOf(row.path);
  };
  function onDragOver(event) {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
    over.value = folderAt(event);
  }
  function drop(event) {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation();
    over.value = null;
    const folder = folderAt(event);
    toggle(folder, true);
    onDrop(event.dataTransfer, folder);
  }

  const first = Math.max(0, Math.floor(sight.value.top / height) - SPARE);
  const last = Math.min(list.length, Math.ceil((sight.value.top + sight.value.height) / height) + SPARE);
  // The active row is drawn wherever it is: it is what the keyboard and the screen reader stand on.
  const drawn = [...new Set([...(index < first ? [index] : []), ...range(first, last), ...(index >= last ? [index] : [])])];

  return html`
    <div class="tree" ref=${box} role="tree" tabindex="0" data-testid="tree" aria-label=${strings.tree} aria-description=${strings.hint}
      aria-activedescendant=${idOf(index)} data-over=${String(over.value === '')}
      onScroll=${look} onKeyDown=${onKeyDown} onContextMenu=${onContextMenu}
      onClick=${(event) => { const row = rowOf(event); if (row) choose(row, false); }}
      onDragOver=${onDragOver} onDragLeave=${(event) => { if (!box.current.contains(event.relatedTarget)) over.value = null; }} onDrop=${drop}>
      <div class="tree-space" role="none" style=${{ height: `${list.length * height}px` }}>
        ${drawn.map((at) => html`<${Row} key=${list[at].path} row=${list[at]} index=${at} height=${height} onMenu=${(row, node) => { active.value = row.path; onMenu(row, node); }}
          shown=${shown === list[at].path && !list[at].folder} over=${Boolean(over.value) && isWithin(list[at].path, over.value)} />`)}
      </div>
    </div>`;
}

const range = (from, to) => Array.from({ length: Math.max(0, to - from) }, (_, step) => from + step);
