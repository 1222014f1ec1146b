// One peer: who it is, when it was here, whether it answers, whose key it has, and the conversation with it.

import { ago } from '../format.js';
import { conversations, nameOf } from '../chat.js';
import { find, label, state } from '../people.js';
import { quick, siteLink } from '../session.js';
import { Avatar } from '../components/avatar.js';
import { Chat } from '../components/chat.js';
import { Icon } from '../components/icon.js';
import { KeyFact, KeyNotice, useKey } from '../components/keys.js';
import { menuAt } from '../components/menu.js';
import { copyText, mount } from '../components/mount.js';
import { copyLink, peerMenu, probe, setFavorite } from '../components/peer-menu.js';
import { Badges, Presence } from '../components/presence.js';
import { Empty, Offline } from '../components/states.js';
import { html, useState } from '../../vendor/ui.js';

export const title = 'Peer';
export const broad = true;

const strings = {
  unknown: 'This peer is not known here',
  unknownText: 'It was not seen lately. When it comes online again it appears among the peers.',
  back: 'To the peers',
  write: 'Write',
  key: 'Messages',
  visit: 'Visit the site',
  tab: 'Open in a tab',
  copy: 'Copy the link',
  check: 'Does it answer?',
  favorite: 'Favourite',
  id: 'Peer id',
  copyId: 'Copy the peer id',
  copiedId: 'Peer id copied',
  email: 'E-mail, as it says',
  seen: 'Last seen',
  reach: 'Reachable',
  calls: 'Calls',
  callsMine: 'You switched calls off.',
  callsTheirs: 'This peer switched calls off.',
  callsBoth: 'Both of you switched calls off.',
  yes: 'yes',
  no: 'no',
  menu: (name) => `What can be done with ${name}`,
  quiet: 'This peer is there but does not answer. Its site may not open; try again in a moment.',
  away: 'This peer is away. Its site opens again when it comes back; what you write is sent then.',
};

function calls(peer) {
  const mine = quick.value?.video_disabled;
  if (mine && peer.callsOff) return strings.callsBoth;
  if (mine) return strings.callsMine;
  return peer.callsOff ? strings.callsTheirs : '';
}

/** To the field for a new line. */
function toChat(event) {
  event.preventDefault();
  const chat = document.getElementById('chat');
  chat.scrollIntoView({ block: 'start' });
  chat.querySelector('textarea').focus({ preventScroll: true });
}

function Peer({ id }) {
  const peer = find(id);
  const [busy, setBusy] = useState(false);
  const keys = useKey(id);
  const held = Boolean(keys.data?.offered);
  if (!peer) {
    const wrote = conversations.value?.some(({ peer_id }) => peer_id === id);
    return html`<div class="stack"><${Empty} alone title=${wrote ? nameOf(id) : strings.unknown} text=${strings.unknownText}><a class="button" href="/peers">${strings.back}</a><//>
      ${wrote && html`<${KeyNotice} id=${id} name=${nameOf(id)} keys=${keys} /><${Chat} id=${id} name=${nameOf(id)} there=${false} held=${held} />`}</div>`;
  }
  const check = () => {
    setBusy(true);
    probe(peer).finally(() => setBusy(false));
  };
  const now = state(peer);
  const name = label(peer);
  return html`<div class="stack">
    <${Offline} />
    <${KeyNotice} id=${id} name=${name} keys=${keys} />
    <div class="with-chat"><section class="card cover stack" onContextMenu=${(event) => menuAt(event, strings.menu(name), peerMenu(peer, false))}>
      <div class="row identity"><${Avatar} peer=${peer} huge />
        <div class="who"><h1 class="few-lines" title=${name}>${name}</h1><div class="row small muted"><${Presence} peer=${peer} /><${Badges} peer=${peer} /></div></div></div>
      ${now !== 'here' && html`<p class="note warn" role="status">${strings[now]}</p>`}
      <div class="row actions-grid">
        <a class="button primary" ...${siteLink(id)}><${Icon} name="visit" />${strings.visit}</a>
        <a class="button write" href="#chat" onClick=${toChat}><${Icon} name="chat" />${strings.write}</a>
        <a class="button" href=${`/p/${id}/`} target="_blank" rel="noreferrer"><${Icon} name="out" />${strings.tab}</a>
        <button type="button" class="button" aria-disabled=${String(busy)} onClick=${() => busy || check()}><${Icon} name="refresh" />${strings.check}</button>
        <button type="button" class="button toggle" aria-pressed=${String(peer.favorite)} onClick=${() => setFavorite(peer, !peer.favorite)}>
          <${Icon} name=${peer.favorite ? 'starred' : 'star'} />${strings.favorite}</button>
        <button type="button" class="button quiet" onClick=${() => copyLink(peer)}><${Icon} name="copy" />${strings.copy}</button>
      </div>
      <dl class="facts">
        <dt>${strings.reach}</dt><dd>${peer.reachable ? strings.yes : strings.no}</dd>
        <dt>${strings.seen}</dt><dd>${ago(peer.seen)}</dd>
        ${peer.email && html`<dt>${strings.email}</dt><dd>${peer.email}</dd>`}
        ${calls(peer) && html`<dt>${strings.calls}</dt><dd>${calls(peer)}</dd>`}
        <dt>${strings.key}</dt><dd><${KeyFact} id=${id} name=${name} keys=${keys} /></dd>
        <dt>${strings.id}</dt><dd><button type="button" class="link mono" title=${strings.copyId} aria-label=${`${strings.copyId}: ${peer.id}`} onClick=${() => copyText(peer.id, strings.copiedId)}>${peer.id}<${Icon} name="copy" /></button></dd>
      </dl>
    </section>
    <${Chat} id=${id} name=${name} there=${now !== 'away'} held=${held} /></div>
  </div>`;
}

export const show = (main, { arg }) => mount(main, html`<${Peer} key=${arg} id=${arg} />`);
