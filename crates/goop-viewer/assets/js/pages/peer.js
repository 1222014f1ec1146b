// One peer: who it is, when it was here, whether it answers.

import { post } from '../api.js';
import { el, toast } from '../dom.js';
import { find, label, watch } from '../people.js';
import { ago, avatar, empty, presence } from '../components/parts.js';

export const title = 'Peer';

const strings = {
  unknown: 'This peer is not known here',
  unknownText: 'It was not seen lately. When it comes online again it appears among the peers.',
  visit: 'Visit the site',
  tab: 'Open in a tab',
  copy: 'Copy the link',
  copied: 'Link copied',
  check: 'Does it answer?',
  answers: 'It answers.',
  silent: 'It does not answer.',
  id: 'Peer id',
  email: 'E-mail, as it says',
  seen: 'Last seen',
  reach: 'Reachable',
  yes: 'yes',
  no: 'no',
};

export async function show(main, { arg: id }) {
  function fill() {
    const peer = find(id);
    if (!peer) {
      main.replaceChildren(empty(strings.unknown, strings.unknownText));
      return;
    }
    const check = el('button', { class: 'button', type: 'button', onclick: async () => {
      const answer = await post(`/api/peer/probe?id=${encodeURIComponent(id)}`).catch((error) => toast(error.message));
      if (answer) toast(answer.reachable ? strings.answers : strings.silent);
    } }, strings.check);
    const link = `${location.origin}/p/${id}/`;
    const copy = el('button', { class: 'button quiet', type: 'button', onclick: () => navigator.clipboard.writeText(link).then(() => toast(strings.copied)) }, strings.copy);
    main.replaceChildren(el('section', { class: 'card stack' },
      el('div', { class: 'row' }, avatar(peer, true), el('div', {}, el('h1', {}, label(peer)), presence(peer))),
      el('div', { class: 'row' },
        el('a', { class: 'button primary', href: `/view?open=${id}` }, strings.visit),
        el('a', { class: 'button', href: `/p/${id}/`, target: '_blank', rel: 'noreferrer' }, strings.tab), check, copy),
      el('dl', { class: 'facts' },
        el('dt', {}, strings.reach), el('dd', {}, peer.reachable ? strings.yes : strings.no),
        el('dt', {}, strings.seen), el('dd', {}, ago(peer.seen)),
        peer.email && el('dt', {}, strings.email), peer.email && el('dd', {}, peer.email),
        el('dt', {}, strings.id), el('dd', { class: 'mono' }, peer.id))));
  }
  fill();
  return watch(fill);
}
