// Visiting: sites of neighbours in frames, each on its own origin, as tabs that survive a reload.

import { el } from '../dom.js';
import { find, label, watch } from '../people.js';
import { empty } from '../components/parts.js';

export const title = 'Visiting';
export const wide = true;

const strings = {
  heading: 'Visiting',
  nobody: 'You are not visiting anybody',
  nobodyText: 'Choose somebody among the peers. Their site opens here and is gone when they leave.',
  close: (name) => `Close ${name}`,
  out: 'Open in a tab of its own',
  frame: (name) => `Site of ${name}`,
  left: (name) => `${name} left. What you see may stop working.`,
};

const KEY = 'visiting';
const load = () => JSON.parse(sessionStorage.getItem(KEY) ?? '[]');
const save = (ids) => sessionStorage.setItem(KEY, JSON.stringify(ids));

export async function show(main, { query }) {
  const wanted = query.get('open');
  let ids = load();
  if (wanted && !ids.includes(wanted)) ids = [...ids, wanted];
  save(ids);
  let current = wanted ?? ids[0];
  const frames = new Map();
  const tabs = el('div', { class: 'tabs', role: 'tablist', 'aria-label': strings.heading });
  const note = el('p', { class: 'small muted', role: 'status' });
  const out = el('a', { class: 'button quiet', target: '_blank', rel: 'noreferrer' }, strings.out);
  const stage = el('div', { class: 'stack' });
  stage.style.flex = '1';
  const name = (id) => label(find(id) ?? { id, name: '' });

  function close(id) {
    frames.get(id)?.remove();
    frames.delete(id);
    ids = ids.filter((other) => other !== id);
    save(ids);
    if (current === id) current = ids[0];
    fill();
  }

  function fill() {
    if (ids.length === 0) {
      main.replaceChildren(empty(strings.nobody, strings.nobodyText));
      return;
    }
    tabs.replaceChildren(...ids.map((id) => el('div', { class: 'tab', 'data-current': String(id === current) },
      el('button', { type: 'button', role: 'tab', 'aria-selected': String(id === current), onclick: () => { current = id; fill(); } }, name(id)),
      el('button', { type: 'button', 'aria-label': strings.close(name(id)), onclick: () => close(id) }, '×'))));
    if (!frames.has(current)) {
      // The site runs on an origin of its own, so scripts and storage are its own, too.
      const frame = el('iframe', { class: 'frame', src: `/p/${current}/`, title: strings.frame(name(current)), sandbox: 'allow-scripts allow-same-origin allow-forms allow-popups allow-downloads', referrerpolicy: 'no-referrer' });
      frames.set(current, frame);
      stage.append(frame);
    }
    for (const [id, frame] of frames) frame.hidden = id !== current;
    out.href = `/p/${current}/`;
    note.textContent = find(current)?.offline ? strings.left(name(current)) : '';
  }

  main.replaceChildren(el('h1', { class: 'small' }, strings.heading), el('div', { class: 'row spread' }, tabs, out), note, stage);
  fill();
  return watch(fill);
}
