// Two versions of one file side by side, and what to do with them. Neither is lost until somebody chose, and the choice can
// be taken back.

import { toast } from '../components/toast.js';
import { html, useEffect, useMemo, useRef, useState } from '../../vendor/ui.js';
import { focusCode } from './code.js';
import { folded, pairs } from './diff.js';
import { keepBoth, keepMine, open, saveCopy, takeTheirs } from './documents.js';
import { offer } from './notice.js';
import { nameOf } from './paths.js';

const strings = {
  title: (name) => `Two versions of ${name}`,
  text: 'Another tab or program saved this file after you opened it. Nothing was overwritten.',
  goneTitle: (name) => `${name} was deleted`,
  goneText: 'The file is not on the disk any more. What you wrote is still here.',
  binaryText: 'The file on the disk is no text any more. What you wrote is still here.',
  lines: 'Both versions, line by line',
  mine: 'Yours, not saved',
  theirs: 'On the disk',
  mineSign: 'yours',
  theirsSign: 'on the disk',
  keepMine: 'Keep mine',
  takeTheirs: 'Take theirs',
  keepBoth: 'Keep both',
  bothHint: 'Keep both makes yours a second file beside this one.',
  create: 'Save mine again',
  letGo: 'Close without saving',
  later: 'Decide later',
  skipped: (n) => `Show ${n} lines that are the same`,
  more: (n) => `Show ${n} more lines`,
  keptMine: (name) => `${name}: your version is on the disk now.`,
  keepTheirs: 'Keep theirs as a copy',
  tookTheirs: (name) => `${name}: the version of the disk is shown. Undo in the text brings yours back.`,
  both: (name) => `Yours is ${name} now.`,
  copy: (stem, n) => (n === 1 ? `${stem} their version` : `${stem} their version ${n}`),
};

/** Rows that are drawn before somebody asks for more. */
const ROWS = 1500;

function Side({ name, sign, line, other }) {
  if (!line) return html`<td class="ed-line-number"></td><td class="ed-line" data-side=${name} data-kind="none"></td>`;
  return html`
    <td class="ed-line-number">${line.number}</td>
    <td class="ed-line" data-side=${name} data-kind=${other ? 'same' : 'own'}>${!other && html`<span class="hidden">${sign}: </span>`}${line.text || '\u00a0'}</td>`;
}

function Rows({ rows, limit }) {
  const [shown, unfold] = useState(new Set());
  return rows.slice(0, limit).flatMap((row, index) => {
    if (!row.skipped) return [html`<${Pair} key=${index} row=${row} />`];
    if (shown.has(index)) return row.rows.map((inside, step) => html`<${Pair} key=${`${index}-${step}`} row=${inside} />`);
    return [html`<tr key=${index}><td class="ed-skipped" colspan="4">
      <button type="button" class="button quiet" onClick=${() => unfold(new Set([...shown, index]))}>${strings.skipped(row.skipped)}</button></td></tr>`];
  });
}

const Pair = ({ row }) => html`
  <tr><${Side} name="mine" sign=${strings.mineSign} line=${row.mine} other=${row.same} />
    <${Side} name="theirs" sign=${strings.theirsSign} line=${row.theirs} other=${row.same} /></tr>`;

/** Both versions of `doc`, which has a conflict. `mine` is its text. */
export function Conflict({ doc }) {
  const { content, gone, binary } = doc.conflict.value;
  const name = nameOf(doc.path.value);
  const heading = useRef(null);
  const [limit, setLimit] = useState(ROWS);
  const mine = doc.state.doc;
  const rows = useMemo(() => folded(pairs(mine.toString(), content.replaceAll('\r\n', '\n'))), [mine, content]);
  useEffect(() => heading.current.focus(), [content]);

  const later = () => {
    doc.comparing.value = false;
    focusCode();
  };
  async function mineWins() {
    if (!await keepMine(doc)) return;
    focusCode();
    if (gone || binary) return;
    offer(strings.keptMine(name), strings.keepTheirs, async () => { await open(await saveCopy(doc.path.value, content, strings.copy)); });
  }
  function theirsWins() {
    takeTheirs(doc);
    if (gone) return;
    focusCode();
    toast(strings.tookTheirs(name));
  }
  async function bothStay() {
    try {
      const path = await keepBoth(doc);
      if (!path) return;
      await open(path);
      focusCode();
      toast(strings.both(nameOf(path)));
    } catch (error) {
      doc.problem.value = error.message;
    }
  }
  const busy = doc.saving.value;
  const button = (text, act, kind = '') => html`<button type="button" class=${`button ${kind}`} aria-disabled=${String(busy)} onClick=${() => busy || act()}>${text}</button>`;

  return html`
    <section class="ed-conflict" data-testid="conflict" aria-labelledby="conflict-title" onKeyDown=${(event) => { if (event.key === 'Escape') later(); }}>
      <div class="ed-conflict-head stack">
        <h2 id="conflict-title" tabindex="-1" ref=${heading}>${gone ? strings.goneTitle(name) : strings.title(name)}</h2>
        <p>${gone ? strings.goneText : binary ? strings.binaryText : strings.text}</p>
        ${doc.problem.value && html`<p class="ask-problem" role="alert">${doc.problem.value}</p>`}
        <div class="row">
          ${button(gone ? strings.create : strings.keepMine, mineWins, 'primary')}
          ${!binary && button(gone ? strings.letGo : strings.takeTheirs, theirsWins, gone ? 'bad' : '')}
          ${!gone && button(strings.keepBoth, bothStay)}
          ${button(strings.later, later, 'quiet')}
        </div>
        ${!gone && html`<p class="small muted">${strings.bothHint}</p>`}
      </div>
      <div class="ed-diff" tabindex="0" role="region" aria-label=${strings.lines}>
        <table>
          <colgroup><col class="ed-diff-number" /><col /><col class="ed-diff-number" /><col /></colgroup>
          <thead><tr><th scope="col" colspan="2">${strings.mine}</th><th scope="col" colspan="2">${strings.theirs}</th></tr></thead>
          <tbody><${Rows} rows=${rows} limit=${limit} /></tbody>
        </table>
        ${rows.length > limit && html`<button type="button" class="button" onClick=${() => setLimit(limit + ROWS)}>${strings.more(Math.min(ROWS, rows.length - limit))}</button>`}
      </div>
    </section>`;
}
