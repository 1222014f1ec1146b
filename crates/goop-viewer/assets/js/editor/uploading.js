// What is being uploaded, and what could not be.

import { Icon } from '../components/icon.js';
import { html } from '../../vendor/ui.js';
import { nameOf } from './paths.js';
import { drop, progress, retry, uploads } from './upload.js';

const strings = {
  heading: 'Uploads',
  running: (done, of) => (of === 1 ? 'Uploading one file' : `Uploading: ${done} of ${of} files are there`),
  waiting: 'waiting',
  cancel: (name) => `Do not upload ${name}`,
  again: 'Try again',
  forget: (name) => `Forget ${name}`,
  failed: (name, why) => `${name}: ${why}`,
  more: (n) => `and ${n} more`,
};

/** Most files that are listed one by one. */
const LISTED = 4;

function Item({ item }) {
  const name = nameOf(item.path);
  if (item.state.value === 'failed') {
    return html`<li class="ed-upload" data-state="failed"><p role="alert">${strings.failed(name, item.problem.value)}</p>
      <div class="row ed-upload-actions"><button type="button" class="button" onClick=${() => retry(item)}>${strings.again}</button>
      <button type="button" class="icon-button" aria-label=${strings.forget(name)} title=${strings.forget(name)} onClick=${() => drop(item)}><${Icon} name="close" /></button></div></li>`;
  }
  return html`<li class="ed-upload"><div class="ed-upload-name"><span title=${item.path}>${name}</span>
      ${item.state.value === 'sending' ? html`<progress max="1" value=${item.sent.value} aria-label=${name}></progress>` : html`<span class="muted">${strings.waiting}</span>`}</div>
    <button type="button" class="icon-button" aria-label=${strings.cancel(name)} title=${strings.cancel(name)} onClick=${() => drop(item)}><${Icon} name="close" /></button></li>`;
}

/** The list; nothing while there is nothing to say. */
export function Uploads() {
  const all = uploads.value;
  const { done, of } = progress.value;
  if (all.length === 0) return null;
  const failed = all.filter((item) => item.state.value === 'failed');
  const others = all.filter((item) => item.state.value !== 'failed');
  return html`
    <section class="ed-uploads small" aria-label=${strings.heading} data-testid="uploads">
      ${of > 0 && html`<p class="muted" role="status">${strings.running(done, of)}</p>`}
      <ul>${[...failed, ...others.slice(0, LISTED)].map((item) => html`<${Item} key=${item.id} item=${item} />`)}</ul>
      ${others.length > LISTED && html`<p class="muted">${strings.more(others.length - LISTED)}</p>`}
    </section>`;
}
