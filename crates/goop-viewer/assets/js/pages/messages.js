// Messages: every conversation with its newest line, what is unread, a search among all of them, and what is said to everybody.

import { get, post } from '../api.js';
import { broadcasts, conversations, nameOf, noteBroadcast, readChats } from '../chat.js';
import { ago, day, moment, plain } from '../format.js';
import { canNotify, setWanted, wanted } from '../notify.js';
import { everybody, find } from '../people.js';
import { Avatar } from '../components/avatar.js';
import { EmojiButton } from '../components/emoji.js';
import { Icon } from '../components/icon.js';
import { mount, useLoad } from '../components/mount.js';
import { Presence } from '../components/presence.js';
import { Empty, Failure, Loading, Offline } from '../components/states.js';
import { toast } from '../components/toast.js';
import { VirtualList } from '../components/virtual-list.js';
import { Words } from '../components/words.js';
import { html, useRef, useState } from '../../vendor/ui.js';

export const title = 'Messages';
export const broad = true;

const strings = {
  heading: 'Messages',
  search: 'Search in all conversations',
  find: 'Search',
  found: (n) => (n === 1 ? 'One message found' : `${n} messages found`),
  nothing: 'No message contains this.',
  all: 'All conversations',
  list: 'Conversations',
  results: 'Messages found',
  unread: (n) => (n === 1 ? '1 unread' : `${n} unread`),
  me: 'You',
  none: 'No conversations yet',
  noneText: 'Open a peer and write the first line. What you write to somebody who is away is sent when they are back.',
  peers: 'To the peers',
  states: { waiting: 'waiting', failed: 'not delivered', withdrawn: 'taken back' },
  notify: 'Desktop messages',
  notifyRefused: 'The browser does not allow messages on the desktop. Its settings for this page can.',
  broadcast: 'To everybody',
  broadcastText: (n) => (n === 1 ? 'One peer is here and hears what you say.' : `${n} peers are here and hear what you say.`),
  broadcastField: 'Message to everybody who is here',
  nobody: 'Nobody else is here now.',
  send: 'Send to everybody',
  sending: 'Sending…',
  reached: (n) => (n === 1 ? 'One peer has it.' : `${n} peers have it.`),
  missed: (names) => `Not delivered to ${names}.`,
  noCommands: 'Commands that begin with “!” work only in a conversation with one peer.',
  heard: 'What was said to everybody since this page was loaded',
};

/** Names that are listed before the rest becomes a number. */
const NAMED = 5;

const person = (id) => find(id) ?? { id, name: nameOf(id), hash: '', offline: true, reachable: false, seen: NaN };

