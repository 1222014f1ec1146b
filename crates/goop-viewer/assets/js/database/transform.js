// Transformations: rows of a table, a file or a web address made into rows of another shape.
// Offers: Transformations.

import { get, post } from '../api.js';
import { confirm } from '../components/dialog.js';
import { Choice, Text } from '../components/field.js';
import { Icon } from '../components/icon.js';
import { useLoad } from '../components/mount.js';
import { SplitPane } from '../components/split-pane.js';
import { Empty, Failure, Loaded } from '../components/states.js';
import { toast, toastError } from '../components/toast.js';
import { shownOf } from './cells.js';
import { html, useEffect, useRef, useState } from '../../vendor/ui.js';

const strings = {
  list: 'Transformations',
  new: 'New transformation',
  none: 'No transformations yet',
  noneText: 'A transformation brings rows of a table, a CSV or JSON file or a web address into another table or file.',
  name: 'Name',
  nameHint: 'Letters, digits, - and _.',
  description: 'What it is for',
  source: 'From',
  target: 'To',
  kinds: { table: 'a table', csv: 'a CSV file', json: 'a JSON file', url: 'a web address with JSON' },
  kind: 'Kind',
  table: 'Table',
  path: 'File',
  pathHint: 'Whole path, or one that begins with site/ or shared/.',
  url: 'Address',
  urlHint: 'On the public internet; it must answer with a list of objects.',
  fields: 'Mappings',
  heads: ['New field', 'From', 'Function', 'Arguments (JSON list)', 'Fixed value', ''],
  field: (place, what) => `Mapping ${place}: ${what}`,
  sourcesHint: 'Several names with commas between them.',
  addField: 'Add mapping',
  dropField: (place) => `Remove mapping ${place}`,
  auto: 'Map by name',
  autoNothing: 'No name of the source fits.',
  plain: '(the value itself)',
  save: 'Save',
  saved: 'Transformation saved',
  preview: 'Preview',
  previewHead: 'The first rows would be',
  previewNone: 'The source has no rows.',
  run: 'Run',
  runText: (target) => `Rows are written to ${target}. All of them or, if one does not fit, none.`,
  overwrite: (path) => `${path} is there already and will be replaced.`,
  running: (read, written) => `${read.toLocaleString()} rows read, ${written.toLocaleString()} written`,
  stop: 'Stop',
  done: (n, target) => `${n === 1 ? 'One row' : `${n.toLocaleString()} rows`} went to ${target}`,
  remove: 'Delete',
  removeHead: (name) => `Delete the transformation ${name}?`,
  removeText: 'Rows that it made stay.',
  removed: 'Transformation deleted',
  badArgs: (place) => `Mapping ${place}: the arguments are no JSON list`,
  count: (n) => (n === 1 ? 'one mapping' : `${n} mappings`),
};

/** Milliseconds between two looks at how far a run is. */
const LOOK = 500;
let next = 0;
const row = (field = {}) => {
  next += 1;
  return {
    id: next, target: field.target ?? '', sources: (field.sources ?? []).join(', '), transform: field.transform ?? '',
    args: field.args?.length ? JSON.stringify(field.args) : '', constant: field.constant === undefined || field.constant === null ? '' : JSON.stringify(field.constant),
  };
};
const kindOf = (endpoint) => (endpoint.type === 'json' && endpoint.url ? 'url' : endpoint.type || 'table');

/** What was typed, from what is kept. */
const typedOf = (kept) => ({
  name: kept.name ?? '', description: kept.description ?? '', source: { ...kept.source, kind: kindOf(kept.source ?? {}) }, target: { ...kept.target, kind: kindOf(kept.target ?? {}) },
  fields: (kept.fields?.length ? kept.fields : [{}]).map(row),
});

