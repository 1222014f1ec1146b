// Asking the tables in context in GraphQL: a document, its variables, the answer, and what there is to ask for.
// Offers: GraphQl.

import { get, post } from '../api.js';
import { Icon } from '../components/icon.js';
import { copyText, useLoad } from '../components/mount.js';
import { Empty, Failure, Loaded } from '../components/states.js';
import { html, useEffect, useRef, useState } from '../../vendor/ui.js';

const strings = {
  document: 'Document',
  variables: 'Variables (JSON)',
  operation: 'Operation',
  run: 'Run',
  running: 'Running…',
  keys: 'Ctrl + Enter runs it',
  answer: 'Answer',
  noAnswer: 'The answer appears here.',
  copy: 'Copy',
  copied: 'Answer copied',
  badVariables: (text) => `The variables are no JSON: ${text}`,
  docs: 'What there is',
  search: 'Search in types and fields',
  insert: (name) => `Put ${name} into the document`,
  took: (ms) => `${ms} ms`,
  cut: (names) => `Cut at the limits: ${names}`,
  none: 'No table is shown in GraphQL',
  noneText: 'Open a table’s design and switch “Shown in GraphQL” on.',
  leftOut: (table, reason) => `${table} has no place here: ${reason}.`,
  wide: 'Whole schema',
};

