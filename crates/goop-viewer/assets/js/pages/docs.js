// Docs: the user guide, and a reference of the API made from what the peer itself says about it.

import { get, getText } from '../api.js';
import { rename } from '../navigate.js';
import { Contents } from '../components/contents.js';
import { Markdown, headings } from '../components/markdown.js';
import { mount, useLoad } from '../components/mount.js';
import { SplitPane } from '../components/split-pane.js';
import { Empty, Loaded } from '../components/states.js';
import { Tabs } from '../components/tabs.js';
import { html, useMemo, useState } from '../../vendor/ui.js';

export const title = 'Docs';
export const broad = true;
export const alone = true;

const strings = {
  heading: 'Docs',
  tabs: [{ id: 'guide', text: 'User guide', icon: 'docs' }, { id: 'api', text: 'API reference', icon: 'key' }],
  tabsLabel: 'Documents',
  contents: 'Contents',
  search: 'Search in the API',
  nothing: 'Nothing of that in the API',
  nothingText: 'Try a part of a path or of a description.',
  parameters: 'Parameters',
  body: 'Body',
  answers: 'Answers',
  columns: ['Name', 'Where', 'Type', 'Meaning'],
  fields: ['Field', 'Type', 'Meaning'],
  required: 'required',
  others: 'Others',
  any: 'any',
  meanings: { 200: 'done', 201: 'made', 202: 'begun', 204: 'done, nothing to say', 302: 'leads elsewhere', 304: 'unchanged', 400: 'not understood', 401: 'owner only', 404: 'there is none', 409: 'something else is there', 413: 'too large', 500: 'failed here', 502: 'failed at the other peer' },
};

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** What a schema means in a few words. */
function typeOf(schema) {
  if (!schema) return strings.any;
  if (schema.$ref) return schema.$ref.split('/').at(-1);
  const one = schema.oneOf ?? schema.anyOf;
  if (one) return one.map(typeOf).join(' or ');
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' or ');
  const type = [schema.type ?? strings.any].flat().filter((name) => name !== 'null').join(' or ');
  return type === 'array' ? `list of ${typeOf(schema.items)}` : type;
}

/** The fields of a schema, references followed. */
function fieldsOf(schema, document) {
  const name = schema?.$ref?.split('/').at(-1);
  const real = name ? document.components?.schemas?.[name] : schema?.type === 'array' ? schema.items : schema;
  if (real?.$ref) return fieldsOf(real, document);
  return Object.entries(real?.properties ?? {}).map(([field, value]) => ({ field, type: typeOf(value), text: value.description ?? '', required: real.required?.includes(field) }));
}

const schemaIn = (content) => Object.values(content ?? {})[0]?.schema;

/** All operations by their tag. */
function groups(document) {
  const byTag = new Map((document.tags ?? []).map((tag) => [tag.name, { name: tag.name, text: tag.description ?? '', operations: [] }]));
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const method of METHODS.filter((name) => item[name])) {
      const operation = item[method];
      const tag = operation.tags?.[0] ?? strings.others;
      if (!byTag.has(tag)) byTag.set(tag, { name: tag, text: '', operations: [] });
      byTag.get(tag).operations.push({ path, method, operation, words: `${method} ${path} ${operation.summary ?? ''} ${operation.description ?? ''}`.toLowerCase() });
    }
  }
  return [...byTag.values()].filter((group) => group.operations.length > 0);
}

const Fields = ({ name, list }) => list.length > 0 && html`<h4>${name}</h4><div class="table-box" tabindex="0" role="region" aria-label=${name}><table class="table">
  <thead><tr>${strings.fields.map((text) => html`<th key=${text} scope="col">${text}</th>`)}</tr></thead>
  <tbody>${list.map(({ field, type, text, required }) => html`<tr key=${field}><th scope="row"><code>${field}</code></th><td>${type}${required && `, ${strings.required}`}</td><td>${text}</td></tr>`)}</tbody></table></div>`;