/** A fixed value: JSON where it is some, else a text. */
function constantOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What is kept, of what was typed. */
function keptOf(typed) {
  const endpoint = ({ kind, name, path, url }) => (kind === 'table' ? { type: 'table', name: name ?? '' } : kind === 'url' ? { type: 'json', url: url ?? '' } : { type: kind, path: path ?? '' });
  return {
    name: typed.name.trim(), ...(typed.description && { description: typed.description }), source: endpoint(typed.source), target: endpoint(typed.target),
    fields: typed.fields.map((field, at) => {
      let args = [];
      try {
        args = field.args.trim() ? JSON.parse(field.args) : [];
      } catch {
        args = null;
      }
      if (!Array.isArray(args)) throw new Error(strings.badArgs(at + 1));
      const sources = field.sources.split(',').map((name) => name.trim()).filter(Boolean);
      return { target: field.target.trim(), ...(sources.length && { sources }), ...(field.transform && { transform: field.transform }), ...(args.length && { args }), ...(field.constant !== '' && { constant: constantOf(field.constant) }) };
    }),
  };
}

function Endpoint({ id, label, value, kinds, tables, onChange }) {
  const set = (part) => onChange({ ...value, ...part });
  return html`<fieldset class="endpoint stack-tight"><legend>${label}</legend>
    <${Choice} id=${`${id}-kind`} label=${strings.kind} value=${value.kind} choices=${kinds.map((kind) => [kind, strings.kinds[kind]])} onChange=${(kind) => set({ kind })} />
    ${value.kind === 'table' && html`<${Choice} id=${`${id}-table`} label=${strings.table} value=${value.name ?? ''} choices=${[['', '—'], ...tables.map((name) => [name, name])]} onChange=${(name) => set({ name })} />`}
    ${value.kind === 'url' && html`<${Text} id=${`${id}-url`} label=${strings.url} hint=${strings.urlHint} value=${value.url ?? ''} onChange=${(url) => set({ url })} input=${{ inputmode: 'url', spellcheck: false }} />`}
    ${(value.kind === 'csv' || value.kind === 'json') && html`<${Text} id=${`${id}-path`} label=${strings.path} hint=${strings.pathHint} value=${value.path ?? ''} onChange=${(path) => set({ path })} input=${{ spellcheck: false }} />`}
  </fieldset>`;
}

function Fields({ fields, functions, names, onChange }) {
  const set = (id, part) => onChange(fields.map((field) => (field.id === id ? { ...field, ...part } : field)));
  const cell = (field, at, place, key, extra = {}) => html`<td><input class="cell-input" aria-label=${strings.field(at + 1, strings.heads[place])} spellcheck=${false} autocomplete="off" ...${extra} value=${field[key]} onInput=${(event) => set(field.id, { [key]: event.currentTarget.value })} /></td>`;
  return html`<div class="table-box" tabindex="0" role="region" aria-label=${strings.fields}><table class="table designer" aria-label=${strings.fields}>
    <thead><tr>${strings.heads.map((text, at) => html`<th key=${at} scope="col">${text || html`<span class="hidden">${strings.remove}</span>`}</th>`)}</tr></thead>
    <tbody>${fields.map((field, at) => html`<tr key=${field.id}>
      ${cell(field, at, 0, 'target')}${cell(field, at, 1, 'sources', { list: 'source-names', title: strings.sourcesHint })}
      <td><select class="cell-input" aria-label=${strings.field(at + 1, strings.heads[2])} value=${field.transform} onChange=${(event) => set(field.id, { transform: event.currentTarget.value })}>
        <option value="">${strings.plain}</option>${functions.map((name) => html`<option key=${name} value=${name} selected=${name === field.transform}>${name}</option>`)}</select></td>
      ${cell(field, at, 3, 'args', { placeholder: '[]' })}${cell(field, at, 4, 'constant')}
      <td><button type="button" class="icon-button" aria-label=${strings.dropField(at + 1)} disabled=${fields.length === 1} onClick=${() => onChange(fields.filter(({ id }) => id !== field.id))}><${Icon} name="trash" /></button></td></tr>`)}</tbody>
  </table><datalist id="source-names">${names.map((name) => html`<option key=${name} value=${name} />`)}</datalist></div>`;
}

/** Names that an endpoint has, and for tables what makes their values. */
async function fieldsOf(endpoint) {
  const found = await post('/api/data/transformations/source-fields', endpoint);
  return (found ?? []).map((field) => (typeof field === 'string' ? { name: field, type: '' } : { name: field.name, type: (field.type ?? '').toLowerCase(), auto: field.auto }));
}

