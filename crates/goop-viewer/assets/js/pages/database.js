// The database of the site: tables with their rows and rules, GraphQL, transformations, and the owner's own questions.

import { rename } from '../navigate.js';
import { mount } from '../components/mount.js';
import { Offline } from '../components/states.js';
import { Tabs } from '../components/tabs.js';
import { Console } from '../database/console.js';
import { GraphQl } from '../database/graphql.js';
import { Tables } from '../database/tables.js';
import { Transformations } from '../database/transform.js';
import { html, useState } from '../../vendor/ui.js';

export const title = 'Database';
export const broad = true;
export const alone = true;

const strings = {
  heading: 'Database',
  label: 'Parts of the database',
  tabs: [
    { id: 'tables', text: 'Tables', icon: 'page' }, { id: 'graphql', text: 'GraphQL', icon: 'topology' },
    { id: 'transformations', text: 'Transformations', icon: 'refresh' }, { id: 'console', text: 'SQL', icon: 'code' },
  ],
};

const PARTS = ['rows', 'design', 'access'];

function Database({ query }) {
  const wanted = query.get('view');
  const [view, setView] = useState(strings.tabs.some(({ id }) => id === wanted) ? wanted : 'tables');
  const choose = (id) => {
    rename(id === 'tables' ? '/database' : `/database?view=${id}`);
    setView(id);
  };
  const part = query.get('part');
  return html`<div class="stack database">
    <div class="row spread"><h1>${strings.heading}</h1><${Tabs} label=${strings.label} tabs=${strings.tabs} current=${view} onSelect=${choose} /></div>
    <${Offline} />
    <div id=${`panel-${view}`} role="tabpanel" aria-labelledby=${`tab-${view}`}>
      ${view === 'graphql' ? html`<${GraphQl} />` : view === 'transformations' ? html`<${Transformations} />` : view === 'console' ? html`<${Console} />`
    : html`<${Tables} first=${query.get('table') ?? ''} firstPart=${PARTS.includes(part) ? part : 'rows'} />`}
    </div>
  </div>`;
}

export const show = (main, { query }) => mount(main, html`<${Database} query=${query} />`);
