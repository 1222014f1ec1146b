// The tables of the site: a list, and the chosen one with its rows, its design and its access.
// Offers: Tables.

import { get, post } from '../api.js';
import { rename } from '../navigate.js';
import { Icon } from '../components/icon.js';
import { useLoad } from '../components/mount.js';
import { SplitPane } from '../components/split-pane.js';
import { Empty, Loaded } from '../components/states.js';
import { Tabs } from '../components/tabs.js';
import { AccessView } from './access.js';
import { DataView } from './data.js';
import { DesignView, NewTable } from './design.js';
import { html, useMemo, useState } from '../../vendor/ui.js';

const strings = {
  list: 'Tables',
  newTable: 'New table',
  none: 'No tables yet',
  noneText: 'A table holds what your site collects: guests, scores, orders. Make the first one, or apply a template.',
  choose: 'Choose a table',
  chooseText: 'Its rows, its columns and who may do what with it appear here.',
  parts: [{ id: 'rows', text: 'Rows', icon: 'page' }, { id: 'design', text: 'Design', icon: 'edit' }, { id: 'access', text: 'Access', icon: 'key' }],
  partsLabel: 'What is shown of the table',
  classic: 'without schema',
  policy: { open: 'all add', group: 'group', owner: 'owner', local: 'local', public: 'all add' },
  gone: (name) => `There is no table ${name} any more.`,
};

/** System columns of a table with a schema, which its schema does not name. */
const SYSTEM = [
  { name: '_id', type: 'integer', readonly: true }, { name: '_owner', type: 'text', readonly: true }, { name: '_owner_email', type: 'text', readonly: true },
  { name: '_created_at', type: 'datetime', readonly: true }, { name: '_updated_at', type: 'datetime', readonly: true },
];

/** A column's type as the grid has it, of what SQLite calls it. */
function plainType(declared) {
  const word = declared.toUpperCase();
  if (word.includes('INT')) return 'integer';
  if (/REAL|FLOA|DOUB/.test(word)) return 'real';
  if (word === 'DATE') return 'date';
  if (word === 'TIME') return 'time';
  return word === 'DATETIME' || word === 'TIMESTAMP' ? 'datetime' : 'text';
}

/** Columns and schema of a table. */
async function describe(table, policy) {
  const found = await post('/api/data/tables/describe', { table });
  if (found.mode === 'orm') return { schema: found.schema, columns: [...SYSTEM, ...found.schema.columns], policy };
  if (!found.columns) throw new Error(strings.gone(table));
  const columns = found.columns.map(({ name, type, not_null, pk, default: fallback }) => ({ name, type: plainType(type), required: not_null, readonly: pk || name.startsWith('_'), ...(fallback !== null && { default: fallback }) }));
  return { schema: null, columns, policy };
}

function Chosen({ table, policy, part, onPart, onListChanged, onRenamed }) {
  const info = useLoad(() => describe(table, policy), [table, policy]);
  const changed = () => {
    info.again();
    onListChanged();
  };
  return html`<div class="stack"><div class="row spread"><h2 class="cut">${table}</h2>
    <${Tabs} label=${strings.partsLabel} tabs=${strings.parts} current=${part} onSelect=${onPart} panel="table-part" /></div>
    <div id="table-part" role="tabpanel" aria-labelledby=${`tab-${part}`}>
      <${Loaded} from=${info}>${(known) => (part === 'rows' ? html`<${DataView} key=${table} table=${table} columns=${known.columns} />`
    : part === 'design' ? html`<${DesignView} table=${table} info=${known} onChanged=${changed} onRenamed=${onRenamed} />`
      : html`<${AccessView} table=${table} info=${known} onSaved=${changed} />`)}<//>
    </div></div>`;
}

/** What is typed of a new table outlives a look at another one. */
let draft = null;

export function Tables({ first, firstPart }) {
  const list = useLoad(() => get('/api/data/tables'));
  const [table, setTable] = useState(first);
  const [making, setMaking] = useState(false);
  const [part, setPart] = useState(firstPart);
  const [typed, setTyped] = useState(draft);
  const keep = (next) => {
    draft = next;
    setTyped(next);
  };
  function choose(name, toPart = part) {
    setMaking(false);
    setTable(name);
    setPart(toPart);
    rename(name ? `/database?table=${encodeURIComponent(name)}${toPart === 'rows' ? '' : `&part=${toPart}`}` : '/database');
  }
  const came = (name, toPart) => list.again().then(() => choose(name, toPart));
  const known = useMemo(() => list.data?.find(({ name }) => name === table), [list.data, table]);
  const make = html`<button type="button" class="button primary" onClick=${() => setMaking(true)}><${Icon} name="plus" />${strings.newTable}</button>`;
  return html`<${Loaded} from=${list}>${(tables) => {
    const right = making ? html`<${NewTable} draft=${typed} onDraft=${keep} onCreated=${(name) => came(name, 'rows')} />`
      : known ? html`<${Chosen} key=${table} table=${table} policy=${known.insert_policy} part=${part} onPart=${(id) => choose(table, id)} onListChanged=${list.again} onRenamed=${(name) => came(name, name ? part : 'rows')} />`
        : tables.length ? html`<${Empty} title=${strings.choose} text=${strings.chooseText} />`
          : html`<${Empty} title=${strings.none} text=${strings.noneText}>${make}<//>`;
    if (tables.length === 0) return right;
    return html`<${SplitPane} name="database" initial=${20} min=${12} max=${40}
      left=${html`<nav class="stack-tight" aria-label=${strings.list}>${make}
        <ul class="table-list">${tables.map(({ name, insert_policy: policy, mode }) => html`<li key=${name}><button type="button" class="table-link" aria-current=${name === table && !making ? 'true' : undefined} onClick=${() => choose(name)}>
          <span class="cut">${name}</span><span class="badge">${mode === 'classic' ? strings.classic : strings.policy[policy] ?? policy}</span></button></li>`)}</ul></nav>`}
      right=${html`<div class="card">${right}</div>`} />`;
  }}<//>`;
}
