// How a table is made: a designer for new ones with the statement that makes them, and what can be changed of one that is there.
// Offers: NewTable, DesignView.

import { post } from '../api.js';
import { Dialog, openDialog } from '../components/dialog.js';
import { Choice, Switch, Text } from '../components/field.js';
import { Icon } from '../components/icon.js';
import { Failure } from '../components/states.js';
import { toast, toastError } from '../components/toast.js';
import { PolicyFields, Rights } from './access.js';
import { isOurs } from './cells.js';
import { html, useEffect, useState } from '../../vendor/ui.js';

const strings = {
  newTable: 'New table',
  name: 'Name of the table',
  nameHint: 'Letters, digits and _, not first a digit or _.',
  columns: 'Columns',
  columnHeads: ['Name', 'Type', 'Key', 'Required', 'Made by itself', 'Default', ''],
  addColumn: 'Add column',
  dropColumn: (name) => `Remove the column ${name || 'without a name'}`,
  field: (place, what) => `Column ${place}: ${what}`,
  options: (n) => (n === 1 ? 'One option' : `${n} options`),
  optionsHead: (name) => `Options of ${name || 'the column'}`,
  optionKey: 'Stored',
  optionLabel: 'Shown',
  addOption: 'Add option',
  dropOption: 'Remove this option',
  done: 'Done',
  noKey: 'No column is the key: rows are told apart by the number that every row has.',
  context: 'Show in GraphQL',
  who: 'Who may do what',
  ddl: 'The statement that makes it',
  sdl: 'What it becomes in GraphQL',
  create: 'Create table',
  created: (name) => `The table ${name} is there`,
  contextOn: 'Shown in GraphQL',
  structure: 'Columns',
  newColumn: 'New column',
  type: 'Type',
  required: 'Required',
  default: 'Default',
  defaultHint: 'What rows have that are there already, and those that say nothing.',
  columnAdded: (name) => `The column ${name} is there`,
  drop: 'Remove',
  dropHead: (name) => `Remove the column ${name}?`,
  dropText: 'Its values in all rows are lost.',
  typeName: (name) => `Type ${name} to go on`,
  rename: 'Rename',
  renamed: 'The table has its new name',
  newName: 'New name',
  dropTable: 'Delete the table',
  dropTableHead: (name) => `Delete the table ${name}?`,
  dropTableText: 'All its rows are lost. An export of the site keeps them.',
  dropped: (name) => `The table ${name} is deleted`,
  ours: 'kept by the peer',
  ddlNone: 'The statement appears here as soon as there is a name and a column.',
};

const TYPES = ['text', 'integer', 'real', 'guid', 'datetime', 'date', 'time', 'enum', 'blob'];
/** Types whose values the peer can make. */
const MADE = ['guid', 'integer', 'datetime', 'date', 'time'];
/** Milliseconds after a change before the statement is asked for. */
const PAUSE = 250;

/** The default that a typed text means. */
function defaultOf(column) {
  if (column.default === undefined || column.default === '') return undefined;
  const number = Number(column.default);
  return (column.type === 'integer' || column.type === 'real') && !Number.isNaN(number) ? number : column.default;
}

/** The schema of what was typed. */
function schemaOf({ name, columns, context, access }) {
  const plain = columns.map((column) => ({
    name: column.name.trim(), type: column.type, ...(column.key && { key: true }), ...(column.required && { required: true }),
    ...(column.auto && MADE.includes(column.type) && { auto: true }), ...(defaultOf(column) !== undefined && { default: defaultOf(column) }),
    ...(column.type === 'enum' && { values: column.values ?? [] }),
  }));
  return { name: name.trim(), columns: plain, context, access, ...(!columns.some(({ key }) => key) && { system_key: true }) };
}

