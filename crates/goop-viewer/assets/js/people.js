// The known peers as one live list that pages share.

import { get } from './api.js';
import { listen } from './events.js';

const people = new Map();
const watchers = new Set();

const fromList = (row) => ({
  id: row.ID, name: row.Content, email: row.Email, hash: row.AvatarHash, reachable: row.Reachable,
  offline: row.Offline, seen: Date.parse(row.LastSeen), favorite: row.Favorite,
});

const fromEvent = (event) => ({
  id: event.peerID, name: event.content, email: event.email ?? '', hash: event.avatarHash ?? '',
  reachable: event.reachable, offline: event.offline ?? false, seen: event.lastSeen, favorite: event.favorite ?? false,
});

function changed() {
  for (const watcher of watchers) watcher();
}

/** Reads the whole list. */
export async function refresh() {
  const rows = await get('/api/peers');
  people.clear();
  for (const row of rows ?? []) people.set(row.ID, fromList(row));
  changed();
}

/** Calls `watcher` after each change; gives back how to stop. */
export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** Everybody: present ones first, favourites before others, then by name. */
export function everybody() {
  const rank = (peer) => (peer.offline ? 2 : 0) + (peer.favorite ? 0 : 1);
  return [...people.values()].sort((a, b) => rank(a) - rank(b) || label(a).localeCompare(label(b)));
}

export const find = (id) => people.get(id);
export const label = (peer) => peer.name || `${peer.id.slice(0, 12)}…`;
export const picture = (peer) => `/api/avatar/peer/${peer.id}?v=${peer.hash || 'none'}`;

listen((event) => {
  if (event.topic === 'reset') refresh().catch(() => {});
  else if (event.topic === 'peer:announce') people.set(event.payload.peerID, fromEvent(event.payload));
  else if (event.topic === 'peer:gone') people.delete(event.payload.peerID);
  else return;
  changed();
});
