// The splash pictures. goop.json names them as the Go program does (`goop2-splash2.png`); ours are drawn.

import { html } from '../../vendor/ui.js';

/** File names as they stand in `viewer.splash`, with what is to be seen. */
export const SPLASHES = [
  ['goop2-splash.png', 'Two drops meet'],
  ['goop2-splash2.png', 'A pond at dusk'],
  ['goop2-splash3.png', 'Lanterns in the hills'],
];

const known = (name) => (SPLASHES.some(([file]) => file === name) ? name : SPLASHES[1][0]);

export const Splash = ({ name, alt = '' }) => html`<img class="splash" loading="lazy" src=${`/assets/images/${known(name).replace(/png$/, 'svg')}`} alt=${alt} />`;
