// A table whose columns sort: each head is a button, a second press turns the order around.

import { html, useMemo, useState } from '../../vendor/ui.js';
import { Icon } from './icon.js';

const strings = {
  sort: (column) => `Sort by ${column}`,
};

const collator = new Intl.Collator(undefined, { sensitivity: 'base', numeric: true });

/** Numbers by size, everything else as words; what is missing comes last, whichever way it is sorted. */
function compare(a, b, turn) {
  const [none, other] = [a === undefined || a === null || a === '', b === undefined || b === null || b === ''];
  if (none || other) return Number(none) - Number(other);
  return turn * (typeof a === 'number' && typeof b === 'number' ? a - b : collator.compare(String(a), String(b)));
}

/**
 * `columns` are `{id, text, value(row), cell(row), head, mono, number}`: `value` is what is sorted by, `cell` what is shown (the value
 * unless given), `head` marks the column that names a row. `rows` keep their order until somebody sorts them; `keyOf(row)` names
 * one. `label` is for screen readers.
 */
export function Table({ label, columns, rows, keyOf }) {
  const [by, setBy] = useState({ id: '', turn: 1 });
  const sorted = useMemo(() => {
    const column = columns.find(({ id }) => id === by.id);
    return column ? rows.toSorted((a, b) => compare(column.value(a), column.value(b), by.turn)) : rows;
  }, [rows, by]);
  const sort = (id) => setBy((old) => ({ id, turn: old.id === id ? -old.turn : 1 }));
  const order = (id) => (by.id !== id ? 'none' : by.turn > 0 ? 'ascending' : 'descending');
  const kind = (column) => (column.mono ? 'mono' : column.number ? 'number' : undefined);
  return html`<div class="table-box" tabindex="0" role="region" aria-label=${label}><table class="table" aria-label=${label}>
    <thead><tr>${columns.map((column) => html`<th key=${column.id} scope="col" aria-sort=${order(column.id)} class=${column.number ? 'number' : undefined}>
      <button type="button" class="sort" title=${strings.sort(column.text)} onClick=${() => sort(column.id)}>${column.text}<${Icon} name=${order(column.id) === 'ascending' ? 'up' : 'open'} /></button></th>`)}</tr></thead>
    <tbody>${sorted.map((row) => html`<tr key=${keyOf(row)}>${columns.map((column) => {
    const shown = (column.cell ?? column.value)(row);
    return column.head ? html`<th key=${column.id} scope="row">${shown}</th>` : html`<td key=${column.id} class=${kind(column)}>${shown}</td>`;
  })}</tr>`)}</tbody>
  </table></div>`;
}
