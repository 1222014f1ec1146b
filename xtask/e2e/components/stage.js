// Shows one component by itself: the address names the part, `?part=menu`, and the module of that name draws it.
// Offers: say, MARKUP, HEBREW, foreign texts that have to stay texts.

import { Overlays, Toasts } from '/assets/js/components/frame.js';
import { html, render } from '/assets/vendor/ui.js';

export const MARKUP = '<img src="/pwned.png" onerror="window.pwned=1"><pwned-mark>';
export const HEBREW = 'שלום עולם';

/** Keeps what happened last where the scenario reads it. */
export const say = (text) => { document.getElementById('said').textContent = text; };

render(html`<${Toasts} />`, document.getElementById('toasts'));
render(html`<${Overlays} />`, document.getElementById('overlays'));
const part = new URLSearchParams(location.search).get('part');
import(`/stage/${part}.js`).then(({ Part }) => {
  render(html`<div class="stack"><${Part} /></div>`, document.getElementById('part'));
  document.documentElement.dataset.ready = 'yes';
}, (error) => say(`The part could not be loaded: ${error.message}`));
