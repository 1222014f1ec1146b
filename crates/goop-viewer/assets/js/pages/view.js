// Visiting: sites of neighbours in frames, each on its own origin, as tabs that survive a reload.

import { find, label } from '../people.js';
import { quick } from '../session.js';
import { Icon } from '../components/icon.js';
import { menuAt } from '../components/menu.js';
import { mount } from '../components/mount.js';
import { Empty, Offline } from '../components/states.js';
import { Tabs } from '../components/tabs.js';
import { html, signal } from '../../vendor/ui.js';
import { go, rename } from '../navigate.js';

export const title = 'Visiting';
export const wide = true;

const strings = {
  heading: 'Visiting',
  nobody: 'You are not visiting anybody',
  nobodyText: 'Choose somebody among the peers. Their site opens here and is gone when they leave.',
  peers: 'To the peers',
  out: 'Open in a tab of its own',
  refresh: 'Load again',
  close: 'Close',
  others: 'Close the others',
  menu: (name) => `What can be done with the tab of ${name}`,
  frame: (name) => `Site of ${name}`,
  left: (name) => `${name} left. What you see may stop working.`,
};

const KEY = 'visiting';
const CURRENT = 'visiting-current';
/** What a peer id is made of; an address of this page may hold anything. */
const ID = /^[1-9A-HJ-NP-Za-km-z]+$/;
const nameOf = (id) => label(find(id) ?? { id, name: '' });

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? '[]');
  } catch {
    return [];
  }
}

/** The tabs: who is visited, who is in front, and which frames were opened (the others load when they are looked at). */
function tabsOf(wanted) {
  const before = stored();
  const ids = wanted && !before.includes(wanted) ? [...before, wanted] : before;
  const last = sessionStorage.getItem(CURRENT);
  const current = wanted ?? (ids.includes(last) ? last : ids[0]);
  return { ids, current, frames: current ? [{ id: current, turn: 0 }] : [] };
}

function Visiting({ tabs }) {
  const { ids, current, frames } = tabs.value;
  const change = (next) => {
    sessionStorage.setItem(KEY, JSON.stringify(next.ids));
    sessionStorage.setItem(CURRENT, next.current ?? '');
    // The address follows, or a reload would bring back what it named first.
    rename(next.current ? `/view?open=${next.current}` : '/view');
    tabs.value = next;
  };
  const choose = (id) => change({ ids, current: id, frames: frames.some((frame) => frame.id === id) ? frames : [...frames, { id, turn: 0 }] });
  const keep = (kept) => {
    const next = kept.includes(current) ? current : kept[Math.min(ids.indexOf(current), kept.length - 1)];
    const open = frames.filter((frame) => kept.includes(frame.id));
    change({ ids: kept, current: next, frames: !next || open.some((frame) => frame.id === next) ? open : [...open, { id: next, turn: 0 }] });
    if (kept.length === 0) go('/peers');
  };
  const close = (id) => keep(ids.filter((other) => other !== id));
  const refresh = (id) => change({ ids, current: id, frames: [...frames.filter((frame) => frame.id !== id), { id, turn: (frames.find((frame) => frame.id === id)?.turn ?? 0) + 1 }] });
  if (ids.length === 0) return html`<${Empty} alone title=${strings.nobody} text=${strings.nobodyText}><a class="button primary" href="/peers">${strings.peers}</a><//>`;
  const menu = (event, id) => menuAt(event, strings.menu(nameOf(id)), [
    { text: strings.refresh, icon: 'refresh', act: () => refresh(id) },
    { text: strings.out, icon: 'out', href: `/p/${id}/`, target: '_blank' },
    ids.length > 1 && { text: strings.others, icon: 'minus', act: () => keep([id]) },
    { text: strings.close, icon: 'close', act: () => close(id) },
  ]);
  return html`<div class="visiting">
    <h1 class="hidden">${strings.heading}</h1>
    <div class="row spread visiting-bar">
      <${Tabs} label=${strings.heading} tabs=${ids.map((id) => ({ id, text: nameOf(id) }))} current=${current} panel="stage" onSelect=${choose} onClose=${close} onMenu=${menu} />
      <div class="row">
        <button type="button" class="icon-button" aria-label=${strings.refresh} title=${strings.refresh} onClick=${() => refresh(current)}><${Icon} name="refresh" /></button>
        <a class="icon-button" href=${`/p/${current}/`} target="_blank" rel="noreferrer" aria-label=${strings.out} title=${strings.out}><${Icon} name="out" /></a>
        <button type="button" class="icon-button" aria-label=${strings.close} title=${strings.close} onClick=${() => close(current)}><${Icon} name="close" /></button>
      </div>
    </div>
    <${Offline} />
    ${find(current)?.offline && html`<p class="note warn" role="status">${strings.left(nameOf(current))}</p>`}
    <div class="stage" id="stage" role="tabpanel" aria-labelledby=${`tab-${current}`}>
      ${frames.map(({ id, turn }) => html`<iframe key=${`${id}-${turn}`} class="frame" title=${strings.frame(nameOf(id))} hidden=${id !== current}
        sandbox="allow-scripts allow-same-origin allow-forms allow-popups allow-downloads" referrerpolicy="no-referrer" src=${`/p/${id}/`}></iframe>`)}
    </div>
  </div>`;
}

// A site runs on an origin of its own, so scripts and storage are its own, too.
export function show(main, { query }) {
  const asked = query.get('open') ?? '';
  const wanted = ID.test(asked) ? asked : undefined;
  if (quick.value?.open_sites_external && !wanted) {
    go('/peers');
    return undefined;
  }
  const tabs = signal(tabsOf(wanted));
  sessionStorage.setItem(KEY, JSON.stringify(tabs.value.ids));
  sessionStorage.setItem(CURRENT, tabs.value.current ?? '');
  return mount(main, html`<${Visiting} tabs=${tabs} />`);
}
