// The rows of a table: grid, filters, sorting, columns, undo, export, paste.
// Offers: DataView.

import { post } from '../api.js';
import { Dialog, openDialog } from '../components/dialog.js';
import { Field } from '../components/field.js';
import { Icon } from '../components/icon.js';
import { menuAt, openMenu } from '../components/menu.js';
import { useListener } from '../components/mount.js';
import { Empty, Failure } from '../components/states.js';
import { toast, toastError } from '../components/toast.js';
import { CellInput, hiddenAtFirst, isOurs, typedOf } from './cells.js';
import { exportRows, parseSheet } from './exchange.js';
import { Grid } from './grid.js';
import { History } from './history.js';
import { RowSource, condition } from './rows.js';
import { html, useEffect, useMemo, useRef, useState } from '../../vendor/ui.js';

const strings = {
  search: 'Search in the shown columns',
  addFilter: 'Filter',
  filterHead: 'Filter the rows',
  column: 'Column',
  how: 'Condition',
  value: 'Value',
  hows: [['has', 'contains'], ['=', 'is'], ['!=', 'is not'], ['<', 'is less than'], ['<=', 'is at most'], ['>', 'is more than'], ['>=', 'is at least'], ['empty', 'is empty'], ['full', 'is not empty']],
  apply: 'Apply',
  dropFilter: (text) => `Remove the filter “${text}”`,
  columns: 'Columns',
  columnsHead: 'Columns that are shown',
  done: 'Done',
  newRow: 'Row',
  newHead: (table) => `New row in ${table}`,
  add: 'Add',
  made: 'made by the peer when left empty',
  undo: 'Undo',
  redo: 'Redo',
  undone: (text) => `Taken back: ${text}`,
  redone: (text) => `Done again: ${text}`,
  refresh: 'Refresh',
  exportHead: 'Export',
  asCsv: 'As CSV (spreadsheet)',
  asJson: 'As JSON',
  exporting: (percent) => `Exporting… ${percent} %`,
  stop: 'Stop',
  rows: (n) => (n === 1 ? 'one row' : `${n.toLocaleString()} rows`),
  nothing: 'No rows yet',
  nothingText: 'Add one, or paste a block of cells from a spreadsheet.',
  noMatch: 'No row fits',
  noMatchText: 'Fewer filters find more.',
  rowMenu: (row) => `Row ${row}`,
  deleteRow: 'Delete the row',
  copyJson: 'Copy as JSON',
  deleted: 'Row deleted',
  edited: (column) => `change of ${column}`,
  rowAdded: 'new row',
  rowDeleted: 'deleted row',
  pasteHere: 'Paste over',
  pasteRows: 'Paste as new rows',
  pasteHead: 'Paste',
  pasteText: (rows, columns) => `The clipboard holds ${rows} × ${columns} cells.`,
  pasteButton: 'Paste',
  pasteLabel: 'Cells from a spreadsheet',
  pasteHint: 'Copy cells in the spreadsheet and paste them here. They become new rows, from the first shown column on.',
  pasted: (n) => (n === 1 ? 'one pasted row' : `${n} pasted rows`),
  pastedOver: (n) => (n === 1 ? 'one pasted cell' : `${n} pasted cells`),
  misfit: (row, column, text) => `Row ${row} of the clipboard, ${column}: ${text}. Nothing was pasted.`,
  tooMany: (most) => `At most ${most} rows are pasted at once. A transformation takes a whole file.`,
};

/** Rows that are pasted at once; the peer takes as many as one change. */
const MOST = 10_000;
/** Cells of a paste over rows that are there: each row is a question. */
const MOST_OVER = 200;
/** Milliseconds after typing before the search runs. */
const PAUSE = 250;
const kept = (table) => `goop2.columns.${table}`;

/** Columns that a person chose to see; browsers may not remember. */
function chosen(table, columns) {
  try {
    const hidden = JSON.parse(localStorage.getItem(kept(table)));
    if (Array.isArray(hidden)) return hidden;
  } catch {
    // What cannot be read was never chosen.
  }
  return columns.map(({ name }) => name).filter(hiddenAtFirst);
}

function saveFile(blob, name) {
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
}

