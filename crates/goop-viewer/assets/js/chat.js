// What people write to each other, as all pages share it: every conversation with its newest line and how much of it is
// unread, and what was said to everybody since this page was loaded. Another tab, or another browser, changes both: what
// counts is what the peer says, which is asked after each event.
// Offers: conversations, unread, broadcasts (signals), readChats, markRead, watching, followChats.

import { get, post } from './api.js';
import { listen } from './events.js';
import { plain } from './format.js';
import { go } from './navigate.js';
import { notify } from './notify.js';
import { find, label, picture } from './people.js';
import { toast } from './components/toast.js';
import { computed, signal } from '../vendor/ui.js';

const strings = {
  toAll: (name) => `${name}, to everybody`,
};

/** Milliseconds in which events are gathered before the conversations are asked for again. */
const PAUSE = 120;
/** Milliseconds a message stays over the page. */
const STAY = 8000;
/** Characters of a message that are shown over the page. */
const SHOWN = 60;
/** Broadcasts that are kept. */
const KEPT = 100;

/** All conversations, the newest first: `{peer_id, name, unread, last}`; null before they were read. */
export const conversations = signal(null);
/** Lines nobody has read. */
export const unread = computed(() => (conversations.value ?? []).reduce((sum, { unread: some }) => sum + some, 0));
/** What was said to everybody: `{id, from, content, timestamp}`; an own one has no `from`. The oldest first. */
export const broadcasts = signal([]);
/** The peer whose conversation is shown. */
export const watching = signal('');

let asking = null;
let again = false;

/** Reads the conversations. */
export function readChats() {
  if (asking) {
    again = true;
    return asking;
  }
  asking = get('/api/chat/conversations').then((list) => { conversations.value = list; }).finally(() => {
    asking = null;
    if (!again) return;
    again = false;
    soon();
  });
  return asking;
}

let timer = 0;

function soon() {
  clearTimeout(timer);
  // Nobody waits for it; what is shown stays until the next event.
  timer = setTimeout(() => readChats().catch(() => {}), PAUSE);
}

/** Everything up to a line was read. */
export const markRead = (peer_id, number) => post('/api/chat/read', { peer_id, number });

/** How somebody is called here. */
export function nameOf(id) {
  const peer = find(id);
  if (peer) return label(peer);
  const known = conversations.value?.find(({ peer_id }) => peer_id === id)?.name;
  return plain(known ?? '') || `${id.slice(0, 12)}…`;
}

export function noteBroadcast(entry) {
  if (broadcasts.value.some(({ id }) => id === entry.id)) return;
  broadcasts.value = [...broadcasts.value, entry].slice(-KEPT);
}

function show(from, title, content, id, href) {
  const text = plain(content, SHOWN);
  const peer = find(from);
  const open = () => go(href);
  toast(text, { title, stay: STAY, action: open, picture: peer && picture(peer) });
  notify({ title, text, tag: id, open, icon: peer && picture(peer) });
}

/** Tells whoever looks at a page what comes in, from here on. */
export function followChats() {
  soon();
  listen(({ topic, payload, from, id }) => {
    if (topic === 'reset' || topic === 'mq:chat') return soon();
    const content = payload?.content;
    if (!from || typeof content !== 'string' || content === '') return undefined;
    if (topic === 'chat') {
      soon();
      const seen = watching.value === from && document.hasFocus();
      if (!seen) show(from, nameOf(from), content, id, `/peer/${from}#chat`);
    } else if (topic === 'chat.broadcast') {
      noteBroadcast({ id, from, content, timestamp: Date.now() });
      show(from, strings.toAll(nameOf(from)), content, id, '/messages');
    }
    return undefined;
  });
}
