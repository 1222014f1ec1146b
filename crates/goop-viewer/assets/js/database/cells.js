// Values of a table's cells: how they look, how they are typed, what fits.
// Offers: shownOf, typedOf, CellInput, isOurs, hiddenAtFirst.

import { html } from '../../vendor/ui.js';

const strings = {
  nothing: 'null',
  noInteger: 'A whole number is wanted here',
  noReal: 'A number is wanted here',
  needed: 'This column must have a value',
  generate: 'New id',
  none: '(none)',
};

/** Columns that the peer keeps by itself. */
export const isOurs = (name) => name.startsWith('_');
/** Columns that few want to see. */
export const hiddenAtFirst = (name) => ['_owner', '_owner_email', '_created_at', '_updated_at'].includes(name);
/** Largest number that the browser keeps exactly. */
const SAFE = Number.MAX_SAFE_INTEGER;

/** A day has no hours, although the peer reads it with them. */
export const plainDay = (value, column) => (column?.type === 'date' && typeof value === 'string' ? value.replace(/ 00:00:00$/, '') : value);

/** Text of a value, and whether there is one. */
export function shownOf(value, column) {
  if (value === undefined) return { text: '', missing: true };
  if (value === null) return { text: strings.nothing, missing: true };
  return { text: String(plainDay(value, column)), missing: false };
}

/** A number beyond what the browser keeps exactly would be changed by editing anything. */
export const isTooLarge = (value) => typeof value === 'number' && Number.isInteger(value) && Math.abs(value) > SAFE;

/** The text that an editor begins with. */
export function textOf(column, value) {
  if (value === null || value === undefined) return '';
  const text = String(value);
  if (column.type === 'date') return text.slice(0, 10);
  if (column.type === 'datetime') return text.replace(' ', 'T').slice(0, 19);
  return text;
}

/** What a typed text means for a column: `{value}` or `{error}`. Nothing typed is no value. */
export function typedOf(column, text) {
  const trimmed = text.trim();
  if (column.type === 'integer' || column.type === 'real') {
    if (trimmed === '') return column.required ? { error: strings.needed } : { value: null };
    const number = Number(trimmed);
    if (Number.isNaN(number) || !Number.isFinite(number)) return { error: column.type === 'real' ? strings.noReal : strings.noInteger };
    if (column.type === 'integer' && !/^[-+]?\d+$/.test(trimmed)) return { error: strings.noInteger };
    return { value: number };
  }
  if (text === '') return column.required && column.type !== 'text' ? { error: strings.needed } : { value: column.required ? '' : null };
  if (column.type === 'datetime') return { value: text.replace('T', ' ') };
  return { value: text };
}

const NATIVE = { date: 'date', datetime: 'datetime-local', time: 'time' };

/** The control for a column's value. */
export function CellInput({ column, text, onText, names = {}, ...input }) {
  if (column.type === 'enum' && column.values?.length) {
    return html`<select ...${names} ...${input} value=${text} onChange=${(event) => onText(event.currentTarget.value)}>
      ${(!column.required || text === '') && html`<option value="">${strings.none}</option>`}
      ${!column.values.some(({ key }) => key === text) && text !== '' && html`<option value=${text} selected>${text}</option>`}
      ${column.values.map(({ key, label }) => html`<option key=${key} value=${key} selected=${key === text}>${label || key}</option>`)}
    </select>`;
  }
  const numeric = column.type === 'integer' || column.type === 'real';
  return html`<input ...${names} ...${input} type=${NATIVE[column.type] ?? 'text'} step=${NATIVE[column.type] && column.type !== 'date' ? 1 : undefined}
    inputmode=${numeric ? 'decimal' : undefined} autocomplete="off" spellcheck=${false} value=${text} onInput=${(event) => onText(event.currentTarget.value)} />`;
}