/** What the peer makes of a schema: its statement, and its part of the GraphQL schema. */
function Made({ schema, withSdl }) {
  const [texts, setTexts] = useState({});
  const key = JSON.stringify([schema, withSdl]);
  useEffect(() => {
    let here = true;
    const timer = setTimeout(async () => {
      try {
        if (!schema.name || schema.columns.some(({ name }) => !name)) return setTexts({});
        const { ddl } = await post('/api/data/schemas/ddl', schema);
        const { sdl } = withSdl ? await post('/api/graphql/schema', schema) : {};
        if (here) setTexts({ ddl, sdl });
      } catch {
        // Half a table has no statement.
        if (here) setTexts({});
      }
      return undefined;
    }, PAUSE);
    return () => {
      here = false;
      clearTimeout(timer);
    };
  }, [key]);
  return html`<section class="stack-tight"><h3>${strings.ddl}</h3><pre class="code-block" tabindex="0" role="region" aria-label=${strings.ddl}><code>${texts.ddl ?? strings.ddlNone}</code></pre>
    ${texts.sdl && html`<h3>${strings.sdl}</h3><pre class="code-block" tabindex="0" role="region" aria-label=${strings.sdl}><code>${texts.sdl}</code></pre>`}</section>`;
}

function OptionsDialog({ column, close }) {
  const [values, setValues] = useState(column.values?.length ? column.values : [{ key: '', label: '' }]);
  const set = (at, part) => setValues(values.map((value, other) => (other === at ? { ...value, ...part } : value)));
  return html`<${Dialog} title=${strings.optionsHead(column.name)} keep onClose=${() => close(null)}><div class="stack-tight">
    ${values.map((value, at) => html`<div key=${at} class="row option-row">
      <input class="cell-input" aria-label=${`${strings.optionKey} ${at + 1}`} placeholder=${strings.optionKey} value=${value.key} onInput=${(event) => set(at, { key: event.currentTarget.value })} />
      <input class="cell-input" aria-label=${`${strings.optionLabel} ${at + 1}`} placeholder=${strings.optionLabel} value=${value.label} onInput=${(event) => set(at, { label: event.currentTarget.value })} />
      <button type="button" class="icon-button" aria-label=${`${strings.dropOption} ${at + 1}`} onClick=${() => setValues(values.filter((_, other) => other !== at))}><${Icon} name="trash" /></button></div>`)}
    <div class="row spread"><button type="button" class="button" onClick=${() => setValues([...values, { key: '', label: '' }])}><${Icon} name="plus" />${strings.addOption}</button>
      <button type="button" class="button primary" onClick=${() => close(values.filter(({ key }) => key.trim()).map(({ key, label }) => ({ key: key.trim(), label: label.trim() || key.trim() })))}>${strings.done}</button></div>
  </div><//>`;
}

/** Names of columns keep their place while others go. */
let next = 0;
const blank = (part = {}) => {
  next += 1;
  return { id: next, name: '', type: 'text', key: false, required: false, auto: false, default: '', ...part };
};

function ColumnRows({ columns, onChange }) {
  const set = (id, part) => onChange(columns.map((column) => (column.id === id ? { ...column, ...part } : column)));
  const options = async (column) => {
    const values = await openDialog((close) => html`<${OptionsDialog} column=${column} close=${close} />`);
    if (values) set(column.id, { values });
  };
  const box = (column, place, what, key, disabled = false) => html`<input type="checkbox" class="box" aria-label=${strings.field(place, what)} checked=${Boolean(column[key])} disabled=${disabled} onChange=${(event) => set(column.id, { [key]: event.currentTarget.checked })} />`;
  return html`<div class="table-box" tabindex="0" role="region" aria-label=${strings.columns}><table class="table designer" aria-label=${strings.columns}>
    <thead><tr>${strings.columnHeads.map((text, at) => html`<th key=${at} scope="col">${text || html`<span class="hidden">${strings.drop}</span>`}</th>`)}</tr></thead>
    <tbody>${columns.map((column, at) => {
    const [name, type, key, required, auto, fallback] = strings.columnHeads;
    return html`<tr key=${column.id}>
      <td><input class="cell-input" aria-label=${strings.field(at + 1, name)} maxlength="64" spellcheck=${false} value=${column.name} onInput=${(event) => set(column.id, { name: event.currentTarget.value })} /></td>
      <td><div class="row"><select class="cell-input" aria-label=${strings.field(at + 1, type)} value=${column.type} onChange=${(event) => set(column.id, { type: event.currentTarget.value, auto: column.auto && MADE.includes(event.currentTarget.value) })}>
        ${TYPES.map((word) => html`<option key=${word} value=${word} selected=${word === column.type}>${word}</option>`)}</select>
        ${column.type === 'enum' && html`<button type="button" class="button small" onClick=${() => options(column)}>${strings.options(column.values?.length ?? 0)}</button>`}</div></td>
      <td>${box(column, at + 1, key, 'key')}</td><td>${box(column, at + 1, required, 'required')}</td><td>${box(column, at + 1, auto, 'auto', !MADE.includes(column.type))}</td>
      <td><input class="cell-input" aria-label=${strings.field(at + 1, fallback)} value=${column.default} onInput=${(event) => set(column.id, { default: event.currentTarget.value })} /></td>
      <td><button type="button" class="icon-button" aria-label=${strings.dropColumn(column.name)} disabled=${columns.length === 1} onClick=${() => onChange(columns.filter(({ id }) => id !== column.id))}><${Icon} name="trash" /></button></td></tr>`;
  })}</tbody></table></div>
  <div class="row"><button type="button" class="button" onClick=${() => onChange([...columns, blank()])}><${Icon} name="plus" />${strings.addColumn}</button>
    ${!columns.some(({ key }) => key) && html`<p class="hint">${strings.noKey}</p>`}</div>`;
}

