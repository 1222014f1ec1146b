// The files of the own site as one list that the parts of the editor share, and what can be done to them.

import { get, post } from '../api.js';
import { computed, signal } from '../../vendor/ui.js';
import { foldersOf, isWithin, nameOf, parentOf } from './paths.js';

/** Path → `{path, name, folder, size, modified}`. */
export const entries = signal(new Map());
/** Whether the list was read: `reading`, `ready` or `failed`. */
export const state = signal('reading');
/** Why it was not. */
export const problem = signal(null);

const byParent = computed(() => {
  const groups = new Map();
  for (const entry of entries.value.values()) {
    const parent = parentOf(entry.path);
    if (groups.has(parent)) groups.get(parent).push(entry);
    else groups.set(parent, [entry]);
  }
  return groups;
});

const order = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
const sorted = new WeakMap();

/** What lies in a folder: folders first, then by name. Only folders that are looked at are put in order. */
export function childrenOf(folder) {
  const found = byParent.value.get(folder) ?? [];
  if (!sorted.has(found)) {
    sorted.set(found, [...found].sort((a, b) => Number(b.folder) - Number(a.folder) || order.compare(a.name, b.name)));
  }
  return sorted.get(found);
}

export const exists = (path) => path === '' || entries.value.has(path);
export const isFolder = (path) => path === '' || Boolean(entries.value.get(path)?.folder);
export const folders = () => [...entries.value.values()].filter((entry) => entry.folder).map((entry) => entry.path).sort(order.compare);
export const files = (folder) => [...entries.value.values()].filter((entry) => !entry.folder && isWithin(entry.path, folder));

/** What the server says, with the folders it left out. */
function read(rows) {
  const found = new Map();
  for (const row of rows ?? []) {
    const path = row.Path.replace(/^\/+|\/+$/g, '');
    for (const folder of foldersOf(path)) {
      if (!found.has(folder)) found.set(folder, { path: folder, name: nameOf(folder), folder: true, size: 0, modified: 0 });
    }
    found.set(path, { path, name: nameOf(path), folder: row.IsDir, size: row.Size ?? 0, modified: row.Modified ?? 0 });
  }
  return found;
}

let running = null;
let again = false;

/** Reads the list anew. Whoever asks while it is read gets what is true afterwards. */
export function reload() {
  if (running) {
    again = true;
    return running;
  }
  running = (async () => {
    try {
      do {
        again = false;
        entries.value = read(await get('/api/site/files'));
      } while (again);
      state.value = 'ready';
      problem.value = null;
    } catch (error) {
      problem.value = error;
      if (state.value !== 'ready') state.value = 'failed';
    } finally {
      running = null;
    }
  })();
  return running;
}

const channel = { current: null };
const watchers = new Set();

/** Calls `watcher(paths)` after files of the site changed, by this tab or by another one of this browser. */
export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

function tell(paths) {
  for (const watcher of watchers) watcher(paths);
}

/** Hears from the other tabs from here on; gives back how to stop. */
export function follow() {
  const open = new BroadcastChannel('goop2-site');
  channel.current = open;
  open.addEventListener('message', ({ data }) => {
    reload();
    tell(data.paths);
  });
  return () => {
    channel.current = null;
    open.close();
  };
}

/** Says that files changed. */
export function announce(...paths) {
  channel.current?.postMessage({ paths });
  tell(paths);
}

async function change(route, body, ...paths) {
  const answer = await post(`/api/site/${route}`, body);
  await reload();
  announce(...paths);
  return answer;
}

export const makeFolder = (path) => change('mkdir', { path }, path);
export const makeFile = (path, content = '') => change('save', { path, content, if_match: 'none' }, path);
export const rename = (from, to) => change('rename', { from, to }, from, to);
export const copy = (from, to) => change('copy', { from, to }, to);
export const remove = (path) => change('delete', { path }, path);
export const restore = (undo, path) => change('undo', { undo }, path);

/** Makes the folders of a path that are missing. */
export async function makeFoldersFor(path) {
  for (const folder of foldersOf(path)) {
    if (!exists(folder)) await makeFolder(folder);
  }
}