/** Pixels of a column. */
const WIDTHS = { integer: 130, real: 130, date: 170, time: 130, datetime: 190, enum: 150 };
const widthOf = (column) => (column.name === '_id' ? 96 : WIDTHS[column.type] ?? 230);

const filterText = ({ column, how, value }) => `${column} ${strings.hows.find(([key]) => key === how)[1]}${how === 'empty' || how === 'full' ? '' : ` ${value}`}`;

function FilterDialog({ columns, close }) {
  const [filter, setFilter] = useState({ column: columns.find(({ name }) => !isOurs(name))?.name ?? '_id', how: 'has', value: '' });
  const column = columns.find(({ name }) => name === filter.column);
  const bare = filter.how === 'empty' || filter.how === 'full';
  const [error, setError] = useState('');
  function submit(event) {
    event.preventDefault();
    const typed = bare || filter.how === 'has' ? { value: filter.value } : typedOf({ ...column, required: false }, filter.value);
    if (typed.error) setError(typed.error);
    else close({ ...filter, value: typed.value ?? '' });
  }
  const choice = (id, label, key, options) => html`<${Field} id=${id} label=${label}>${(names) => html`<select ...${names} value=${filter[key]} onChange=${(event) => setFilter({ ...filter, [key]: event.currentTarget.value })}>
    ${options.map(([value, text]) => html`<option key=${value} value=${value} selected=${value === filter[key]}>${text}</option>`)}</select>`}<//>`;
  return html`<${Dialog} title=${strings.filterHead} onClose=${() => close(null)}><form class="stack" onSubmit=${submit}>
    ${choice('filter-column', strings.column, 'column', columns.map(({ name }) => [name, name]))}
    ${choice('filter-how', strings.how, 'how', strings.hows)}
    ${!bare && html`<${Field} id="filter-value" label=${strings.value} error=${error}>${(names) => html`<${CellInput} names=${names} column=${filter.how === 'has' ? { name: '', type: 'text' } : column} text=${filter.value} onText=${(value) => { setFilter({ ...filter, value }); setError(''); }} />`}<//>`}
    <div class="row dialog-ways"><button type="submit" class="button primary">${strings.apply}</button></div>
  </form><//>`;
}

function ColumnsDialog({ columns, hidden, onChange, close }) {
  const [now, setNow] = useState(hidden);
  const toggle = (name) => {
    const next = now.includes(name) ? now.filter((other) => other !== name) : [...now, name];
    if (next.length === columns.length) return;
    setNow(next);
    onChange(next);
  };
  return html`<${Dialog} title=${strings.columnsHead} onClose=${close}><div class="stack-tight">
    ${columns.map(({ name }) => html`<label key=${name} class="check"><input type="checkbox" checked=${!now.includes(name)} onChange=${() => toggle(name)} /><span>${name}</span></label>`)}
    <div class="row dialog-ways"><button type="button" class="button primary" onClick=${close}>${strings.done}</button></div>
  </div><//>`;
}

function RowDialog({ table, columns, send, close }) {
  const [texts, setTexts] = useState({});
  const [errors, setErrors] = useState({});
  const [problem, setProblem] = useState('');
  const own = columns.filter(({ name }) => !isOurs(name));
  async function submit(event) {
    event.preventDefault();
    const data = {};
    const found = {};
    for (const column of own) {
      const text = texts[column.name];
      if (text === undefined || (text === '' && (column.auto || column.default !== undefined || !column.required))) continue;
      const typed = typedOf(column, text);
      if (typed.error) found[column.name] = typed.error;
      else data[column.name] = typed.value;
    }
    setErrors(found);
    setProblem('');
    if (Object.keys(found).length) return;
    try {
      await send(data);
      close();
    } catch (error) {
      setProblem(error.message);
    }
  }
  return html`<${Dialog} title=${strings.newHead(table)} keep onClose=${close}><form class="stack" onSubmit=${submit}>
    ${own.map((column) => html`<${Field} key=${column.name} id=${`new-${column.name}`} label=${`${column.name}${column.required && !column.auto ? ' *' : ''}`} hint=${column.auto ? strings.made : undefined} error=${errors[column.name]}>
      ${(names) => html`<${CellInput} names=${names} column=${column} text=${texts[column.name] ?? ''} onText=${(text) => setTexts({ ...texts, [column.name]: text })} />`}<//>`)}
    ${problem && html`<p class="field-error" role="alert"><${Icon} name="error" />${problem}</p>`}
    <div class="row dialog-ways"><button type="submit" class="button primary">${strings.add}</button></div>
  </form><//>`;
}