function Operation({ path, method, operation, document }) {
  const body = schemaIn(operation.requestBody?.content);
  const parameters = (operation.parameters ?? []).map((parameter) => ({
    field: parameter.name, type: `${typeOf(parameter.schema)}, in the ${parameter.in}`, text: parameter.description ?? '', required: parameter.required,
  }));
  const answer = schemaIn(operation.responses?.[200]?.content);
  return html`<details class="operation"><summary><span class="method" data-method=${method}>${method.toUpperCase()}</span> <code>${path}</code> <span class="operation-words">${operation.summary ?? ''}</span></summary>
    <div class="stack-tight">
      ${operation.description && operation.description !== operation.summary && html`<p>${operation.description}</p>`}
      <${Fields} name=${strings.parameters} list=${parameters} />
      <${Fields} name=${`${strings.body}: ${typeOf(body)}`} list=${fieldsOf(body, document)} />
      <h4>${strings.answers}</h4>
      <ul class="answers">${Object.entries(operation.responses ?? {}).map(([status, response]) => html`<li key=${status}><code>${status}</code> ${response.description || strings.meanings[status] || ''}</li>`)}</ul>
      <${Fields} name=${typeOf(answer)} list=${fieldsOf(answer, document)} />
    </div></details>`;
}

function Guide({ text }) {
  const list = useMemo(() => headings(text), [text]);
  return html`<${SplitPane} name="docs" initial=${24} min=${14} max=${45} left=${html`<${Contents} list=${list} label=${strings.contents} />`}
    right=${html`<article class="card"><${Markdown} text=${text} /></article>`} />`;
}

function Reference({ document: api }) {
  const [text, setText] = useState('');
  const all = useMemo(() => groups(api), [api]);
  const wanted = text.trim().toLowerCase();
  const found = all.map((group) => ({ ...group, operations: group.operations.filter(({ words }) => words.includes(wanted)) })).filter((group) => group.operations.length > 0);
  const list = found.map(({ name }) => ({ id: `api-${name}`, text: name, depth: 2 }));
  return html`<${SplitPane} name="docs" initial=${24} min=${14} max=${45} left=${html`<${Contents} list=${list} label=${strings.contents} />`}
    right=${html`<article class="card stack">
      <div><h2>${api.info?.title}</h2><p class="muted">${api.info?.description}</p></div>
      <input class="search" type="search" placeholder=${strings.search} aria-label=${strings.search} value=${text} onInput=${(event) => setText(event.currentTarget.value)} />
      ${found.length === 0 && html`<${Empty} title=${strings.nothing} text=${strings.nothingText} />`}
      ${found.map(({ name, text: words, operations }) => html`<section key=${name} id=${`api-${name}`} class="stack-tight"><h3>${name}</h3><p class="small muted">${words}</p>
        ${operations.map((one) => html`<${Operation} key=${one.method + one.path} ...${one} document=${api} />`)}</section>`)}
    </article>`} />`;
}

function Docs({ first }) {
  const [tab, setTab] = useState(first);
  const guide = useLoad(() => getText('/assets/docs/user-guide.md'));
  const api = useLoad(() => get('/api/openapi.json'));
  const choose = (id) => {
    rename(id === 'guide' ? '/docs' : `/docs?tab=${id}`);
    setTab(id);
    scrollTo(0, 0);
  };
  return html`<div class="stack">
    <h1>${strings.heading}</h1>
    <${Tabs} label=${strings.tabsLabel} tabs=${strings.tabs} current=${tab} onSelect=${choose} />
    <div id=${`panel-${tab}`} role="tabpanel" aria-labelledby=${`tab-${tab}`}>
      ${tab === 'guide'
    ? html`<${Loaded} key="guide" from=${guide}>${(text) => html`<${Guide} text=${text} />`}<//>`
    : html`<${Loaded} key="api" from=${api}>${(document) => html`<${Reference} document=${document} />`}<//>`}
    </div>
  </div>`;
}

export const show = (main, { query }) => mount(main, html`<${Docs} first=${query.get('tab') === 'api' ? 'api' : 'guide'} />`);
