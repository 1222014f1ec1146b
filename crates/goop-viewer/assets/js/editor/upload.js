// Files that are brought onto the site, one after the other, with how far they are. Going to another page does not stop them.

import { toast } from '../components/toast.js';
import { batch, computed, effect, signal } from '../../vendor/ui.js';
import { choose } from './dialog.js';
import { offer } from './notice.js';
import { freePath, join, nameOf, parentOf, sizeText } from './paths.js';
import { announce, exists, isFolder, reload, restore } from './site.js';

const strings = {
  tooLarge: (size) => `This file has ${size}; at most 1 GiB can be uploaded.`,
  silent: 'The peer does not answer. Is it still running?',
  done: (n, folder) => `${n === 1 ? 'One file' : `${n} files`} uploaded to ${folder || 'the site'}.`,
  hidden: (n) => `${n === 1 ? 'One hidden file was' : `${n} hidden files were`} left out.`,
  nothing: 'There was no file in it.',
  title: (n) => (n === 1 ? 'This file is there already' : `${n} of these files are there already`),
  names: (paths) => paths.slice(0, 5).join(', ') + (paths.length > 5 ? ` and ${paths.length - 5} more` : ''),
  replace: 'Replace',
  both: 'Keep both',
  skip: 'Skip',
  folder: 'There is a folder with this name.',
  appeared: 'Meanwhile a file with this name came onto the site.',
  undo: 'Undo',
  replaced: (n) => `${n === 1 ? 'One file was' : `${n} files were`} replaced.`,
  back: (n) => `${n === 1 ? 'The old file is' : `${n} old files are`} back.`,
};

/** Largest file the server takes, in bytes. */
const MAX_SIZE = 1024 ** 3;

/** What waits, is sent, or failed: `{id, path, file, state, sent, problem}`. */
export const uploads = signal([]);
/** How many of the files under way are there. */
export const progress = signal({ done: 0, of: 0 });
export const isRunning = computed(() => uploads.value.some((item) => ['waiting', 'sending'].includes(item.state.value)));

let count = 0;
let current = null;

/** Reads what was dropped, folders with everything in them. Must be called while the event is handled. */
export async function dropped(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === 'file').map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  for (const entry of entries) await collect(entry, '', found);
  return found;
}

async function collect(entry, folder, found) {
  if (!entry) return;
  if (entry instanceof File) found.push({ file: entry, name: entry.name });
  else if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed)).catch(() => null);
    if (file) found.push({ file, name: join(folder, entry.name) });
  } else {
    const reader = entry.createReader();
    // It gives a hundred at a time.
    for (;;) {
      const some = await new Promise((done) => reader.readEntries(done, () => done([])));
      if (some.length === 0) return;
      for (const inside of some) await collect(inside, join(folder, entry.name), found);
    }
  }
}

/** Uploads files into a folder (`{file, name}`, where a name may have folders in it). Asks before it replaces any. */
export async function bring(list, folder) {
  if (list.length === 0) {
    toast(strings.nothing);
    return;
  }
  const open = list.filter(({ name }) => !name.split('/').some((part) => part.startsWith('.')));
  if (open.length < list.length) toast(strings.hidden(list.length - open.length));
  await reload();
  let items = open.map(({ file, name }) => ({ file, path: join(folder, name) }));
  const taken = items.filter(({ path }) => exists(path));
  if (taken.length > 0) {
    const choices = [{ value: 'skip', label: strings.skip }, { value: 'both', label: strings.both }, { value: 'replace', label: strings.replace, kind: 'bad' }];
    const answer = await choose({ title: strings.title(taken.length), text: strings.names(taken.map(({ path }) => path)), choices });
    if (!answer) return;
    const names = new Set();
    const settle = {
      skip: (item) => (taken.includes(item) ? [] : [item]),
      replace: (item) => [{ ...item, replaces: taken.includes(item) }],
      both: (item) => {
        const path = taken.includes(item) ? freePath(item.path, (tried) => exists(tried) || names.has(tried)) : item.path;
        names.add(path);
        return [{ ...item, path }];
      },
    };
    items = items.flatMap(settle[answer]);
  }
  add(items);
}

