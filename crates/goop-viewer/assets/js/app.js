// The frame: navigation without reloading, the live connection, the theme.

import { get } from './api.js';
import { el } from './dom.js';
import { connect } from './events.js';
import { refresh } from './people.js';
import { failure } from './components/parts.js';
import * as edit from './pages/edit.js';
import * as logs from './pages/logs.js';
import * as peer from './pages/peer.js';
import * as peers from './pages/peers.js';
import * as self from './pages/self.js';
import * as view from './pages/view.js';

const strings = {
  title: (page) => `${page} · Goop²`,
  nav: [['/peers', 'Peers'], ['/view', 'Visiting'], ['/edit', 'Editor'], ['/self', 'Me'], ['/logs', 'Logs']],
  live: 'live',
  lost: 'connection lost',
  signedOut: 'signed out',
};

const pages = [
  [/^\/peers$/, peers], [/^\/peer\/([^/]+)$/, peer], [/^\/view$/, view], [/^\/edit$/, edit], [/^\/self$/, self], [/^\/logs$/, logs],
];

let leave = () => {};

/** Shows the page the address names. */
async function show() {
  leave();
  leave = () => {};
  const main = document.getElementById('main');
  const path = location.pathname;
  const [page, match] = pages.map(([pattern, page]) => [page, path.match(pattern)]).find(([, found]) => found) ?? [peers, []];
  document.title = strings.title(page.title);
  main.dataset.wide = String(Boolean(page.wide));
  for (const link of document.querySelectorAll('.nav a')) {
    const here = path === link.pathname || (link.pathname === '/peers' && path.startsWith('/peer'));
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  try {
    leave = (await page.show(main, { arg: match[1], query: new URLSearchParams(location.search) })) ?? leave;
  } catch (error) {
    main.replaceChildren(failure(error));
  }
}

/** Goes to a page of ours without loading it anew. */
export function go(url) {
  history.pushState(null, '', url);
  show().then(() => document.getElementById('main').focus());
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a[href]');
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
  if (!link || !plain || link.target || link.origin !== location.origin) return;
  if (!pages.some(([pattern]) => pattern.test(link.pathname))) return;
  event.preventDefault();
  go(link.href);
});
addEventListener('popstate', show);
// A page that the browser keeps for "back" must not keep connections.
addEventListener('pagehide', () => {
  leave();
  leave = () => {};
});
addEventListener('pageshow', ({ persisted }) => {
  if (persisted) show();
});

export function setTheme(theme) {
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function showState(state) {
  const note = document.getElementById('link-state');
  note.dataset.state = state;
  note.textContent = state === 'live' ? strings.live : strings.lost;
}

/** Browsers that do not resolve names below localhost get a port for each site instead. */
async function checkOrigins(session) {
  try {
    await fetch(session.probe_url, { mode: 'no-cors' });
  } catch {
    await fetch('/api/origins', { method: 'POST', body: JSON.stringify({ mode: 'port' }) });
  }
}

async function begin() {
  const nav = strings.nav.map(([href, text]) => el('a', { href }, text));
  document.getElementById('nav').append(...nav);
  setTheme(localStorage.getItem('theme'));
  try {
    const session = await get('/api/session');
    if (!localStorage.getItem('theme')) setTheme(session.theme);
    // In this order nothing is missed in between.
    connect(showState);
    await refresh();
    checkOrigins(session);
  } catch (error) {
    const note = document.getElementById('link-state');
    note.dataset.state = 'lost';
    note.textContent = error.status === 401 ? strings.signedOut : strings.lost;
  }
  await show();
}

begin();
