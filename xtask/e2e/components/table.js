// A table that sorts, with values that are missing, numbers, and names of others.

import { Table } from '/assets/js/components/table.js';
import { html } from '/assets/vendor/ui.js';
import { HEBREW, MARKUP } from './stage.js';

const rows = [{ name: 'Peer 10', size: 9 }, { name: `${MARKUP}`, size: 100 }, { name: 'peer 9', size: undefined }, { name: HEBREW, size: 20 }];
const columns = [{ id: 'name', text: 'Name', head: true, value: (row) => row.name }, { id: 'size', text: 'Size', number: true, value: (row) => row.size, cell: (row) => row.size ?? '–' }];

export const Part = () => html`<${Table} label="Things" columns=${columns} rows=${rows} keyOf=${(row) => row.name} />`;
