// What stands around every page: navigation, the state of the connection, and whatever lies over the page.

import { html } from '../../vendor/ui.js';
import { link } from '../session.js';
import { Dialogs } from './dialog.js';
import { Icon } from './icon.js';
import { Menus } from './menu.js';
import { Toasts } from './toast.js';

const strings = {
  live: 'live',
  lost: 'connection lost',
  out: 'signed out',
  fresh: 'unread',
};

/** Larger numbers are not said. */
const MOST = 99;

/** The pages in the navigation; `path` is the current one, `under` says which other pages belong to an entry, and `count` how
 * much there is new. */
export const Nav = ({ pages, path }) => pages.map(({ href, text, icon, under, count }) => html`
  <a key=${href} href=${href} aria-current=${path.value === href || under?.test(path.value) ? 'page' : undefined}><${Icon} name=${icon} /><span>${text}</span>${count?.value > 0 && html`<span class="badge count">${count.value > MOST ? `${MOST}+` : count.value}<span class="hidden"> ${strings.fresh}</span></span>`}</a>`);

/** Words for the live connection; the element around them carries the state. */
export function LinkState() {
  const state = link.value;
  document.getElementById('link-state').dataset.state = state === 'out' ? 'lost' : state;
  return html`<span>${strings[state] ?? ''}</span>`;
}

/** Menus and dialogs. */
export const Overlays = () => html`<${Dialogs} /><${Menus} />`;

export { Toasts };