/** The designer of a table that is not there yet. What was typed stays until the table is made or the page is left. */
export function NewTable({ draft, onDraft, onCreated }) {
  const [first] = useState(() => ({ name: '', columns: [blank({ name: 'title', required: true })], context: false, access: { read: 'open', insert: 'owner', update: 'owner', delete: 'owner' } }));
  const now = draft ?? first;
  const set = (part) => onDraft({ ...now, ...part });
  const [error, setError] = useState(null);
  const schema = schemaOf(now);
  async function create(event) {
    event.preventDefault();
    setError(null);
    try {
      await post('/api/data/schemas/save', schema);
      await post('/api/data/schemas/apply', { name: schema.name });
      toast(strings.created(schema.name), { level: 'success' });
      onDraft(null);
      onCreated(schema.name);
    } catch (problem) {
      setError(problem);
    }
  }
  return html`<form class="stack" onSubmit=${create}>
    <h2>${strings.newTable}</h2>
    <${Text} id="table-name" label=${strings.name} hint=${strings.nameHint} value=${now.name} onChange=${(name) => set({ name })} input=${{ required: true, maxlength: 64, spellcheck: false, autocomplete: 'off' }} />
    <${ColumnRows} columns=${now.columns} onChange=${(columns) => set({ columns })} />
    <${Switch} id="table-context" label=${strings.context} value=${now.context} onChange=${(context) => set({ context })} />
    <section class="stack-tight"><h3>${strings.who}</h3><${PolicyFields} id="new" access=${now.access} onChange=${(access) => set({ access })} /></section>
    ${error && html`<${Failure} error=${error} />`}
    <div class="row"><button type="submit" class="button primary"><${Icon} name="check" />${strings.create}</button></div>
    <${Rights} table=${schema.name} access=${now.access} roles=${{}} />
    <${Made} schema=${schema} withSdl=${now.context} />
  </form>`;
}

/** Asks for a name to be typed before something is lost. */
const typeName = ({ title, text, name, ok }) => openDialog((close) => html`<${TypeName} title=${title} text=${text} name=${name} ok=${ok} close=${close} />`);

function TypeName({ title, text, name, ok, close }) {
  const [typed, setTyped] = useState('');
  return html`<${Dialog} title=${title} keep onClose=${() => close(false)}><form class="stack" onSubmit=${(event) => { event.preventDefault(); if (typed === name) close(true); }}>
    <p>${text}</p>
    <${Text} id="type-name" label=${strings.typeName(name)} value=${typed} onChange=${setTyped} input=${{ autocomplete: 'off', spellcheck: false }} />
    <div class="row dialog-ways"><button type="submit" class="button danger" aria-disabled=${String(typed !== name)}>${ok}</button></div>
  </form><//>`;
}

