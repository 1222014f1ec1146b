// Peers: who is here, live. Search by name or id, favourites, what can be done with each, the way to each site.

import { everybody, label, probeAll, state } from '../people.js';
import { quick, session, siteLink, splash } from '../session.js';
import { Avatar } from '../components/avatar.js';
import { Icon } from '../components/icon.js';
import { menuAt, openMenu } from '../components/menu.js';
import { memo, mount } from '../components/mount.js';
import { peerMenu, setFavorite } from '../components/peer-menu.js';
import { Badges, Presence } from '../components/presence.js';
import { Splash } from '../components/splash.js';
import { Empty, Offline } from '../components/states.js';
import { toastError } from '../components/toast.js';
import { VirtualList } from '../components/virtual-list.js';
import { html, useMemo, useState } from '../../vendor/ui.js';

export const title = 'Peers';
export const broad = true;

const strings = {
  heading: 'Peers',
  search: { name: 'Search by name or e-mail', id: 'Search by peer id' },
  mode: 'Search in',
  modes: [['name', 'Name'], ['id', 'Peer id']],
  favorites: 'Favourites',
  visit: 'Visit',
  visitName: (name) => `Visit the site of ${name}`,
  mine: 'My site',
  check: 'Check who answers',
  checking: 'Checking…',
  favorite: (name) => `Favourite: ${name}`,
  more: (name) => `More about ${name}`,
  counts: (here, all) => `${here} of ${all} here`,
  shown: (some, here, all) => `${some} shown · ${here} of ${all} here`,
  hidden: (n) => (n === 1 ? '1 peer with an unverified e-mail is hidden.' : `${n} peers with an unverified e-mail are hidden.`),
  showHidden: 'Show',
  nobody: 'Nobody else is here yet',
  nobodyText: 'Peers on your network appear by themselves. Start one on another machine, or ask a friend on the same Wi-Fi to.',
  noMatch: 'No peer matches',
  noMatchText: { name: 'Try a part of the name or of the e-mail address.', id: 'Try the first characters of the id.' },
  noFavorites: 'No favourites yet',
  noFavoritesText: 'The star beside a peer makes it a favourite. Favourites stay in the list when they are away.',
  everybody: 'Show everybody',
};

/** Remembers what the list was narrowed to, as long as the tab lives. */
const KEY = 'peers-favorites';

const Row = memo(({ peer }) => {
  const name = label(peer);
  const menu = () => peerMenu(peer);
  return html`<div class="peer" data-peer=${peer.id} data-offline=${peer.offline} data-state=${state(peer)}
      onContextMenu=${(event) => menuAt(event, strings.more(name), menu())}>
    <${Avatar} peer=${peer} />
    <div class="who">
      <a class="name" href=${`/peer/${peer.id}`} title=${name}>${name}</a>
      <div class="about small muted"><${Presence} peer=${peer} /><${Badges} peer=${peer} />${peer.email && html`<span class="cut">${peer.email}</span>`}</div>
    </div>
    <div class="actions">
      <button type="button" class="icon-button star" aria-pressed=${String(peer.favorite)} aria-label=${strings.favorite(name)}
        onClick=${() => setFavorite(peer, !peer.favorite)}><${Icon} name=${peer.favorite ? 'starred' : 'star'} /></button>
      <button type="button" class="icon-button" aria-label=${strings.more(name)} aria-haspopup="menu"
        onClick=${(event) => openMenu(event.currentTarget, strings.more(name), menu())}><${Icon} name="more" /></button>
      <a class=${peer.offline ? 'button' : 'button primary'} ...${siteLink(peer.id)} aria-label=${strings.visitName(name)}>${strings.visit}</a>
    </div>
  </div>`;
});

