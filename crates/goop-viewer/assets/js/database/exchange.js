// Rows as text: out as CSV or JSON, in from a spreadsheet's clipboard.
// Offers: exportRows, parseSheet, csvLine.

import { plainDay } from './cells.js';

/** Rows of one question of an export. */
const CHUNK = 5000;

/** A CSV field; what a spreadsheet would run as a formula stays text there. */
function field(value) {
  if (value === null || value === undefined) return '';
  const text = typeof value === 'string' && /^[=@\t\r]|^[+-](?![\d ])/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const csvLine = (values) => `${values.map(field).join(',')}\r\n`;

/** All rows of a source as a file's content. `onProgress(part)` hears how much is there; `isEnded()` stops it. */
export async function exportRows(source, columns, form, onProgress, isEnded) {
  const parts = [form === 'csv' ? csvLine(columns.map(({ name }) => name)) : '['];
  const total = Math.max(1, source.count ?? 1);
  for (let at = 0; !isEnded();) {
    const rows = await source.read(at, CHUNK);
    const text = form === 'csv'
      ? rows.map((row) => csvLine(columns.map((column) => plainDay(row[column.name], column)))).join('')
      : rows.map((row, index) => `${at + index ? ',\n' : '\n'}${JSON.stringify(Object.fromEntries(columns.map((column) => [column.name, plainDay(row[column.name], column)])))}`).join('');
    parts.push(text);
    at += rows.length;
    onProgress(Math.min(1, at / total));
    if (rows.length < CHUNK) break;
  }
  if (form === 'json') parts.push('\n]\n');
  return new Blob(parts, { type: form === 'csv' ? 'text/csv;charset=utf-8' : 'application/json' });
}

/** Cells of a spreadsheet's clipboard: fields between tabs, quoted where they hold tabs, quotes or lines. */
export function parseSheet(text) {
  const rows = [];
  let row = [];
  let cell = '';
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') {
        cell += '"';
        at += 1;
      } else quoted = false;
    } else if (letter === '"' && cell === '') quoted = true;
    else if (letter === '\t') {
      row.push(cell);
      cell = '';
    } else if (letter === '\n' || letter === '\r') {
      if (letter === '\r' && text[at + 1] === '\n') at += 1;
      rows.push([...row, cell]);
      row = [];
      cell = '';
    } else cell += letter;
  }
  if (cell !== '' || row.length > 0) rows.push([...row, cell]);
  return rows;
}
