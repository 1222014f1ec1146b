// What can be done with files of the site: the questions, and what follows from the answers.

import { toast, toastError } from '../components/toast.js';
import { ask, choose } from './dialog.js';
import * as documents from './documents.js';
import { offer } from './notice.js';
import { freePath, isWithin, join, nameOf, parentOf, problemOfName, stemOf } from './paths.js';
import * as site from './site.js';
import * as tree from './tree.js';
import { bring } from './upload.js';

const strings = {
  site: 'the site',
  newFile: (folder) => `New file in ${folder}`,
  newFolder: (folder) => `New folder in ${folder}`,
  name: 'Name',
  fileHint: 'For example plants.html. The ending says what kind of file it is.',
  folder: 'Folder',
  folderHint: 'Counted from the site. Empty is the site itself.',
  create: 'Create',
  rename: (name) => `Rename ${name}`,
  renameDo: 'Rename',
  move: (name) => `Move ${name}`,
  moveDo: 'Move',
  copy: (name) => `Copy ${name}`,
  copyDo: 'Copy',
  taken: (name) => `There is a ${name} already. Choose another name.`,
  noFolder: (folder) => `There is no folder ${folder}. Make it first, or choose another one.`,
  inItself: 'A folder cannot be moved into itself.',
  deleted: (name) => `${name} is deleted.`,
  undo: 'Undo',
  nothingToUndo: 'There is nothing to bring back.',
  unsaved: (name) => `${name} is not saved`,
  unsavedText: 'Closing it throws away what you wrote since.',
  save: 'Save and close',
  discard: 'Close without saving',
};

const titleOf = (folder) => folder || strings.site;

function checkNew(path) {
  const problem = problemOfName(nameOf(path));
  if (problem) throw new Error(problem);
  if (site.exists(path)) throw new Error(strings.taken(nameOf(path)));
}

/** Says in a person's words that a name was taken meanwhile. */
const orTaken = (done, path) => done.catch((error) => { throw error.status === 409 ? new Error(strings.taken(nameOf(path))) : error; });

/** A folder as somebody wrote it. */
const folderFrom = (text) => text.split('/').map((part) => part.trim()).filter(Boolean).join('/');

export const newFile = (folder) => ask({
  title: strings.newFile(titleOf(folder)),
  fields: [{ name: 'name', label: strings.name, hint: strings.fileHint }],
  action: strings.create,
  submit: async ({ name }) => {
    const path = join(folder, name);
    checkNew(path);
    await orTaken(site.makeFile(path), path);
    tree.reveal(path);
    documents.open(path);
  },
});

export const newFolder = (folder) => ask({
  title: strings.newFolder(titleOf(folder)),
  fields: [{ name: 'name', label: strings.name }],
  action: strings.create,
  submit: async ({ name }) => {
    const path = join(folder, name);
    checkNew(path);
    await orTaken(site.makeFolder(path), path);
    tree.reveal(path);
  },
});

async function relocate(from, to) {
  if (from === to) return;
  checkNew(to);
  if (isWithin(to, from)) throw new Error(strings.inItself);
  // What is being saved would arrive at the old place.
  await documents.settle(from);
  await orTaken(site.rename(from, to), to);
  documents.follow(from, to);
  tree.follow(from, to);
  tree.reveal(tree.active.value);
}

export const rename = (path) => ask({
  title: strings.rename(nameOf(path)),
  fields: [{ name: 'name', label: strings.name, value: nameOf(path), select: [0, stemOf(path).length] }],
  action: strings.renameDo,
  submit: ({ name }) => relocate(path, join(parentOf(path), name)),
});

const folderField = (path) => ({ name: 'folder', label: strings.folder, value: parentOf(path), hint: strings.folderHint, list: site.folders() });

function checkFolder(folder) {
  if (!site.isFolder(folder)) throw new Error(strings.noFolder(folder));
}

export const move = (path) => ask({
  title: strings.move(nameOf(path)),
  fields: [folderField(path)],
  action: strings.moveDo,
  submit: async (values) => {
    const folder = folderFrom(values.folder);
    checkFolder(folder);
    await relocate(path, join(folder, nameOf(path)));
  },
});

export const copy = (path) => ask({
  title: strings.copy(nameOf(path)),
  fields: [{ name: 'name', label: strings.name, value: nameOf(freePath(path, site.exists)) }, folderField(path)],
  action: strings.copyDo,
  submit: async (values) => {
    const folder = folderFrom(values.folder);
    checkFolder(folder);
    const to = join(folder, values.name);
    checkNew(to);
    if (isWithin(to, path) && site.isFolder(path)) throw new Error(strings.inItself);
    await orTaken(site.copy(path, to), to);
    tree.reveal(to);
    if (!site.isFolder(to)) documents.open(to);
  },
});

/** The last delete that can be taken back: what does it. */
let takeBack = null;

/** The row to stand on when `path` is gone: the next one beside it, or the one before, or its folder. */
function besides(path) {
  const rows = site.childrenOf(parentOf(path));
  const place = rows.findIndex((row) => row.path === path);
  return (rows[place + 1] ?? rows[place - 1])?.path ?? parentOf(path);
}

/** Deletes at once; the message that says so brings it back. */
export async function remove(path) {
  try {
    await documents.settle(path);
    const next = besides(path);
    const { undo } = await site.remove(path);
    const closed = documents.dropDeleted(path);
    if (isWithin(tree.active.value, path)) tree.reveal(next);
    let close = () => {};
    const restore = async () => {
      takeBack = null;
      await site.restore(undo, path);
      tree.reveal(path);
      for (const one of closed) await documents.open(one);
      close();
    };
    takeBack = restore;
    close = offer(strings.deleted(nameOf(path)), strings.undo, restore);
  } catch (error) {
    toastError(error);
  }
}

/** Takes the last delete back. */
export async function undoDelete() {
  if (!takeBack) {
    toast(strings.nothingToUndo);
    return;
  }
  try {
    await takeBack();
  } catch (error) {
    toastError(error);
  }
}

/** Lets the person choose files of this machine for a folder. */
export function chooseFiles(folder) {
  const input = document.getElementById('ed-files');
  input.onchange = () => {
    const files = [...input.files].map((file) => ({ file, name: file.name }));
    input.value = '';
    bring(files, folder);
  };
  input.click();
}

/** Closes tabs and asks about the ones that are not saved. */
export async function close(...docs) {
  for (const doc of docs) {
    if (doc.dirty.value && !await mayClose(doc)) return;
    documents.close(doc);
  }
}

async function mayClose(doc) {
  documents.show(doc);
  const answer = await choose({
    title: strings.unsaved(nameOf(doc.path.value)),
    text: strings.unsavedText,
    choices: [{ value: 'discard', label: strings.discard, kind: 'bad' }, { value: 'save', label: strings.save, kind: 'primary' }],
  });
  if (answer === 'save') await documents.save(doc);
  return answer === 'discard' || (answer === 'save' && !doc.dirty.value);
}