function AddColumn({ table, onDone }) {
  const [column, setColumn] = useState({ name: '', type: 'text', not_null: false, default: '' });
  const [error, setError] = useState('');
  async function add(event) {
    event.preventDefault();
    try {
      const quoted = column.default !== '' && Number.isNaN(Number(column.default)) ? `'${column.default.replaceAll("'", "''")}'` : column.default;
      await post('/api/data/tables/add-column', { table, column: { ...column, name: column.name.trim(), default: quoted } });
      toast(strings.columnAdded(column.name), { level: 'success' });
      setColumn({ name: '', type: 'text', not_null: false, default: '' });
      onDone();
    } catch (problem) {
      setError(problem.message);
    }
  }
  const set = (part) => {
    setColumn({ ...column, ...part });
    setError('');
  };
  return html`<form class="add-column" onSubmit=${add}>
    <${Text} id="column-name" label=${strings.newColumn} error=${error} value=${column.name} onChange=${(name) => set({ name })} input=${{ required: true, maxlength: 64, spellcheck: false, autocomplete: 'off' }} />
    <${Choice} id="column-type" label=${strings.type} value=${column.type} choices=${TYPES.filter((word) => word !== 'enum').map((word) => [word, word])} onChange=${(type) => set({ type })} />
    <${Text} id="column-default" label=${strings.default} value=${column.default} onChange=${(text) => set({ default: text })} />
    <${Switch} id="column-required" label=${strings.required} value=${column.not_null} onChange=${(on) => set({ not_null: on })} />
    <button type="submit" class="button"><${Icon} name="plus" />${strings.addColumn}</button>
  </form>`;
}

/** What can be changed of a table that is there. */
export function DesignView({ table, info, onChanged, onRenamed }) {
  const [name, setName] = useState(table);
  useEffect(() => setName(table), [table]);
  const act = async (work, said) => {
    try {
      await work();
      toast(said, { level: 'success' });
      return true;
    } catch (error) {
      toastError(error);
      return false;
    }
  };
  const setContext = (context) => post('/api/data/schemas/set-context', { name: table, context }).then(onChanged, toastError);
  const dropColumn = async (column) => {
    if (!await typeName({ title: strings.dropHead(column), text: strings.dropText, name: column, ok: strings.drop })) return;
    if (await act(() => post('/api/data/tables/drop-column', { table, column }), strings.dropHead(column).replace('?', ''))) onChanged();
  };
  const dropTable = async () => {
    if (!await typeName({ title: strings.dropTableHead(table), text: strings.dropTableText, name: table, ok: strings.dropTable })) return;
    if (await act(() => post('/api/data/tables/delete', { table }), strings.dropped(table))) onRenamed('');
  };
  const rename = async (event) => {
    event.preventDefault();
    const to = name.trim();
    if (to !== table && await act(() => post('/api/data/tables/rename', { old_name: table, new_name: to }), strings.renamed)) onRenamed(to);
  };
  return html`<div class="stack">
    ${info.schema && html`<${Switch} id="context" label=${strings.contextOn} value=${Boolean(info.schema.context)} onChange=${setContext} />`}
    <section class="stack-tight"><h3>${strings.structure}</h3>
      <ul class="column-list">${info.columns.map((column) => html`<li key=${column.name} class="row spread"><span class="row"><strong>${column.name}</strong><span class="muted">${column.type}</span>
        ${['key', 'required', 'auto'].filter((word) => column[word]).map((word) => html`<span key=${word} class="badge">${word}</span>`)}</span>
        ${isOurs(column.name) ? html`<span class="small muted">${strings.ours}</span>` : html`<button type="button" class="icon-button" aria-label=${strings.dropColumn(column.name)} onClick=${() => dropColumn(column.name)}><${Icon} name="trash" /></button>`}</li>`)}</ul>
      <${AddColumn} table=${table} onDone=${onChanged} /></section>
    ${info.schema && html`<${Made} schema=${info.schema} withSdl=${Boolean(info.schema.context)} />`}
    <form class="row end" onSubmit=${rename}><${Text} id="rename" label=${strings.newName} value=${name} onChange=${setName} input=${{ maxlength: 64, spellcheck: false, autocomplete: 'off' }} />
      <button type="submit" class="button">${strings.rename}</button></form>
    <div class="row"><button type="button" class="button bad" onClick=${dropTable}><${Icon} name="trash" />${strings.dropTable}</button></div>
  </div>`;
}
