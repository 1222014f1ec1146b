// What can be done with a peer, as the entries of a menu.

import { post } from '../api.js';
import { go } from '../navigate.js';
import { label } from '../people.js';
import { siteLink } from '../session.js';
import { copyText } from './mount.js';
import { toast, toastError } from './toast.js';

const strings = {
  visit: 'Visit the site',
  tab: 'Open in a tab of its own',
  details: 'About this peer',
  add: 'Add to favourites',
  remove: 'Remove from favourites',
  check: 'Does it answer?',
  answers: (name) => `${name} answers.`,
  silent: (name) => `${name} does not answer.`,
  copyId: 'Copy the peer id',
  copiedId: 'Peer id copied',
  copyLink: 'Copy the link',
  copiedLink: 'Link copied',
};

export const setFavorite = (peer, favorite) => post('/api/peers/favorite', { peer_id: peer.id, favorite }).catch(toastError);

/** Asks a peer whether it is there and says the answer. */
export async function probe(peer) {
  try {
    const { reachable } = await post(`/api/peer/probe?id=${encodeURIComponent(peer.id)}`);
    toast((reachable ? strings.answers : strings.silent)(label(peer)), { level: reachable ? 'success' : 'warning' });
  } catch (error) {
    toastError(error);
  }
}

export const copyLink = (peer) => copyText(`${location.origin}/p/${peer.id}/`, strings.copiedLink);

/** The entries for `peer`; `details` leads to its page. */
export const peerMenu = (peer, details = true) => [
  { text: strings.visit, icon: 'visit', ...siteLink(peer.id) },
  { text: strings.tab, icon: 'out', href: `/p/${peer.id}/`, target: '_blank' },
  details && { text: strings.details, icon: 'info', act: () => go(`/peer/${peer.id}`) },
  { text: peer.favorite ? strings.remove : strings.add, icon: peer.favorite ? 'star' : 'starred', act: () => setFavorite(peer, !peer.favorite) },
  { text: strings.check, icon: 'refresh', act: () => probe(peer) },
  { text: strings.copyId, icon: 'copy', act: () => copyText(peer.id, strings.copiedId) },
  { text: strings.copyLink, icon: 'copy', act: () => copyLink(peer) },
];
