// A grid over any number of rows: only those in sight exist. Cells are reached with the arrows and edited where they stand.
//
// A box cannot be as high as millions of rows, so beyond a height the scroll bar stands for them in proportion.
// Offers: Grid.

import { CellInput, isOurs, isTooLarge, shownOf, textOf, typedOf } from './cells.js';
import { html, useEffect, useLayoutEffect, useRef, useState } from '../../vendor/ui.js';
import { Icon } from '../components/icon.js';

const strings = {
  row: (number) => `Row ${number}`,
  actions: (number) => `Actions for row ${number}`,
  sort: (column) => `Sort by ${column}`,
  edit: (column) => `Edit ${column}`,
  loading: 'on its way',
  ours: 'This column is kept by the peer.',
  large: 'This number is larger than browsers keep exactly, so it is not edited here.',
};

/** Height of a row in pixels. */
const ROW = 34;
/** Width of the column with the rows' numbers. */
const NUMBER = 64;
/** Rows beyond the edges of the box. */
const SPARE = 8;
/** Highest box; browsers stop between 17 and 33 million pixels. */
const HIGHEST = 12_000_000;
/** Rows that Page Up and Page Down go. */
const LEAP = 15;

/** What the scroll bar means: `top` of the box to the first row, and back. */
function scale(count, view) {
  const high = Math.min(count * ROW, HIGHEST);
  const rows = Math.max(0, count - view / ROW);
  const way = Math.max(1, high - view);
  const direct = high === count * ROW;
  return {
    high,
    rowAt: (top) => (direct ? top / ROW : Math.min(rows, (top / way) * rows)),
    topOf: (row) => (direct ? row * ROW : Math.min(way, (row / Math.max(1, rows)) * way)),
  };
}

/** The editor of one cell. Enter and Tab keep what was typed, Escape does not. */
function Editor({ column, value, first, onKeep, onLeave }) {
  const [text, setText] = useState(first ?? textOf(column, value));
  const [error, setError] = useState('');
  const box = useRef(null);
  const ended = useRef(false);
  useLayoutEffect(() => {
    const input = box.current.querySelector('input, select');
    input.focus();
    if (first === undefined) input.select?.();
  }, []);
  async function keep(move) {
    if (ended.current) return;
    const typed = typedOf(column, text);
    if (typed.error) {
      setError(typed.error);
      return;
    }
    ended.current = true;
    const problem = text === textOf(column, value) ? '' : await onKeep(typed.value);
    if (problem) {
      ended.current = false;
      setError(problem);
    } else onLeave(move);
  }
  function key(event) {
    event.stopPropagation();
    if (event.key === 'Escape') {
      ended.current = true;
      onLeave([0, 0]);
    } else if (event.key === 'Enter') keep([event.shiftKey ? -1 : 1, 0]);
    else if (event.key === 'Tab') keep([0, event.shiftKey ? -1 : 1]);
    else return;
    event.preventDefault();
  }
  return html`<div class="cell-editor" ref=${box} onKeyDown=${key} onFocusOut=${(event) => box.current?.contains(event.relatedTarget) || keep(null)} data-invalid=${Boolean(error)}>
    <${CellInput} column=${column} text=${text} onText=${(next) => { setText(next); setError(''); }} aria-label=${strings.edit(column.name)} aria-invalid=${error ? 'true' : undefined} aria-describedby=${error ? 'cell-error' : undefined} />
    ${error && html`<p id="cell-error" class="cell-error" role="alert">${error}</p>`}
  </div>`;
}

/**
 * `source` is a RowSource, `columns` are `{name, type, required, values, readonly}`. `sort` is `{column, down}`; `onEdit(index, column,
 * value)` gives a promise of what is wrong, or ''. `onRow(event, index)` shows what can be done with a row, `onClear(index, column)`
 * empties a cell, `onPaste(index, column, text)` takes a clipboard.
 */
