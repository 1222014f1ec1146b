// Logs: what the program says, followed until you scroll up.

import { get } from '../api.js';
import { el, toast } from '../dom.js';

export const title = 'Logs';

const strings = {
  heading: 'Logs',
  columns: ['Time', 'Level', 'Area', 'Text'],
  filter: 'Filter',
  level: 'Least level',
  levels: ['error', 'warn', 'info', 'debug'],
  copy: 'Copy',
  copied: 'Copied',
  follow: 'Follow',
};

const MAX_ROWS = 2000;

export async function show(main) {
  const lines = await get('/api/logs');
  const body = el('tbody');
  const box = el('div', { class: 'log', tabindex: 0, role: 'region', 'aria-label': strings.heading },
    el('table', {}, el('thead', {}, el('tr', {}, strings.columns.map((name) => el('th', { scope: 'col' }, name)))), body));
  const search = el('input', { class: 'search', type: 'search', placeholder: strings.filter, 'aria-label': strings.filter, oninput: refilter });
  const level = el('select', { id: 'level', 'aria-label': strings.level, class: 'button', onchange: refilter },
    strings.levels.map((name) => el('option', { value: name, selected: name === 'info' }, name)));
  const follow = el('button', { class: 'button', type: 'button', onclick: () => { box.scrollTop = box.scrollHeight; } }, strings.follow);
  const copy = el('button', { class: 'button', type: 'button', onclick: () => {
    const shown = [...body.rows].filter((row) => !row.hidden);
    const text = shown.map((row) => [...row.cells].map((cell) => cell.textContent).join('\t')).join('\n');
    navigator.clipboard.writeText(text).then(() => toast(strings.copied));
  } }, strings.copy);

  const atEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  function matches(row) {
    const rank = strings.levels.indexOf(row.dataset.level);
    return (rank === -1 ? 4 : rank) <= strings.levels.indexOf(level.value)
      && row.textContent.toLowerCase().includes(search.value.trim().toLowerCase());
  }
  function refilter() {
    for (const row of body.rows) row.hidden = !matches(row);
  }
  function add(line) {
    const following = atEnd();
    const row = el('tr', { 'data-level': line.level },
      el('td', {}, new Date(line.ts).toLocaleTimeString()), el('td', {}, line.level), el('td', {}, line.area), el('td', {}, line.msg));
    row.hidden = !matches(row);
    body.append(row);
    while (body.rows.length > MAX_ROWS) body.rows[0].remove();
    if (following) box.scrollTop = box.scrollHeight;
  }

  main.replaceChildren(el('div', { class: 'stack' }, el('h1', {}, strings.heading),
    el('div', { class: 'row' }, search, level, follow, copy), box));
  lines.forEach(add);
  box.scrollTop = box.scrollHeight;
  const source = new EventSource('/api/logs/stream');
  source.addEventListener('message', (event) => add(JSON.parse(event.data)));
  return () => source.close();
}
