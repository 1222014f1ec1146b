// The known peers as one live, sorted list that pages share.
//
// Events change the list at once and tell the pages once per animation frame, however many there were. A peer that
// changed is a new object in its old place, so a row is drawn anew only if its own peer changed.
// Offers: everybody, find (both tracked by signals), refresh, probeAll, label, picture, state.

import { get, post } from './api.js';
import { listen } from './events.js';
import { plain } from './format.js';
import { signal } from '../vendor/ui.js';

/** Milliseconds until a hidden page is told; it has no animation frames. */
const HIDDEN_PAUSE = 500;
/** Milliseconds until a list that did not arrive is asked for again. */
const AGAIN = 1500;
/** Longest e-mail address (peer-directory.md 3). */
const MAX_EMAIL = 320;

const people = new Map();
/** All peers in the order they are shown. */
let order = [];
/** Ids whose place may have changed since the pages were told, with the object that stands in `order`. */
const moved = new Map();
let waiting = false;
const changes = signal(0);
const collator = new Intl.Collator(undefined, { sensitivity: 'base', numeric: true });

const fromList = (row) => ({
  id: row.ID, name: plain(row.Content), email: plain(row.Email, MAX_EMAIL), hash: row.AvatarHash, reachable: row.Reachable, offline: row.Offline,
  seen: Date.parse(row.LastSeen), favorite: row.Favorite, verified: row.Verified, callsOff: row.VideoDisabled,
  template: plain(row.ActiveTemplate),
});

const fromEvent = (event) => ({
  id: event.peerID, name: plain(event.content), email: plain(event.email ?? '', MAX_EMAIL), hash: event.avatarHash ?? '',
  reachable: event.reachable, offline: event.offline ?? false, seen: event.lastSeen, favorite: event.favorite ?? false,
  verified: event.verified ?? false, callsOff: event.videoDisabled ?? false, template: plain(event.activeTemplate ?? ''),
});

export const label = (peer) => peer.name || `${peer.id.slice(0, 12)}…`;
export const picture = (peer) => `/api/avatar/peer/${peer.id}?v=${peer.hash || 'none'}`;
/** `here`, `quiet` (online, but does not answer) or `away`. */
export const state = (peer) => (peer.offline ? 'away' : peer.reachable ? 'here' : 'quiet');

const rank = (peer) => (peer.offline ? 2 : 0) + (peer.favorite ? 0 : 1);
/** Present ones first, favourites before others, then by name; the id decides among equals. */
const compare = (a, b) => rank(a) - rank(b) || collator.compare(label(a), label(b)) || (a.id < b.id ? -1 : Number(a.id > b.id));

/** Where `peer` stands in `order`, or would have to stand. */
function place(peer) {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(order[middle], peer) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Brings what changed into the list and tells the pages. */
function flush() {
  waiting = false;
  order = order.slice();
  for (const [id, before] of moved) {
    const now = people.get(id);
    const at = before ? place(before) : -1;
    if (before && now && compare(before, now) === 0) order[at] = now;
    else {
      if (before) order.splice(at, 1);
      if (now) order.splice(place(now), 0, now);
    }
  }
  moved.clear();
  changes.value += 1;
}

function change(id, peer) {
  if (!moved.has(id)) moved.set(id, people.get(id));
  if (peer) people.set(id, peer);
  else people.delete(id);
  if (waiting) return;
  waiting = true;
  if (document.hidden) setTimeout(flush, HIDDEN_PAUSE);
  else requestAnimationFrame(flush);
}

/** Takes a whole list. Peers that did not change stay the same objects. */
function replaceAll(rows) {
  const fresh = new Map(rows.map((row) => [row.ID, fromList(row)]));
  for (const [id, peer] of fresh) {
    const before = people.get(id);
    if (before && Object.keys(peer).every((key) => Object.is(peer[key], before[key]))) fresh.set(id, before);
  }
  people.clear();
  for (const [id, peer] of fresh) people.set(id, peer);
  moved.clear();
  order = [...people.values()].sort(compare);
  changes.value += 1;
}

/** The newest question for the whole list, and what was told since it was asked: the answer may be older than that. */
let asked = null;
const told = new Map();

/** Takes the list that `load` gives. Who asks twice gets the newer answer twice. */
function take(load) {
  told.clear();
  const mine = load().then((rows) => {
    if (mine !== asked) return asked;
    replaceAll(rows ?? []);
    for (const [id, peer] of told) change(id, peer);
    return undefined;
  });
  asked = mine;
  return mine;
}

/** Reads the whole list. */
export const refresh = () => take(() => get('/api/peers'));

/** Asks everybody whether they are there, and reads the whole list. */
export const probeAll = () => take(() => post('/api/peers/probe'));

/** Reads the list until it arrives, unless it is asked for anew. */
function catchUp() {
  const mine = refresh();
  mine.catch((error) => error.status !== 401 && setTimeout(() => mine === asked && catchUp(), AGAIN));
}

function hear(id, peer) {
  told.set(id, peer);
  change(id, peer);
}

/** Everybody, in the order they are shown. Not to be changed. */
export function everybody() {
  return changes.value >= 0 ? order : [];
}

/** One peer, or nothing. */
export function find(id) {
  return changes.value >= 0 ? people.get(id) : undefined;
}

listen((event) => {
  // Before anybody asked for the list nothing of it can be missed.
  if (event.topic === 'reset') {
    if (asked) catchUp();
  } else if (event.topic === 'peer:announce') hear(event.payload.peerID, fromEvent(event.payload));
  else if (event.topic === 'peer:gone') hear(event.payload.peerID, null);
});