function Run({ run, onEnd }) {
  const [at, setAt] = useState({ read: 0, written: 0 });
  useEffect(() => {
    const timer = setInterval(() => post('/api/data/transformations/progress', { run }).then(setAt, () => {}), LOOK);
    return () => clearInterval(timer);
  }, [run]);
  return html`<div class="row" role="status"><span class="spinner" aria-hidden="true"></span><span>${strings.running(at.read, at.written)}</span>
    <button type="button" class="button small" onClick=${onEnd}>${strings.stop}</button></div>`;
}

function Editor({ kept, functions, tables, onSaved, onRemoved }) {
  const [typed, setTyped] = useState(() => typedOf(kept));
  const [error, setError] = useState(null);
  const [rows, setRows] = useState(null);
  const [names, setNames] = useState([]);
  const [run, setRun] = useState('');
  const set = (part) => setTyped((old) => ({ ...old, ...part }));
  const problem = useRef(null);
  const attempt = async (work) => {
    setError(null);
    try {
      await work(keptOf(typed));
    } catch (failure) {
      setError(failure);
      requestAnimationFrame(() => problem.current?.scrollIntoView({ block: 'nearest' }));
    }
  };
  const save = () => attempt(async (whole) => {
    await post('/api/data/transformations/save', whole);
    toast(strings.saved, { level: 'success' });
    onSaved(whole.name);
  });
  const preview = () => attempt(async (transformation) => setRows(await post('/api/data/transformations/preview', { transformation, most: 20 })));
  const map = () => attempt(async ({ source, target }) => {
    const from = await fieldsOf(source);
    setNames(from.map(({ name }) => name));
    const to = target.type === 'table' ? (await fieldsOf(target)).filter(({ name }) => !name.startsWith('_')) : from.filter(({ name }) => !name.startsWith('_'));
    const makers = ['guid', 'datetime', 'date', 'time'];
    const fields = to.map((field) => {
      const match = from.find(({ name }) => name.toLowerCase() === field.name.toLowerCase());
      if (match) return row({ target: field.name, sources: [match.name], transform: source.type === 'csv' && field.type === 'integer' ? 'to_int' : source.type === 'csv' && field.type === 'real' ? 'to_float' : '' });
      return makers.includes(field.type) && !field.auto ? row({ target: field.name, transform: field.type }) : null;
    }).filter(Boolean);
    if (fields.length) set({ fields });
    else throw new Error(strings.autoNothing);
  });
  const execute = () => attempt(async (transformation) => {
    const { target } = transformation;
    const where = target.name ?? target.path;
    const there = target.path ? (await post('/api/data/transformations/file-exists', { path: target.path })).exists : false;
    if (!await confirm({ title: strings.run, text: there ? strings.overwrite(target.path) : strings.runText(where), ok: strings.run, bad: there })) return;
    const id = crypto.randomUUID();
    setRun(id);
    try {
      const done = await post('/api/data/transformations/execute', { transformation, run: id });
      toast(strings.done(done.inserted ?? done.written, done.target), { level: 'success' });
    } finally {
      setRun('');
    }
  });
  const remove = async () => {
    if (!await confirm({ title: strings.removeHead(kept.name), text: strings.removeText, ok: strings.remove, bad: true })) return;
    try {
      await post('/api/data/transformations/delete', { name: kept.name });
      toast(strings.removed, { level: 'success' });
      onRemoved();
    } catch (failure) {
      toastError(failure);
    }
  };
  const columns = rows?.length ? Object.keys(rows[0]) : [];
  return html`<form class="stack" onSubmit=${(event) => { event.preventDefault(); save(); }}>
    <h2>${kept.name || strings.new}</h2>
    <div class="pair"><${Text} id="t-name" label=${strings.name} hint=${strings.nameHint} value=${typed.name} onChange=${(name) => set({ name })} input=${{ required: true, maxlength: 64, spellcheck: false, autocomplete: 'off' }} />
      <${Text} id="t-description" label=${strings.description} value=${typed.description} onChange=${(description) => set({ description })} /></div>
    <div class="pair"><${Endpoint} id="t-source" label=${strings.source} value=${typed.source} kinds=${['table', 'csv', 'json', 'url']} tables=${tables} onChange=${(source) => set({ source })} />
      <${Endpoint} id="t-target" label=${strings.target} value=${typed.target} kinds=${['table', 'csv', 'json']} tables=${tables} onChange=${(target) => set({ target })} /></div>
    <section class="stack-tight"><h3>${strings.fields}</h3>
      <${Fields} fields=${typed.fields} functions=${functions} names=${names} onChange=${(fields) => set({ fields })} />
      <div class="row"><button type="button" class="button" onClick=${() => set({ fields: [...typed.fields, row()] })}><${Icon} name="plus" />${strings.addField}</button>
        <button type="button" class="button" onClick=${map}><${Icon} name="refresh" />${strings.auto}</button></div></section>
    <div ref=${problem}>${error && html`<${Failure} error=${error} />`}</div>
    ${run ? html`<${Run} run=${run} onEnd=${() => post('/api/data/transformations/cancel', { run }).catch(toastError)} />`
    : html`<div class="row"><button type="submit" class="button primary">${strings.save}</button>
      <button type="button" class="button" onClick=${preview}><${Icon} name="eye" />${strings.preview}</button>
      <button type="button" class="button" onClick=${execute}><${Icon} name="check" />${strings.run}</button>
      ${kept.name && html`<button type="button" class="button bad" onClick=${remove}><${Icon} name="trash" />${strings.remove}</button>`}</div>`}
    ${rows && html`<section class="stack-tight"><h3>${strings.previewHead}</h3>${rows.length === 0 ? html`<p class="muted">${strings.previewNone}</p>`
    : html`<div class="table-box" tabindex="0" role="region" aria-label=${strings.previewHead}><table class="table" aria-label=${strings.previewHead}><thead><tr>${columns.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
      <tbody>${rows.map((values, at) => html`<tr key=${at}>${columns.map((name) => html`<td key=${name}>${shownOf(typeof values[name] === 'object' && values[name] !== null ? JSON.stringify(values[name]) : values[name]).text}</td>`)}</tr>`)}</tbody></table></div>`}</section>`}
  </form>`;
}

