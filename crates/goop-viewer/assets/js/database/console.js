// The owner's own statements. They only read: rows are changed in the grid and tables in the designer, where it can be taken back.
// Offers: Console.

import { post } from '../api.js';
import { Failure } from '../components/states.js';
import { Table } from '../components/table.js';
import { shownOf } from './cells.js';
import { html, useEffect, useState } from '../../vendor/ui.js';

const strings = {
  statement: 'Statement',
  hint: 'One statement of SQL that reads, also the tables of the program. Nothing is ever changed here.',
  run: 'Run',
  running: 'Running…',
  keys: 'Ctrl + Enter runs it',
  before: 'Before',
  rows: (n, more, ms) => `${n === 1 ? 'One row' : `${n} rows`}${more ? ', and there are more' : ''} · ${ms} ms`,
  none: 'No row answers.',
  answer: 'Answer',
};

/** Statements that are remembered while the tab lives. */
const MOST = 20;
const kept = { text: "SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name", before: [] };

export function Console() {
  const [text, setText] = useState(kept.text);
  const [state, setState] = useState({ answer: null, error: null, busy: false, ms: 0 });
  useEffect(() => () => { kept.text = text; }, [text]);
  async function run() {
    if (state.busy || !text.trim()) return;
    setState({ ...state, busy: true, error: null });
    const begun = performance.now();
    try {
      const answer = await post('/api/data/console', { sql: text });
      kept.before = [text, ...kept.before.filter((other) => other !== text)].slice(0, MOST);
      setState({ answer, error: null, busy: false, ms: Math.round(performance.now() - begun) });
    } catch (error) {
      setState({ answer: null, error, busy: false, ms: 0 });
    }
  }
  const key = (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    run();
  };
  const { answer } = state;
  // Two columns may have one name, so places name them.
  const columns = answer?.columns.map((name, at) => ({ id: String(at), text: name, value: (row) => row.values[at], cell: (row) => shownOf(row.values[at]).text, number: answer.rows.every((values) => values[at] === null || typeof values[at] === 'number') }));
  return html`<div class="stack">
    <div class="field"><label for="sql">${strings.statement}</label><textarea id="sql" class="code-box" rows="6" spellcheck=${false} aria-describedby="sql-hint" value=${text} onInput=${(event) => setText(event.currentTarget.value)} onKeyDown=${key}></textarea>
      <p id="sql-hint" class="hint">${strings.hint}</p></div>
    <div class="row"><button type="button" class="button primary" aria-disabled=${String(state.busy)} onClick=${run}>${state.busy ? strings.running : strings.run}</button><span class="hint">${strings.keys}</span>
      ${kept.before.length > 0 && html`<select class="button" aria-label=${strings.before} value="" onChange=${(event) => event.currentTarget.value && setText(event.currentTarget.value)}>
        <option value="" selected>${strings.before}</option>${kept.before.map((one) => html`<option key=${one} value=${one}>${one.slice(0, 80)}</option>`)}</select>`}</div>
    ${state.error && html`<${Failure} error=${state.error} />`}
    ${answer && html`<p class="small muted" role="status">${answer.rows.length ? strings.rows(answer.rows.length, answer.more, state.ms) : strings.none}</p>`}
    ${answer?.rows.length > 0 && html`<div class="console-answer"><${Table} label=${strings.answer} columns=${columns} rows=${answer.rows.map((values, at) => ({ at, values }))} keyOf=${({ at }) => at} /></div>`}
  </div>`;
}