function PasteDialog({ close }) {
  const [text, setText] = useState('');
  return html`<${Dialog} title=${strings.pasteHead} keep onClose=${() => close('')}><div class="stack">
    <div class="field"><label for="paste-text">${strings.pasteLabel}</label><textarea id="paste-text" class="code-box" rows="8" aria-describedby="paste-hint" value=${text} onInput=${(event) => setText(event.currentTarget.value)}></textarea>
      <p id="paste-hint" class="hint">${strings.pasteHint}</p></div>
    <div class="row dialog-ways"><button type="button" class="button primary" disabled=${!text} onClick=${() => close(text)}>${strings.pasteRows}</button></div>
  </div><//>`;
}

/** Everything about the rows of one table. `columns` are `{name, type, required, auto, default, values}`, system columns first. */
export function DataView({ table, columns }) {
  const [filters, setFilters] = useState([]);
  const [typed, setTyped] = useState('');
  const [search, setSearch] = useState('');
  const [sort, setSort] = useState({ column: '_id', down: false });
  const [hidden, setHidden] = useState(() => chosen(table, columns));
  const [version, setVersion] = useState(0);
  const changed = () => setVersion((old) => old + 1);
  const [history] = useState(() => new History(changed));
  const [progress, setProgress] = useState(null);
  const ended = useRef(false);
  const visible = columns.filter(({ name }) => !hidden.includes(name));

  useEffect(() => {
    const timer = setTimeout(() => setSearch(typed.trim()), PAUSE);
    return () => clearTimeout(timer);
  }, [typed]);
  const source = useMemo(() => {
    const order = `"${sort.column}"${sort.down ? ' DESC' : ''}${sort.column === '_id' ? '' : ', "_id"'}`;
    return new RowSource(table, { ...condition(filters, search, visible.map(({ name }) => name)), order }, changed);
  }, [table, filters, search, sort, columns, search ? hidden : null]);
  useEffect(() => {
    source.refresh();
    return () => source.end();
  }, [source]);
  useEffect(() => () => { ended.current = true; }, []);

  const update = (id, data) => post('/api/data/update', { table, id, data });
  const remove = (where, args) => post('/api/data/delete-where', { table, where, args });
  const again = () => source.refresh();

  /** Changes a cell; gives what is wrong, or ''. */
  async function edit(index, column, value) {
    const row = source.at(index);
    const before = row[column.name];
    const set = async (next) => {
      await update(row._id, { [column.name]: next });
      const at = source.at(index);
      if (at?._id === row._id) source.put(index, { ...at, [column.name]: next });
    };
    try {
      await history.run({ text: strings.edited(column.name), redo: () => set(value), undo: () => set(before) });
      return '';
    } catch (error) {
      return error.message;
    }
  }
  async function deleteRow(index) {
    const row = { ...source.at(index) };
    const { _owner, _owner_email, _updated_at, ...data } = row;
    const redo = async () => {
      await post('/api/data/delete', { table, id: row._id });
      await again();
    };
    // Its author and its times come back with it.
    const undo = async () => {
      await post('/api/data/insert', { table, data });
      const rest = Object.fromEntries(Object.entries({ _owner, _owner_email, _updated_at }).filter(([, value]) => value !== undefined));
      await update(row._id, rest);
      await again();
    };
    try {
      await history.run({ text: strings.rowDeleted, redo, undo });
      toast(strings.deleted, { label: strings.undo, action: () => back('undo') });
    } catch (error) {
      toastError(error);
    }
  }
  async function addRow(data) {
    let id = 0;
    await history.run({
      text: strings.rowAdded,
      redo: async () => {
        ({ id } = await post('/api/data/insert', { table, data: id ? { ...data, _id: id } : data }));
        await again();
      },
      undo: async () => {
        await post('/api/data/delete', { table, id });
        await again();
      },
    });
  }
  async function back(how) {
    try {
      const step = await history[how]();
      if (step) toast(how === 'undo' ? strings.undone(step.text) : strings.redone(step.text), { level: 'success' });
    } catch (error) {
      toastError(error);
    }
  }

  /** Values of a clipboard's rows for columns from one on, or what is wrong. */
  function meant(rows, first) {
    const into = visible.slice(first).filter(({ name }) => !isOurs(name));
    return rows.map((cells, at) => Object.fromEntries(cells.slice(0, into.length).map((text, index) => {
      const column = into[index];
      const typedValue = typedOf({ ...column, required: false }, text);
      if (typedValue.error) throw new Error(strings.misfit(at + 1, column.name, typedValue.error));
      return [column.name, typedValue.value];
    })));
  }
  async function pasteRows(text, first = 0) {
    try {
      const sheet = parseSheet(text);
      if (sheet.length === 0) return;
      if (sheet.length > MOST) throw new Error(strings.tooMany(MOST));
      const rows = meant(sheet, first).map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)));
      let range = null;
      await history.run({
        text: strings.pasted(rows.length),
        redo: async () => {
          range = await post('/api/data/insert-many', { table, rows });
          await again();
        },
        undo: async () => {
          await remove('"_id" BETWEEN ? AND ?', [range.first, range.last]);
          await again();
        },
      });
      toast(strings.pasted(rows.length), { level: 'success', label: strings.undo, action: () => back('undo') });
    } catch (error) {
      toastError(error);
    }
  }
  async function pasteOver(text, index, first) {
    try {
      const sheet = parseSheet(text);
      const rows = meant(sheet, first);
      const targets = rows.map((data, at) => ({ data, row: source.at(index + at) })).filter(({ row }) => row);
      const both = targets.map(({ data, row }) => ({ id: row._id, data, before: Object.fromEntries(Object.keys(data).map((name) => [name, row[name]])) }));
      const apply = async (which) => {
        for (const one of both) await update(one.id, one[which]);
        await again();
      };
      await history.run({ text: strings.pastedOver(both.reduce((sum, { data }) => sum + Object.keys(data).length, 0)), redo: () => apply('data'), undo: () => apply('before') });
    } catch (error) {
      toastError(error);
    }
  }
  function paste(index, column, text) {
    const sheet = parseSheet(text);
    if (sheet.length === 0) return;
    const into = visible[column];
    if (sheet.length === 1 && sheet[0].length === 1 && !isOurs(into.name)) {
      const value = typedOf(into, sheet[0][0]);
      if (value.error) toast(value.error, { level: 'error' });
      else edit(index, into, value.value).then((problem) => problem && toast(problem, { level: 'error' }));
      return;
    }
    const at = document.activeElement;
    openMenu(at, strings.pasteText(sheet.length, sheet[0].length), [
      sheet.length <= MOST_OVER && { text: strings.pasteHere, icon: 'edit', act: () => pasteOver(text, index, column) },
      { text: strings.pasteRows, icon: 'plus', act: () => pasteRows(text, column) },
    ]);
  }

  const showRowMenu = (event, index) => source.at(index) && menuAt(event, strings.rowMenu(index + 1), [
    { text: strings.copyJson, icon: 'copy', act: () => navigator.clipboard?.writeText(JSON.stringify(source.at(index), null, 2)) },
    { text: strings.deleteRow, icon: 'trash', bad: true, act: () => deleteRow(index) },
  ]);
  async function save(form) {
    ended.current = false;
    setProgress(0);
    try {
      const blob = await exportRows(source, columns, form, setProgress, () => ended.current);
      if (!ended.current) saveFile(blob, `${table}.${form}`);
    } catch (error) {
      toastError(error);
    }
    setProgress(null);
  }
  const hide = (next) => {
    setHidden(next);
    try {
      localStorage.setItem(kept(table), JSON.stringify(next));
    } catch {
      // It holds until the page is left.
    }
  };
  useListener(window, 'keydown', (event) => {
    const isText = event.target.matches?.('input, textarea, select, [contenteditable]');
    if (isText || !(event.ctrlKey || event.metaKey) || event.altKey) return;
    const letter = event.key.toLowerCase();
    if (letter !== 'z' && letter !== 'y') return;
    event.preventDefault();
    back(letter === 'y' || event.shiftKey ? 'redo' : 'undo');
  });
  const sortBy = (column) => setSort((old) => ({ column, down: old.column === column ? !old.down : false }));
  const filtered = filters.length > 0 || search !== '';
  const empty = source.count === 0;

  return html`<div class="stack">
    <div class="row tools grid-tools">
      <input class="search" type="search" placeholder=${strings.search} aria-label=${strings.search} value=${typed} onInput=${(event) => setTyped(event.currentTarget.value)} />
      <button type="button" class="button primary" onClick=${() => openDialog((close) => html`<${RowDialog} table=${table} columns=${columns} send=${addRow} close=${close} />`)}><${Icon} name="plus" />${strings.newRow}</button>
      <button type="button" class="button" onClick=${() => openDialog((close) => html`<${FilterDialog} columns=${columns} close=${close} />`).then((filter) => filter && setFilters([...filters, filter]))}><${Icon} name="search" />${strings.addFilter}</button>
      <button type="button" class="button" onClick=${() => openDialog((close) => html`<${ColumnsDialog} columns=${columns} hidden=${hidden} onChange=${hide} close=${close} />`)}><${Icon} name="eye" />${strings.columns}</button>
      <button type="button" class="button" aria-haspopup="menu" onClick=${(event) => openMenu(event.currentTarget, strings.exportHead, [
    { text: strings.asCsv, icon: 'download', act: () => save('csv') }, { text: strings.asJson, icon: 'download', act: () => save('json') }])}><${Icon} name="download" />${strings.exportHead}</button>
      <button type="button" class="button" onClick=${() => openDialog((close) => html`<${PasteDialog} close=${close} />`).then((text) => text && pasteRows(text))}><${Icon} name="copy" />${strings.pasteButton}</button>
    </div>
    ${filters.length > 0 && html`<ul class="row chips">${filters.map((filter, at) => html`<li key=${filterText(filter)}><button type="button" class="chip" aria-label=${strings.dropFilter(filterText(filter))} onClick=${() => setFilters(filters.filter((_, other) => other !== at))}>${filterText(filter)}<${Icon} name="close" /></button></li>`)}</ul>`}
    ${progress !== null && html`<div class="row"><progress max="1" value=${progress} aria-label=${strings.exportHead}></progress><span class="small">${strings.exporting(Math.round(progress * 100))}</span><button type="button" class="button small" onClick=${() => { ended.current = true; }}>${strings.stop}</button></div>`}
    ${source.error && html`<${Failure} error=${source.error} again=${again} />`}
    <div class="row spread grid-state"><p class="small muted" role="status">${source.count === null ? '' : strings.rows(source.count)}</p>
      <div class="row">
        <button type="button" class="icon-button" aria-label=${`${strings.undo}${history.undoText ? `: ${history.undoText}` : ''}`} title=${strings.undo} aria-disabled=${String(!history.undoText)} onClick=${() => back('undo')}><${Icon} name="undo" /></button>
        <button type="button" class="icon-button flipped" aria-label=${`${strings.redo}${history.redoText ? `: ${history.redoText}` : ''}`} title=${strings.redo} aria-disabled=${String(!history.redoText)} onClick=${() => back('redo')}><${Icon} name="undo" /></button>
        <button type="button" class="icon-button" aria-label=${strings.refresh} title=${strings.refresh} onClick=${again}><${Icon} name="refresh" /></button>
      </div></div>
    ${empty ? html`<${Empty} title=${filtered ? strings.noMatch : strings.nothing} text=${filtered ? strings.noMatchText : strings.nothingText} />`
    : html`<${Grid} label=${table} source=${source} version=${version} columns=${visible} sort=${sort} onSort=${sortBy} onEdit=${edit} onRow=${showRowMenu} onPaste=${paste} widthOf=${widthOf}
        onClear=${(index, column) => edit(index, column, column.required ? typedOf(column, '').value ?? '' : null).then((problem) => problem && toast(problem, { level: 'error' }))} />`}
  </div>`;
}