export function Grid({ label, source, version, columns, sort, onSort, onEdit, onClear, onRow, onPaste, widthOf }) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 480, width: 0 });
  const [cell, setCell] = useState({ row: 0, column: 0 });
  const [editing, setEditing] = useState(null);
  const wantsFocus = useRef(false);
  /** Whether the mouse went down on the cell that had the focus already: only then a click edits. */
  const again = useRef(false);
  const count = source.count ?? 0;
  const map = scale(count, view.height);
  const exact = map.rowAt(view.top);
  const from = Math.max(0, Math.floor(exact) - SPARE);
  const to = Math.min(count, Math.ceil(exact + view.height / ROW) + SPARE);

  useLayoutEffect(() => {
    const measure = () => setView((old) => ({ ...old, height: box.current?.clientHeight ?? old.height, width: box.current?.clientWidth ?? old.width }));
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  useEffect(() => { source.look(from, to); }, [source, version, from, to]);
  // Another question begins at its top.
  useEffect(() => {
    if (box.current) box.current.scrollTop = 0;
    setCell((old) => ({ ...old, row: 0 }));
    setEditing(null);
  }, [source]);
  useLayoutEffect(() => {
    if (!wantsFocus.current || editing) return;
    const node = box.current.querySelector(`[data-cell="${cell.row}:${cell.column}"]`);
    if (!node) return;
    wantsFocus.current = false;
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  });

  /** Goes to a cell, and brings its row into sight. */
  function go(row, column) {
    const next = { row: Math.min(Math.max(0, row), Math.max(0, count - 1)), column: Math.min(Math.max(0, column), columns.length - 1) };
    const rows = Math.max(1, Math.floor(view.height / ROW) - 2);
    const first = map.rowAt(box.current.scrollTop);
    if (next.row < first) box.current.scrollTop = map.topOf(next.row);
    else if (next.row > first + rows - 1) box.current.scrollTop = map.topOf(next.row - rows + 1);
    wantsFocus.current = true;
    setCell(next);
  }
  const canEdit = (row, column) => !column.readonly && !isOurs(column.name) && source.at(row) && !isTooLarge(source.at(row)[column.name]);
  function edit(row, at, first) {
    if (canEdit(row, columns[at])) setEditing({ row, column: at, first });
  }
  function key(event) {
    if (editing || !event.target.dataset.cell) return;
    const { row, column } = cell;
    const far = event.ctrlKey || event.metaKey;
    const to_ = {
      ArrowDown: [far ? count - 1 : row + 1, column], ArrowUp: [far ? 0 : row - 1, column], ArrowRight: [row, column + 1], ArrowLeft: [row, column - 1],
      PageDown: [row + LEAP, column], PageUp: [row - LEAP, column], Home: [far ? 0 : row, 0], End: [far ? count - 1 : row, columns.length - 1],
    }[event.key];
    if (to_) go(...to_);
    else if (event.key === 'Enter' || event.key === 'F2') edit(row, column);
    else if (event.key === 'Delete' && canEdit(row, columns[column])) onClear(row, columns[column]);
    else if (event.key === 'ContextMenu' || (event.key === 'F10' && event.shiftKey)) onRow(event, row);
    else if (event.key.length === 1 && !far && !event.altKey) edit(row, column, event.key);
    else return;
    event.preventDefault();
  }
  const clipboard = (act) => (event) => {
    if (editing || !event.target.dataset?.cell) return;
    event.preventDefault();
    act(event);
  };
  const copy = clipboard((event) => event.clipboardData.setData('text/plain', shownOf(source.at(cell.row)?.[columns[cell.column].name] ?? '', columns[cell.column]).text));
  const paste = clipboard((event) => onPaste(cell.row, cell.column, event.clipboardData.getData('text/plain')));

  const shown = [];
  for (let row = from; row < to; row += 1) shown.push(row);
  // Head and rows are grids of their own, so the widths are said in pixels; the last column takes what is left.
  const sizes = [NUMBER, ...columns.map(widthOf)];
  const total = sizes.reduce((sum, size) => sum + size, 0);
  sizes.push(sizes.pop() + Math.max(0, view.width - total));
  const style = { '--columns': sizes.map((size) => `${size}px`).join(' '), '--wide': `${Math.max(total, view.width)}px` };
  const order = (column) => (sort.column !== column.name ? 'none' : sort.down ? 'descending' : 'ascending');
  return html`<div class="grid" role="grid" aria-label=${label} aria-rowcount=${count + 1} aria-colcount=${columns.length + 1} ref=${box} style=${style}
      onScroll=${(event) => { const { scrollTop } = event.currentTarget; setView((old) => ({ ...old, top: scrollTop })); }} onKeyDown=${key} onCopy=${copy} onPaste=${paste}>
    <div class="grid-row grid-head" role="row" aria-rowindex="1">
      <div class="grid-cell grid-number" role="columnheader" aria-colindex="1"><span class="hidden">${strings.row('')}</span></div>
      ${columns.map((column, at) => html`<div key=${column.name} class="grid-cell" role="columnheader" aria-colindex=${at + 2} aria-sort=${order(column)}>
        <button type="button" class="sort" title=${strings.sort(column.name)} onClick=${() => onSort(column.name)}><span class="cut">${column.name}</span><${Icon} name=${order(column) === 'ascending' ? 'up' : 'open'} /></button></div>`)}
    </div>
    <div class="grid-body" role="presentation" style=${{ height: `${map.high}px` }}>
      ${shown.map((row) => {
    const values = source.at(row);
    return html`<div key=${row} class="grid-row" role="row" aria-rowindex=${row + 2} data-odd=${row % 2 === 1} style=${{ top: `${view.top + (row - exact) * ROW}px` }}>
        <div class="grid-cell grid-number" role="rowheader" aria-colindex="1">
          <button type="button" tabindex="-1" class="grid-row-button" aria-label=${strings.actions(row + 1)} onClick=${(event) => onRow(event, row)} disabled=${!values}>${row + 1}</button></div>
        ${columns.map((column, at) => {
      const here = row === cell.row && at === cell.column;
      const open = editing?.row === row && editing.column === at;
      const { text, missing } = shownOf(values?.[column.name], column);
      const fixed = column.readonly || isOurs(column.name);
      const why = fixed ? strings.ours : values && isTooLarge(values[column.name]) ? strings.large : undefined;
      return html`<div key=${column.name} class="grid-cell" role="gridcell" aria-colindex=${at + 2} aria-readonly=${String(Boolean(why))} aria-busy=${values ? undefined : 'true'} title=${why}
          data-cell=${`${row}:${at}`} data-missing=${missing} data-fixed=${fixed} data-number=${column.type === 'integer' || column.type === 'real'} tabindex=${here && !open ? 0 : -1}
          onMouseDown=${(event) => { again.current = here && event.currentTarget === document.activeElement; }}
          onClick=${() => again.current && edit(row, at)} onDblClick=${() => edit(row, at)}
          onFocus=${() => setCell((old) => (old.row === row && old.column === at ? old : { row, column: at }))} onContextMenu=${(event) => onRow(event, row)}>
          ${open
    ? html`<${Editor} key=${`${row}:${at}`} column=${column} value=${values[column.name]} first=${editing.first}
        onKeep=${(value) => onEdit(row, column, value)} onLeave=${(move) => { setEditing(null); if (move) go(row + move[0], at + move[1]); }} />`
    : html`<span class="cut">${values ? text : html`<span class="hidden">${strings.loading}</span>`}</span>`}</div>`;
    })}
      </div>`;
  })}
    </div>
  </div>`;
}
