// The frame: which page an address names, navigation without reloading, the live connection.

import { get, getText, post } from './api.js';
import { followChats, unread } from './chat.js';
import { connect, listen } from './events.js';
import { go, onGo } from './navigate.js';
import { refresh } from './people.js';
import { link, loadSession, quick, serverAlone, session } from './session.js';
import { followKeys } from './components/keys.js';
import { LinkState, Nav, Overlays, Toasts } from './components/frame.js';
import { mount } from './components/mount.js';
import { Failure } from './components/states.js';
import { toast } from './components/toast.js';
import { welcome } from './components/welcome.js';
import { html, render, signal } from '../vendor/ui.js';
import * as edit from './pages/edit.js';

const strings = {
  title: (page) => `${page} · Goop²`,
  relayLost: 'Relay unavailable',
  relayLostText: 'Peers outside your network may not find you until it is back.',
  relayBack: 'Relay restored',
  relayBackText: 'Peers outside your network find you again.',
};

/** Pages that a rendezvous server alone has, too; a peer has all. */
const ofServer = ['/self', '/logs', '/topology'];

/** What the navigation shows. */
const navigation = [
  { href: '/peers', text: 'Peers', icon: 'peers', under: /^\/peer\// },
  { href: '/messages', text: 'Messages', icon: 'chat', count: unread },
  { href: '/view', text: 'Visiting', icon: 'visit' },
  { href: '/edit', text: 'Editor', icon: 'edit' },
  { href: '/database', text: 'Data', icon: 'data' },
  { href: '/self', text: serverAlone ? 'Settings' : 'Me', icon: 'me' },
  { href: '/logs', text: 'Logs', icon: 'logs', under: /^\/topology$/ },
  { href: '/docs', text: 'Docs', icon: 'docs' },
].filter(({ href }) => !serverAlone || ofServer.includes(href));

const peers = () => import('./pages/peers.js');
const self = () => import('./pages/self.js');

/** Which page an address names. A page is read when somebody goes there; the editor's minds unsaved text from the start. */
const pages = [
  [/^\/peers$/, peers],
  [/^\/peer\/([^/]+)$/, () => import('./pages/peer.js')],
  [/^\/messages$/, () => import('./pages/messages.js')],
  [/^\/view$/, () => import('./pages/view.js')],
  [/^\/edit$/, async () => edit],
  [/^\/database$/, () => import('./pages/database.js')],
  [/^\/self$/, self],
  [/^\/logs$/, () => import('./pages/logs.js')],
  [/^\/topology$/, () => import('./pages/topology.js')],
  [/^\/docs$/, () => import('./pages/docs.js')],
].filter(([pattern]) => !serverAlone || ofServer.some((path) => pattern.test(path)));
/** What an address without a page shows. */
const home = serverAlone ? self : peers;

/** Milliseconds that a page waits for live events before it shows what it has without them. */
const PATIENCE = 1000;
/** Names nobody chose. */
const DEFAULT_NAMES = ['', 'hello'];

const path = signal(location.pathname);
const main = document.getElementById('main');
let leave = () => {};
let turn = 0;
/** Why nothing can be shown: nobody answers, or whoever looks is not the owner. */
let trouble = null;
let connected = false;
let followed = false;
/** The address that is shown, without its fragment. */
let shown = '';

/** Reads a page's module. One that cannot be had belonged to a program that was replaced since: the new one's pages are
 * loaded, unless that was done just now or nobody answers at all. */
async function read(load) {
  try {
    return await load();
  } catch (error) {
    await getText('/healthz');
    if (turn === 1) throw error;
    location.reload();
    return new Promise(() => {});
  }
}

let list = null;

/** The list of peers, read for the first page that does not say that it shows nobody (`alone`); events keep it up to date. */
function people() {
  list ??= refresh().catch((error) => {
    list = null;
    throw error;
  });
  return list;
}

/** Shows the page the address names. A page that was left before it was ready is taken away again. */
async function show() {
  turn += 1;
  const mine = turn;
  leave();
  leave = () => {};
  path.value = location.pathname;
  shown = location.pathname + location.search;
  const [load, match] = pages.map(([pattern, found]) => [found, location.pathname.match(pattern)]).find(([, found]) => found) ?? [home, []];
  let gone;
  try {
    if (trouble) throw trouble;
    const page = await read(load);
    if (!page.alone) await people();
    if (mine !== turn) return;
    document.title = strings.title(page.title);
    main.dataset.wide = String(Boolean(page.wide));
    main.dataset.broad = String(Boolean(page.broad));
    gone = await page.show(main, { arg: match[1], query: new URLSearchParams(location.search) });
  } catch (error) {
    if (mine !== turn) return;
    gone = mount(main, html`<${Failure} error=${error} again=${trouble ? enter : show} />`);
  }
  if (mine === turn) leave = gone ?? leave;
  else gone?.();
}

document.addEventListener('click', (event) => {
  const anchor = event.target.closest('a[href]');
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
  if (!anchor || !plain || event.defaultPrevented || anchor.target || anchor.origin !== location.origin || anchor.hasAttribute('download')) return;
  const samePage = anchor.pathname === location.pathname && anchor.search === location.search && anchor.hash;
  if (samePage || !pages.some(([pattern]) => pattern.test(anchor.pathname))) return;
  event.preventDefault();
  go(anchor.href);
});
onGo(() => show().then(() => {
  main.focus({ preventScroll: true });
  if (!location.hash) scrollTo(0, 0);
}));
addEventListener('popstate', () => location.pathname + location.search !== shown && show());
// A page that the browser keeps for "back" must not keep connections.
addEventListener('pagehide', () => {
  leave();
  leave = () => {};
});
addEventListener('pageshow', ({ persisted }) => {
  if (persisted) show();
});

listen(({ topic, payload }) => {
  if (topic !== 'relay:status') return;
  if (payload.status === 'lost' || payload.status === 'timeout') toast(strings.relayLostText, { level: 'warning', title: strings.relayLost, stay: 8000 });
  else if (payload.status === 'recovered') toast(strings.relayBackText, { level: 'success', title: strings.relayBack, stay: 4000 });
});

/** Browsers that do not resolve names below localhost get a port for each site instead. */
async function checkOrigins() {
  try {
    await fetch(session.value.probe_url, { mode: 'no-cors' });
  } catch {
    await post('/api/origins', { mode: 'port' }).catch(() => {});
  }
}

/** Somebody who is here for the first time is asked for a name. */
async function greet() {
  if (DEFAULT_NAMES.includes(quick.value.label.trim())) welcome(await get('/api/self'));
}

/** Follows what happens; settles when something is known about the connection, or when that takes long. */
function following() {
  if (connected) return Promise.resolve();
  connected = true;
  return new Promise((known) => {
    connect((state) => {
      link.value = state;
      known();
    });
    setTimeout(known, PATIENCE);
  });
}

/** From the first answer on, what comes in is told over every page. */
function follow() {
  if (followed) return;
  followed = true;
  followChats();
  followKeys();
}

/** Asks the peer who looks at it, follows what happens there, and shows the page. */
async function enter() {
  try {
    await loadSession();
    // In this order nothing is missed in between.
    await following();
    trouble = null;
    // A server alone has no sites, nobody who writes, and no name that others see.
    if (!serverAlone) {
      checkOrigins();
      follow();
      greet().catch(() => {});
    }
  } catch (error) {
    trouble = error;
    link.value = error.status === 401 ? 'out' : 'lost';
  }
  await show();
}

function begin() {
  if (serverAlone) document.querySelector('.brand').href = '/';
  render(html`<${Nav} pages=${navigation} path=${path} />`, document.getElementById('nav'));
  render(html`<${LinkState} />`, document.getElementById('link-state'));
  render(html`<${Toasts} />`, document.getElementById('toasts'));
  render(html`<${Overlays} />`, document.getElementById('overlays'));
  enter();
}

begin();
