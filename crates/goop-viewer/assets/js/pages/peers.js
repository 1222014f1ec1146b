// Peers: who is here, live. Search, favourites, the way to each site.

import { get, post } from '../api.js';
import { el, fillWith, toast } from '../dom.js';
import { everybody, label, watch } from '../people.js';
import { avatar, empty, presence } from '../components/parts.js';

export const title = 'Peers';

const strings = {
  heading: 'Peers',
  search: 'Search by name or e-mail',
  visit: 'Visit',
  visitName: (name) => `Visit the site of ${name}`,
  mine: 'My site',
  check: 'Check who answers',
  favorite: (name) => `Favourite: ${name}`,
  nobody: 'Nobody else is here yet',
  nobodyText: 'Peers on your network appear by themselves. Start one on another machine, or ask a friend on the same Wi-Fi to.',
  noMatch: 'No peer matches',
  noMatchText: 'Try a part of the name or of the e-mail address.',
};

function row(peer) {
  const name = label(peer);
  const star = el('button', {
    class: 'button star quiet', type: 'button', 'aria-pressed': String(peer.favorite), 'aria-label': strings.favorite(name),
    onclick: () => post('/api/peers/favorite', { peer_id: peer.id, favorite: !peer.favorite }).catch((error) => toast(error.message)),
  }, peer.favorite ? '★' : '☆');
  return el('li', { class: 'peer', 'data-peer': peer.id, 'data-offline': String(peer.offline) },
    avatar(peer),
    el('div', { class: 'who' },
      el('a', { class: 'name', href: `/peer/${peer.id}` }, name),
      el('div', { class: 'row small muted' }, presence(peer), peer.email)),
    el('div', { class: 'actions row' }, star,
      el('a', { class: peer.offline ? 'button' : 'button primary', href: `/view?open=${peer.id}`, 'aria-label': strings.visitName(name) }, strings.visit)));
}

export async function show(main) {
  const session = await get('/api/session');
  const list = el('ul', { class: 'peer-list', 'aria-label': strings.heading });
  const nothing = el('div');
  const search = el('input', { class: 'search', type: 'search', placeholder: strings.search, 'aria-label': strings.search, oninput: fill });
  const check = el('button', { class: 'button', type: 'button', onclick: async () => {
    check.disabled = true;
    await post('/api/peers/probe').catch((error) => toast(error.message));
    check.disabled = false;
  } }, strings.check);

  function fill() {
    const wanted = search.value.trim().toLowerCase();
    const all = everybody();
    const found = all.filter((peer) => `${peer.name} ${peer.email} ${peer.id}`.toLowerCase().includes(wanted));
    const held = document.activeElement?.closest?.('.peer')?.dataset.peer;
    const place = held && [...document.activeElement.closest('.peer').querySelectorAll('a, button')].indexOf(document.activeElement);
    fillWith(list, found.map(row), (node) => node.dataset.peer);
    // Whoever stood on a row with the keyboard still stands there.
    if (held && !list.contains(document.activeElement)) list.querySelector(`[data-peer="${held}"]`)?.querySelectorAll('a, button')[place]?.focus();
    if (all.length === 0) nothing.replaceChildren(empty(strings.nobody, strings.nobodyText));
    else if (found.length === 0) nothing.replaceChildren(empty(strings.noMatch, strings.noMatchText));
    else nothing.replaceChildren();
  }

  main.replaceChildren(el('div', { class: 'stack' },
    el('div', { class: 'row spread' }, el('h1', {}, strings.heading),
      el('div', { class: 'row' }, check, el('a', { class: 'button', href: session.site_url, target: '_blank', rel: 'noreferrer' }, strings.mine))),
    el('div', { class: 'row' }, search), list, nothing));
  fill();
  return watch(fill);
}
