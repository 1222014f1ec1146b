// Parts several pages use: avatar, presence, times, empty state, sign-in note.

import { el } from '../dom.js';
import { label, picture } from '../people.js';

const strings = {
  here: 'here',
  quiet: 'here, not answering',
  away: (since) => `last seen ${since}`,
  now: 'just now',
  minutes: (n) => `${n} min ago`,
  hours: (n) => `${n} h ago`,
  never: 'a while ago',
  ownerTitle: 'This page belongs to the person who started this peer',
  ownerText: 'Open the link that was printed where it was started. Each start prints a new one.',
  errorTitle: 'That did not work',
};

export const avatar = (peer, large = false) =>
  el('img', { class: large ? 'avatar large' : 'avatar', src: picture(peer), alt: '', loading: 'lazy' });

export function ago(time) {
  const minutes = Math.floor((Date.now() - time) / 60000);
  if (!Number.isFinite(minutes) || minutes > 60 * 24 * 30) return strings.never;
  if (minutes < 1) return strings.now;
  return minutes < 60 ? strings.minutes(minutes) : strings.hours(Math.floor(minutes / 60));
}

export function presence(peer) {
  const state = peer.offline ? 'away' : peer.reachable ? 'here' : 'quiet';
  const text = state === 'away' ? strings.away(ago(peer.seen)) : strings[state];
  return el('span', { class: 'presence', 'data-state': state, 'data-testid': 'presence' }, text);
}

export const empty = (title, text) =>
  el('div', { class: 'empty' }, el('img', { src: '/assets/images/mark.svg', alt: '' }), el('h2', {}, title), el('p', {}, text));

/** What a page shows instead of itself when it could not be filled. */
export function failure(error) {
  if (error.status === 401) return empty(strings.ownerTitle, strings.ownerText);
  return el('div', { class: 'note bad', role: 'alert' }, el('h2', {}, strings.errorTitle), el('p', {}, error.message));
}

export { label };