export function Transformations() {
  const list = useLoad(() => get('/api/data/transformations'));
  const known = useLoad(async () => ({ functions: await get('/api/data/transformations/transforms'), tables: (await get('/api/data/tables')).map(({ name }) => name) }));
  const [name, setName] = useState('');
  const [kept, setKept] = useState(null);
  const choose = async (wanted) => {
    setName(wanted);
    try {
      setKept(wanted ? await post('/api/data/transformations/get', { name: wanted }) : {});
    } catch (error) {
      toastError(error);
    }
  };
  const make = html`<button type="button" class="button primary" onClick=${() => choose('')}><${Icon} name="plus" />${strings.new}</button>`;
  return html`<${Loaded} from=${list}>${(all) => html`<${Loaded} from=${known}>${({ functions, tables }) => {
    const editor = kept && html`<div class="card"><${Editor} key=${`${name}:${kept.name ?? ''}`} kept=${kept} functions=${functions} tables=${tables} onSaved=${(saved) => list.again().then(() => choose(saved))}
      onRemoved=${() => { setKept(null); setName(''); list.again(); }} /></div>`;
    if (all.length === 0) return editor ?? html`<${Empty} title=${strings.none} text=${strings.noneText}>${make}<//>`;
    return html`<${SplitPane} name="transformations" initial=${22} min=${12} max=${40}
      left=${html`<nav class="stack-tight" aria-label=${strings.list}>${make}<ul class="table-list">${all.map((one) => html`<li key=${one.name}><button type="button" class="table-link" aria-current=${one.name === name ? 'true' : undefined} onClick=${() => choose(one.name)}>
        <span class="cut">${one.name}</span><span class="badge">${strings.count(one.field_count)}</span></button></li>`)}</ul></nav>`}
      right=${editor ?? html`<${Empty} title=${strings.list} text=${strings.noneText} />`} />`;
  }}<//>`}<//>`;
}
