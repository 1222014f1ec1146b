// The tree of files, with more of them than are drawn.

import { Tree } from '/assets/js/editor/tree.js';
import { entries, state } from '/assets/js/editor/site.js';
import { html } from '/assets/vendor/ui.js';
import { HEBREW, MARKUP, say } from './stage.js';

const paths = ['images/', 'images/tide.svg', 'index.html', `${MARKUP.replaceAll('/', '-')}.html`, `${HEBREW}.txt`, ...Array.from({ length: 20_000 }, (_, at) => `many-${at}.txt`)];
entries.value = new Map(paths.map((path) => {
  const own = path.replace(/\/$/, '');
  return [own, { path: own, name: own.split('/').at(-1), folder: path.endsWith('/'), size: 1, modified: 0 }];
}));
state.value = 'ready';

export const Part = () => html`<div class="card"><div class="ed-side" style=${{ height: '20rem', display: 'flex' }}>
  <${Tree} shown="index.html" onOpen=${(path, focus) => say(`open ${path} ${focus}`)} onMenu=${(row) => say(`menu ${row.path}`)} onKey=${(what, row) => say(`${what} ${row.path}`)} onDrop=${() => say('dropped')} />
</div></div>`;
