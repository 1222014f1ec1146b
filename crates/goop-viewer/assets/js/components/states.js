// What is shown where there is nothing to show: loading, empty, failed, not allowed, cut off.

import { h, html } from '../../vendor/ui.js';
import { link, serverAlone } from '../session.js';

const what = serverAlone ? 'server' : 'peer';

const strings = {
  loading: 'Loading…',
  again: 'Try again',
  errorTitle: 'That did not work',
  ownerTitle: `This page belongs to the person who started this ${what}`,
  ownerText: 'Open the link that was printed where it was started. Each start prints a new one.',
  lost: `The connection to your ${what} is lost. What you see is from before; it catches up by itself when the ${what} answers again.`,
};

/** Nothing is there, and why; children are ways out. `alone` makes it the page's own heading. */
export const Empty = ({ title, text, alone = false, children }) => html`<div class="empty">
  <img src="/assets/images/asleep.svg" alt="" width="176" height="145" />${h(alone ? 'h1' : 'h2', {}, title)}<p>${text}</p>
  ${children && html`<div class="row empty-ways">${children}</div>`}
</div>`;

export const Loading = ({ text = strings.loading }) => html`<p class="loading" role="status"><span class="spinner" aria-hidden="true"></span>${text}</p>`;

/** What went wrong, where it went wrong, and the way to try again. */
export function Failure({ error, again }) {
  if (error.status === 401) return html`<${Empty} alone title=${strings.ownerTitle} text=${strings.ownerText} />`;
  return html`<div class="note bad" role="alert">
    <h2>${strings.errorTitle}</h2><p>${error.message}</p>
    ${again && html`<p><button type="button" class="button" onClick=${again}>${strings.again}</button></p>`}
  </div>`;
}

/** Draws what `useLoad` gave: loading, failed, or `children(data)`. */
export function Loaded({ from, children }) {
  if (from.error && !from.data) return html`<${Failure} error=${from.error} again=${from.again} />`;
  return from.data ? children(from.data) : html`<${Loading} />`;
}

/** Says that the live connection is lost, while it is. */
export const Offline = () => link.value === 'lost' && html`<p class="note warn" role="status">${strings.lost}</p>`;