function add(items) {
  const fresh = items.map(({ file, path, replaces = false }) => {
    const problem = file.size > MAX_SIZE ? strings.tooLarge(sizeText(file.size)) : isFolder(path) ? strings.folder : '';
    return { id: count += 1, file, path, replaces, appeared: false, state: signal(problem ? 'failed' : 'waiting'), sent: signal(0), problem: signal(problem) };
  });
  batch(() => {
    uploads.value = [...uploads.value, ...fresh];
    progress.value = { ...progress.value, of: progress.value.of + fresh.filter((item) => item.state.value === 'waiting').length };
  });
  if (!current) run();
}

async function run() {
  const done = [];
  const undos = [];
  for (;;) {
    const item = uploads.value.find((item) => item.state.value === 'waiting');
    if (!item) break;
    item.state.value = 'sending';
    try {
      const { undo } = await send(item);
      done.push(item.path);
      if (undo) undos.push({ undo, path: item.path });
      uploads.value = uploads.value.filter((other) => other !== item);
      progress.value = { ...progress.value, done: progress.value.done + 1 };
    } catch (error) {
      item.state.value = 'failed';
      item.problem.value = error.message;
    }
    current = null;
  }
  progress.value = { done: 0, of: 0 };
  if (done.length === 0) return;
  await reload();
  announce(...done);
  const folder = done[0].slice(0, -nameOf(done[0]).length - 1);
  toast(strings.done(done.length, done.every((path) => path.startsWith(folder)) ? folder : ''));
  if (undos.length > 0) offer(strings.replaced(undos.length), strings.undo, () => bringBack(undos));
}

/** Puts the files back that were replaced. */
async function bringBack(undos) {
  for (const { undo, path } of undos) await restore(undo, path);
  toast(strings.back(undos.length));
}

function send(item) {
  return new Promise((done, failed) => {
    const form = new FormData();
    form.append('path', item.path);
    // Only a file that the person agreed to is replaced.
    if (!item.replaces) form.append('if_match', 'none');
    form.append('file', item.file);
    const request = new XMLHttpRequest();
    current = request;
    request.upload.addEventListener('progress', (event) => {
      if (event.lengthComputable) item.sent.value = event.loaded / event.total;
    });
    request.addEventListener('load', () => {
      if (request.status < 300) done(JSON.parse(request.responseText));
      else {
        item.appeared = request.status === 409;
        failed(new Error(item.appeared ? strings.appeared : request.responseText.trim()));
      }
    });
    request.addEventListener('error', () => failed(new Error(strings.silent)));
    request.addEventListener('abort', () => failed(new Error('')));
    request.open('POST', '/api/site/upload');
    request.send(form);
  });
}

/** Takes a file out, whether it waits, is sent, or failed. */
export function drop(item) {
  uploads.value = uploads.value.filter((other) => other !== item);
  if (item.state.value !== 'failed') progress.value = { ...progress.value, of: progress.value.of - 1 };
  if (item.state.value === 'sending') current?.abort();
}

/** Sends a file that failed once more; asks when there is another one in its place by now. */
export function retry(item) {
  if (item.appeared) {
    drop(item);
    bring([{ file: item.file, name: nameOf(item.path) }], parentOf(item.path));
    return;
  }
  item.problem.value = '';
  item.sent.value = 0;
  item.state.value = 'waiting';
  progress.value = { ...progress.value, of: progress.value.of + 1 };
  if (!current) run();
}

const warn = (event) => event.preventDefault();
effect(() => {
  if (isRunning.value) addEventListener('beforeunload', warn);
  else removeEventListener('beforeunload', warn);
});