/** What the list is narrowed to; the same list again while nothing of that changes. */
function useFound(all, { text, mode, favorites, hideUnverified }) {
  return useMemo(() => {
    const wanted = text.trim().toLowerCase();
    const matches = (peer) => (mode === 'id' ? peer.id.toLowerCase() : `${peer.name} ${peer.email}`.toLowerCase()).includes(wanted);
    const narrowed = all.filter((peer) => (!favorites || peer.favorite) && (wanted === '' || matches(peer)));
    const unverified = (peer) => hideUnverified && peer.email !== '' && !peer.verified && !peer.favorite;
    const found = hideUnverified ? narrowed.filter((peer) => !unverified(peer)) : narrowed;
    return { found, hidden: narrowed.length - found.length, here: all.filter((peer) => !peer.offline).length };
  }, [all, text, mode, favorites, hideUnverified]);
}

function Nothing({ all, favorites, mode, onEverybody }) {
  if (all.length === 0) return html`<${Empty} title=${strings.nobody} text=${strings.nobodyText} />`;
  if (!favorites) return html`<${Empty} title=${strings.noMatch} text=${strings.noMatchText[mode]} />`;
  return html`<${Empty} title=${all.some((peer) => peer.favorite) ? strings.noMatch : strings.noFavorites} text=${strings.noFavoritesText}>
    <button type="button" class="button" onClick=${onEverybody}>${strings.everybody}</button><//>`;
}

function Check() {
  const [busy, setBusy] = useState(false);
  const check = async () => {
    setBusy(true);
    await probeAll().catch(toastError);
    setBusy(false);
  };
  return html`<button type="button" class="button" aria-disabled=${String(busy)} onClick=${() => busy || check()}><${Icon} name="refresh" /><span class="words-if-wide">${busy ? strings.checking : strings.check}</span></button>`;
}

function Peers() {
  const [text, setText] = useState('');
  const [mode, setMode] = useState('name');
  const [favorites, setFavorites] = useState(sessionStorage.getItem(KEY) === 'yes');
  const [reveal, setReveal] = useState(false);
  const all = everybody();
  const { found, hidden, here } = useFound(all, { text, mode, favorites, hideUnverified: Boolean(quick.value?.hide_unverified) && !reveal });
  const narrow = (on) => {
    sessionStorage.setItem(KEY, on ? 'yes' : 'no');
    setFavorites(on);
  };
  const count = found.length === all.length ? strings.counts(here, all.length) : strings.shown(found.length, here, all.length);
  return html`<div class="beside">
    <div class="stack">
      <div class="row spread"><h1>${strings.heading}</h1>
        <div class="row"><${Check} /><a class="button" href=${session.value?.site_url} target="_blank" rel="noreferrer"><${Icon} name="out" /><span class="words-if-wide">${strings.mine}</span></a></div></div>
      <${Offline} />
      <div class="row tools">
        <input class="search" type="search" placeholder=${strings.search[mode]} aria-label=${strings.search[mode]} value=${text} onInput=${(event) => setText(event.currentTarget.value)} />
        <select class="button" aria-label=${strings.mode} value=${mode} onChange=${(event) => setMode(event.currentTarget.value)}>
          ${strings.modes.map(([value, name]) => html`<option key=${value} value=${value}>${name}</option>`)}</select>
        <button type="button" class="button toggle" aria-pressed=${String(favorites)} onClick=${() => narrow(!favorites)}>
          <${Icon} name=${favorites ? 'starred' : 'star'} />${strings.favorites}</button>
      </div>
      ${all.length > 0 && html`<p class="small muted">${count}</p>`}
      ${hidden > 0 && html`<p class="small muted">${strings.hidden(hidden)} <button type="button" class="link" onClick=${() => setReveal(true)}>${strings.showHidden}</button></p>`}
      ${found.length > 0
    ? html`<${VirtualList} items=${found} keyOf=${(peer) => peer.id} label=${strings.heading} row=${(peer) => html`<${Row} peer=${peer} />`} />`
    : html`<${Nothing} all=${all} favorites=${favorites} mode=${mode} onEverybody=${() => { narrow(false); setText(''); }} />`}
    </div>
    <aside class="beside-picture"><${Splash} name=${splash.value} /></aside>
  </div>`;
}

export const show = (main) => mount(main, html`<${Peers} />`);
