// How the site looks: pages of the own site in a frame of its own origin, read anew after each save; and files that are no
// text, shown the same way and never opened as text.

import { el } from '../dom.js';
import { Icon } from '../components/icon.js';
import { html, signal, useEffect, useRef } from '../../vendor/ui.js';
import { addressOf, kindOf, nameOf, sizeText } from './paths.js';

const strings = {
  preview: 'Preview',
  frame: (path) => `Preview of ${path}`,
  reload: 'Read it anew',
  out: 'Open in a tab of its own',
  close: 'Close the preview',
  noPage: 'There is no page to show yet. Make an index.html, and it appears here.',
  notText: 'This file is no text, or too large to edit, so it is only shown.',
  noPicture: 'Browsers cannot show this kind of file.',
};

/** The page that is shown beside the text, or ''. */
export const page = signal('');
const turn = signal(0);

/** What is shown is read anew. */
export const reload = () => { turn.value += 1; };

/** Kinds of files browsers show by themselves. */
const SHOWN = ['image', 'sound', 'film', 'paper', 'page'];
/** Milliseconds after which a page that still loads takes the place of the one before. */
const PATIENCE = 4000;

/** A frame that shows the new page when it is there and the old one until then. */
function Frame({ address, title }) {
  const box = useRef(null);
  useEffect(() => {
    const before = [...box.current.children];
    const frame = el('iframe', {
      src: address, title, class: 'look-frame', 'data-state': 'loading', referrerpolicy: 'no-referrer',
      sandbox: 'allow-scripts allow-same-origin allow-forms allow-popups allow-downloads',
    });
    const swap = () => {
      clearTimeout(late);
      frame.dataset.state = 'shown';
      for (const old of before) old.remove();
    };
    const late = setTimeout(swap, PATIENCE);
    frame.addEventListener('load', swap, { once: true });
    box.current.append(frame);
    return () => clearTimeout(late);
  }, [address, turn.value]);
  return html`<div class="look-stage" ref=${box}></div>`;
}

/** The own site beside the text. */
export function Preview({ site, onClose }) {
  // Where the site is comes with the session.
  const path = site && page.value;
  const address = addressOf(site, path);
  return html`
    <section class="ed-card look" aria-label=${strings.preview} data-testid="preview">
      <div class="ed-head">
        <h2 class="look-path" title=${path}>${path || strings.preview}</h2>
        <button type="button" class="icon-button" aria-label=${strings.reload} title=${strings.reload} onClick=${reload}><${Icon} name="refresh" /></button>
        ${path && html`<a class="icon-button" href=${address} target="_blank" rel="noreferrer" aria-label=${strings.out} title=${strings.out}><${Icon} name="out" /></a>`}
        <button type="button" class="icon-button" aria-label=${strings.close} title=${strings.close} data-testid="preview-close" onClick=${onClose}><${Icon} name="close" /></button>
      </div>
      ${path ? html`<${Frame} key="frame" address=${address} title=${strings.frame(path)} />` : site && html`<p class="empty">${strings.noPage}</p>`}
    </section>`;
}

/** A file that is no text. */
export function Shown({ doc, site }) {
  const path = doc.path.value;
  const address = addressOf(site, path);
  return html`
    <div class="look-file" data-testid="binary">
      <p class="ed-strip"><span>${strings.notText}</span> <span class="muted">${sizeText(doc.size)}</span>
        <a class="button" href=${address} target="_blank" rel="noreferrer">${strings.out}</a></p>
      ${!site ? null : SHOWN.includes(kindOf(path)) ? html`<${Frame} key=${path} address=${address} title=${nameOf(path)} />` : html`<p class="empty">${strings.noPicture}</p>`}
    </div>`;
}