const INTROSPECTION = `{ __schema { queryType { name } mutationType { name } types { kind name description
  fields { name args { name type { ...t } } type { ...t } } inputFields { name type { ...t } } enumValues { name } } } }
fragment t on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;
const kept = { query: '', variables: '' };

/** A type as GraphQL writes it. */
function typeText(type) {
  if (type.kind === 'NON_NULL') return `${typeText(type.ofType)}!`;
  if (type.kind === 'LIST') return `[${typeText(type.ofType)}]`;
  return type.name;
}
const plainType = (type) => (type.ofType ? plainType(type.ofType) : type.name);

/** A document that asks for a field with everything plain of its answer. */
function example(field, types, mutates) {
  const needed = field.args.filter(({ type }) => type.kind === 'NON_NULL');
  const value = ({ type }) => (plainType(type) === 'Int' ? '1' : `{ ${(types.get(plainType(type))?.inputFields ?? []).filter((input) => input.type.kind === 'NON_NULL').map((input) => `${input.name}: ${plainType(input.type) === 'String' ? '""' : '0'}`).join(', ')} }`);
  const args = [...needed.map((arg) => `${arg.name}: ${value(arg)}`), ...(field.args.some(({ name }) => name === 'limit') ? ['limit: 10'] : [])];
  const inner = (types.get(plainType(field.type))?.fields ?? []).map(({ name }) => name).filter((name) => !name.startsWith('_') || name === '_id' || name === 'affected_rows');
  return `${mutates ? 'mutation' : 'query'} {\n  ${field.name}${args.length ? `(${args.join(', ')})` : ''} {\n    ${inner.join('\n    ')}\n  }\n}\n`;
}

function Documentation({ schema, onExample }) {
  const [text, setText] = useState('');
  const wanted = text.trim().toLowerCase();
  const types = new Map(schema.types.map((type) => [type.name, type]));
  const roots = [[schema.queryType?.name, false], [schema.mutationType?.name, true]];
  const others = schema.types.filter(({ name, kind }) => !name.startsWith('__') && kind !== 'SCALAR' && !roots.some(([root]) => root === name));
  const fits = (...words) => words.some((word) => word.toLowerCase().includes(wanted));
  return html`<section class="stack-tight gql-docs"><h2>${strings.docs}</h2>
    <input class="search" type="search" aria-label=${strings.search} placeholder=${strings.search} value=${text} onInput=${(event) => setText(event.currentTarget.value)} />
    <div class="gql-types" tabindex="0" role="region" aria-label=${strings.docs}>
      ${roots.filter(([name]) => types.get(name)).map(([name, mutates]) => html`<details key=${name} open><summary>${name}</summary>
        <ul>${types.get(name).fields.filter((field) => fits(field.name)).map((field) => html`<li key=${field.name}><button type="button" class="link mono" aria-label=${strings.insert(field.name)} onClick=${() => onExample(example(field, types, mutates))}>${field.name}</button>
          <span class="mono muted">${field.args.length ? `(${field.args.map((arg) => `${arg.name}: ${typeText(arg.type)}`).join(', ')})` : ''}: ${typeText(field.type)}</span></li>`)}</ul></details>`)}
      ${others.filter((type) => fits(type.name, ...(type.fields ?? type.inputFields ?? []).map(({ name }) => name))).map((type) => html`<details key=${type.name} open=${wanted !== ''}><summary>${type.name}</summary>
        <ul>${(type.fields ?? type.inputFields ?? type.enumValues ?? []).map((field) => html`<li key=${field.name} class="mono">${field.name}${field.type && html`<span class="muted">: ${typeText(field.type)}</span>`}</li>`)}</ul></details>`)}
    </div></section>`;
}

function Console({ schema, status }) {
  const [query, setQuery] = useState(kept.query || `{\n  ${status.tables[0]}(limit: 10) {\n    _id\n  }\n}\n`);
  const [variables, setVariables] = useState(kept.variables);
  const [state, setState] = useState({ answer: null, error: null, busy: false, ms: 0 });
  const turn = useRef(0);
  useEffect(() => () => { Object.assign(kept, { query, variables }); }, [query, variables]);
  async function run() {
    turn.current += 1;
    const mine = turn.current;
    let given = null;
    try {
      given = variables.trim() ? JSON.parse(variables) : null;
    } catch (error) {
      setState({ ...state, error: new Error(strings.badVariables(error.message)) });
      return;
    }
    setState({ ...state, error: null, busy: true });
    const begun = performance.now();
    try {
      const answer = await post('/api/graphql', { query, variables: given });
      if (mine === turn.current) setState({ answer, error: null, busy: false, ms: Math.round(performance.now() - begun) });
    } catch (error) {
      if (mine === turn.current) setState({ answer: null, error, busy: false, ms: 0 });
    }
  }
  const key = (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    run();
  };
  const text = state.answer ? JSON.stringify(state.answer, null, 2) : '';
  const cut = state.answer?.extensions?.more;
  return html`<div class="gql">
    <div class="stack">
      <div class="field"><label for="gql-query">${strings.document}</label><textarea id="gql-query" class="code-box" rows="14" spellcheck=${false} value=${query} onInput=${(event) => setQuery(event.currentTarget.value)} onKeyDown=${key}></textarea></div>
      <div class="field"><label for="gql-variables">${strings.variables}</label><textarea id="gql-variables" class="code-box" rows="3" spellcheck=${false} value=${variables} onInput=${(event) => setVariables(event.currentTarget.value)} onKeyDown=${key}></textarea></div>
      <div class="row"><button type="button" class="button primary" aria-disabled=${String(state.busy)} onClick=${() => state.busy || run()}>${state.busy ? strings.running : strings.run}</button><span class="hint">${strings.keys}</span></div>
      ${status.left_out?.map(({ table, reason }) => html`<p key=${table} class="note warn">${strings.leftOut(table, reason)}</p>`)}
    </div>
    <section class="stack-tight"><div class="row spread"><h2 id="gql-answer">${strings.answer}</h2>
      <span class="small muted" role="status">${state.answer ? strings.took(state.ms) : ''}${cut ? ` · ${strings.cut(cut.join(', '))}` : ''}</span>
      <button type="button" class="button small" disabled=${!text} onClick=${() => copyText(text, strings.copied)}><${Icon} name="copy" />${strings.copy}</button></div>
      ${state.error && html`<${Failure} error=${state.error} />`}
      <pre class="code-block answer" tabindex="0" role="region" aria-labelledby="gql-answer" data-failed=${Boolean(state.answer?.errors)}><code>${text || strings.noAnswer}</code></pre></section>
    <${Documentation} schema=${schema} onExample=${setQuery} />
  </div>`;
}

export function GraphQl() {
  const found = useLoad(async () => {
    const status = await get('/api/graphql/status');
    if (status.tables.length === 0) return { status };
    const { data } = await post('/api/graphql', { query: INTROSPECTION });
    return { status, schema: data.__schema };
  });
  return html`<${Loaded} from=${found}>${({ status, schema }) => (schema ? html`<${Console} schema=${schema} status=${status} />`
    : html`<${Empty} title=${strings.none} text=${strings.noneText} />`)}<//>`;
}
