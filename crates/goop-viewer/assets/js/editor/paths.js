// Paths inside the site: taken apart, put together, checked. A path has no slash at either end; '' is the site itself.

const strings = {
  noName: 'Give it a name.',
  slash: 'A name has no slash. Use Move to put it into another folder.',
  dots: 'Names that begin with a dot are hidden from visitors; choose another one.',
  signs: 'These signs cannot be part of a name: \\ : * ? " < > |',
  long: 'This name is too long.',
  copy: (stem, n) => (n === 1 ? `${stem} copy` : `${stem} copy ${n}`),
};

/** Longest name file systems take, in bytes. */
const MAX_NAME = 255;

const KINDS = {
  image: ['png', 'jpg', 'jpeg', 'gif', 'webp', 'avif', 'svg', 'ico', 'bmp'],
  sound: ['mp3', 'ogg', 'oga', 'wav', 'flac', 'm4a', 'opus'],
  film: ['mp4', 'webm', 'mov', 'm4v', 'ogv'],
  paper: ['pdf'],
  page: ['html', 'htm'],
  code: ['css', 'js', 'mjs', 'json', 'xml', 'lua'],
};

export const parentOf = (path) => path.slice(0, Math.max(0, path.lastIndexOf('/')));
export const nameOf = (path) => path.slice(path.lastIndexOf('/') + 1);
export const join = (folder, name) => (folder === '' ? name : `${folder}/${name}`);
export const isWithin = (path, folder) => folder === '' || path === folder || path.startsWith(`${folder}/`);

/** Where `path` is after `from` became `to`. */
export const moved = (path, from, to) => (isWithin(path, from) ? to + path.slice(from.length) : path);

/** The folders a path lies in, outermost first. */
export function foldersOf(path) {
  const parts = path.split('/');
  return parts.slice(0, -1).map((_, index) => parts.slice(0, index + 1).join('/'));
}

export const extensionOf = (path) => {
  const name = nameOf(path);
  const dot = name.lastIndexOf('.');
  return dot > 0 ? name.slice(dot + 1).toLowerCase() : '';
};

/** The name without its extension. */
export const stemOf = (path) => {
  const name = nameOf(path);
  const dot = name.lastIndexOf('.');
  return dot > 0 ? name.slice(0, dot) : name;
};

/** What a file is by its name: image, sound, film, paper, page, code or text. */
export const kindOf = (path) => Object.keys(KINDS).find((kind) => KINDS[kind].includes(extensionOf(path))) ?? 'text';

/** A path beside `path` that nobody has; `name(stem, n)` proposes. */
export function freePath(path, isTaken, name = strings.copy) {
  const extension = nameOf(path).slice(stemOf(path).length);
  for (let n = 1; ; n += 1) {
    const tried = join(parentOf(path), name(stemOf(path), n) + extension);
    if (!isTaken(tried)) return tried;
  }
}

/** Why a name cannot be given; '' when it can. */
export function problemOfName(name) {
  if (name === '') return strings.noName;
  if (name.includes('/')) return strings.slash;
  if (name.startsWith('.')) return strings.dots;
  if (/[\\:*?"<>|\u0000-\u001f]/u.test(name)) return strings.signs;
  return new TextEncoder().encode(name).length > MAX_NAME ? strings.long : '';
}

/** The address of a file of the own site; `site` is the address of the site. */
export const addressOf = (site, path) => site + path.split('/').map(encodeURIComponent).join('/');

/** A size as people read it. */
export function sizeText(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB'];
  let size = bytes / 1000;
  while (size >= 999.5 && units.length > 1) {
    size /= 1000;
    units.shift();
  }
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${units[0]}`;
}