function Conversation({ one }) {
  const { peer_id: id, unread, last } = one;
  const peer = person(id);
  const mine = last.from !== id;
  const name = nameOf(id);
  return html`<a class="conversation" href=${`/peer/${id}#chat`} data-unread=${unread > 0}>
    <${Avatar} peer=${peer} />
    <span class="who"><span class="row spread conversation-head"><span class="conversation-who"><span class="name cut">${name}</span>${find(id) && html`<${Presence} peer=${peer} />`}</span><span class="small muted">${ago(last.timestamp)}</span></span>
      <span class="conversation-last"><span class="cut muted">${mine ? `${strings.me}: ` : ''}${plain(last.content)}</span>
        ${mine && strings.states[last.state] && html`<span class="badge warn">${strings.states[last.state]}</span>`}
        ${unread > 0 && html`<span class="badge count">${strings.unread(unread)}</span>`}</span>
      </span>
  </a>`;
}

function Found({ found, onBack }) {
  return html`<div class="stack-tight"><div class="row spread"><p class="small muted" role="status">${found.length > 0 ? strings.found(found.length) : strings.nothing}</p>
      <button type="button" class="button small" onClick=${onBack}>${strings.all}</button></div>
    <ul class="chat-found" role="list" aria-label=${strings.results}>${found.map(({ peer_id: id, line }) => html`<li key=${`${id}-${line.number}`}>
      <a class="found" href=${`/peer/${id}#chat`}><span class="cut">${plain(line.content)}</span>
        <span class="small muted">${`${line.from === id ? nameOf(id) : `${strings.me} → ${nameOf(id)}`} · ${day(line.timestamp)}, ${moment(line.timestamp)}`}</span></a></li>`)}</ul></div>`;
}

function Broadcast() {
  const [text, setText] = useState('');
  const [state, setState] = useState({ busy: false, error: '', report: '' });
  const field = useRef(null);
  const here = everybody().filter((peer) => !peer.offline).length;
  async function send(event) {
    event.preventDefault();
    const content = text.trim();
    if (!content || state.busy) return;
    if (content.startsWith('!')) {
      setState({ busy: false, error: strings.noCommands, report: '' });
      return;
    }
    setState({ busy: true, error: '', report: '' });
    try {
      const { delivered, failed } = await post('/api/chat/broadcast', { content });
      noteBroadcast({ id: crypto.randomUUID?.() ?? String(Date.now()), from: '', content, timestamp: Date.now() });
      setText('');
      const names = failed.slice(0, NAMED).map(({ peer_id }) => nameOf(peer_id)).join(', ') + (failed.length > NAMED ? ` +${failed.length - NAMED}` : '');
      setState({ busy: false, error: '', report: [strings.reached(delivered.length), failed.length > 0 && strings.missed(names)].filter(Boolean).join(' ') });
    } catch (error) {
      setState({ busy: false, error: error.message, report: '' });
    }
  }
  return html`<section class="card stack" aria-labelledby="broadcast-heading"><h2 id="broadcast-heading">${strings.broadcast}</h2>
    <p class="small muted">${here > 0 ? strings.broadcastText(here) : strings.nobody}</p>
    ${broadcasts.value.length > 0 && html`<ul class="heard" role="list" aria-label=${strings.heard}>${broadcasts.value.map((one) => html`<li key=${one.id}>
      <p class="small muted">${`${one.from ? nameOf(one.from) : strings.me} · ${moment(one.timestamp)}`}</p><${Words} text=${one.content} /></li>`)}</ul>`}
    <form class="compose" onSubmit=${send}>
      ${state.error && html`<p class="field-error" role="alert" id="broadcast-error"><${Icon} name="error" />${state.error}</p>`}
      <div class="compose-row"><${EmojiButton} field=${field} />
        <textarea rows="2" ref=${field} dir="auto" aria-label=${strings.broadcastField} placeholder=${strings.broadcastField} aria-describedby=${state.error ? 'broadcast-error' : undefined}
          value=${text} onInput=${(event) => setText(event.currentTarget.value)}></textarea></div>
      <div class="row spread"><p class="small muted" role="status">${state.report}</p>
        <button type="submit" class="button primary" aria-disabled=${String(state.busy || !text.trim())}>${state.busy ? strings.sending : strings.send}</button></div>
    </form>
  </section>`;
}

function Notifications() {
  if (!canNotify) return null;
  const change = async () => {
    const on = !wanted.value;
    if (await setWanted(on) !== on) toast(strings.notifyRefused, { level: 'warning' });
  };
  return html`<button type="button" class="button toggle" aria-pressed=${String(wanted.value)} onClick=${change}><${Icon} name="bell" /><span class="words-if-wide">${strings.notify}</span></button>`;
}

function Messages() {
  const load = useLoad(readChats);
  const [text, setText] = useState('');
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  async function search(event) {
    event.preventDefault();
    const wantedText = text.trim();
    setError(null);
    if (!wantedText) return setFound(null);
    return get(`/api/chat/search?${new URLSearchParams({ q: wantedText })}`).then(setFound, setError);
  }
  const all = conversations.value;
  return html`<div class="beside">
    <div class="stack">
      <div class="row spread"><h1>${strings.heading}</h1><${Notifications} /></div>
      <${Offline} />
      <form class="row search-row" role="search" onSubmit=${search}>
        <input class="search" type="search" aria-label=${strings.search} placeholder=${strings.search} value=${text} onInput=${(event) => { setText(event.currentTarget.value); if (!event.currentTarget.value) setFound(null); }} />
        <button type="submit" class="button"><${Icon} name="search" /><span class="words-if-wide">${strings.find}</span></button></form>
      ${error && html`<${Failure} error=${error} />`}
      ${found ? html`<${Found} found=${found} onBack=${() => { setFound(null); setText(''); }} />`
    : !all ? (load.error ? html`<${Failure} error=${load.error} again=${load.again} />` : html`<${Loading} />`)
      : all.length > 0 ? html`<div class="conversations"><${VirtualList} items=${all} keyOf=${(one) => one.peer_id} label=${strings.list} row=${(one) => html`<${Conversation} one=${one} />`} /></div>`
        : html`<${Empty} title=${strings.none} text=${strings.noneText}><a class="button" href="/peers">${strings.peers}</a><//>`}
    </div>
    <aside><${Broadcast} /></aside>
  </div>`;
}

export const show = (main) => mount(main, html`<${Messages} />`);
