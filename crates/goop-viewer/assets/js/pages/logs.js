// Logs: what the program says, followed until you scroll up.
//
// One stream brings the kept lines, the new ones, and at its start whether details are logged. A stream that broke off goes on
// after the last line that came.

import { get, post } from '../api.js';
import { Icon } from '../components/icon.js';
import { Subnav } from '../components/subnav.js';
import { copyText, memo, mount } from '../components/mount.js';
import { Empty, Failure, Offline } from '../components/states.js';
import { toastError } from '../components/toast.js';
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from '../../vendor/ui.js';

export const title = 'Logs';
export const broad = true;
export const alone = true;

const strings = {
  heading: 'Logs',
  columns: ['Time', 'Level', 'Area', 'Text'],
  filter: 'Filter',
  level: 'Least level',
  levels: [['error', 'Errors only'], ['warn', 'Warnings and errors'], ['info', 'Normal'], ['debug', 'With details'], ['trace', 'Everything']],
  area: 'Area',
  anyArea: 'Every area',
  verbose: 'Network details',
  copy: 'Copy',
  copied: (n) => (n === 1 ? 'One line copied' : `${n} lines copied`),
  follow: 'To the newest line',
  nothing: 'No line matches',
  nothingText: 'Try another level, another area or fewer words.',
};

/** Lines that are kept. */
const MAX_LINES = 2000;
/** How near to the end, in pixels, counts as the end. */
const NEAR = 40;
const LEVELS = strings.levels.map(([level]) => level);

let number = 0;
const numbered = (line) => {
  number += 1;
  return { ...line, number, time: new Date(line.ts).toLocaleTimeString(undefined, { hour12: false }) };
};

/** The lines, live. Many at once are shown with one drawing. */
function useLines() {
  const [lines, setLines] = useState([]);
  const [error, setError] = useState(null);
  const [turn, setTurn] = useState(0);
  const [verbose, setVerbose] = useState(null);
  useEffect(() => {
    let waiting = [];
    let timer = 0;
    setLines([]);
    const source = new EventSource('/api/logs/stream?all=true');
    const drain = () => {
      timer = 0;
      const fresh = waiting.map(numbered);
      waiting = [];
      setLines((old) => [...old, ...fresh].slice(-MAX_LINES));
    };
    source.addEventListener('open', () => setError(null));
    source.addEventListener('verbose', ({ data }) => setVerbose(JSON.parse(data).on));
    // A server that refused says why to who asks in another way; one that is gone is asked again by the browser.
    source.addEventListener('error', () => source.readyState === EventSource.CLOSED && get('/api/logs').then(() => setTurn(turn + 1), setError));
    source.addEventListener('message', ({ data }) => {
      waiting.push(JSON.parse(data));
      timer ||= setTimeout(drain, 50);
    });
    return () => {
      clearTimeout(timer);
      source.close();
    };
  }, [turn]);
  return { lines, error, verbose, setVerbose, again: () => setTurn(turn + 1) };
}

const Line = memo(({ line }) => html`<tr data-level=${line.level}><td>${line.time}</td><td>${line.level}</td><td>${line.area}</td><td>${line.msg}</td></tr>`);

/** The box with the lines; stays at the end while it is there. */
function Lines({ lines, follow }) {
  const box = useRef(null);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines]);
  useEffect(() => {
    if (follow) box.current.scrollTop = box.current.scrollHeight;
  }, [follow]);
  const look = () => {
    const { scrollHeight, scrollTop, clientHeight } = box.current;
    atEnd.current = scrollHeight - scrollTop - clientHeight < NEAR;
  };
  return html`<div class="log" tabindex="0" role="region" aria-label=${strings.heading} ref=${box} onScroll=${look}>
    <table><thead><tr>${strings.columns.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
      <tbody>${lines.map((line) => html`<${Line} key=${line.number} line=${line} />`)}</tbody></table>
  </div>`;
}

/** Whether details are logged; nobody knows before the stream said so. */
function Verbose({ on, onChange }) {
  const set = (wanted) => post('/api/logs/verbose', { on: wanted }).then(() => onChange(wanted), toastError);
  return html`<label class="switch"><input type="checkbox" role="switch" checked=${Boolean(on)} disabled=${on === null} onChange=${(event) => set(event.currentTarget.checked)} /><span>${strings.verbose}</span></label>`;
}

function Logs() {
  const { lines, error, verbose, setVerbose, again } = useLines();
  const [text, setText] = useState('');
  const [level, setLevel] = useState('info');
  const [area, setArea] = useState('');
  const [follow, setFollow] = useState(0);
  const areas = useMemo(() => [...new Set([...lines.map((line) => line.area), area])].filter(Boolean).sort(), [lines, area]);
  const shown = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    return lines.filter((line) => LEVELS.indexOf(line.level) <= LEVELS.indexOf(level) && (!area || line.area === area)
      && `${line.time} ${line.level} ${line.area} ${line.msg}`.toLowerCase().includes(wanted));
  }, [lines, text, level, area]);
  const copy = () => copyText(shown.map((line) => [line.ts, line.level, line.area, line.msg].join('\t')).join('\n'), strings.copied(shown.length));
  return html`<div class="stack">
    <div class="row spread"><h1>${strings.heading}</h1><${Subnav} /></div>
    <${Offline} />
    <div class="row tools">
      <input class="search" type="search" placeholder=${strings.filter} aria-label=${strings.filter} value=${text} onInput=${(event) => setText(event.currentTarget.value)} />
      <select class="button" aria-label=${strings.level} value=${level} onChange=${(event) => setLevel(event.currentTarget.value)}>
        ${strings.levels.map(([value, name]) => html`<option key=${value} value=${value} selected=${value === level}>${name}</option>`)}</select>
      <select class="button" aria-label=${strings.area} value=${area} onChange=${(event) => setArea(event.currentTarget.value)}>
        <option value="">${strings.anyArea}</option>${areas.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select>
      <${Verbose} on=${verbose} onChange=${setVerbose} />
      <button type="button" class="button" onClick=${() => setFollow(follow + 1)}>${strings.follow}</button>
      <button type="button" class="button" onClick=${copy}><${Icon} name="copy" />${strings.copy}</button>
    </div>
    ${error && html`<${Failure} error=${error} again=${again} />`}
    ${lines.length > 0 && shown.length === 0 ? html`<div class="log nothing"><${Empty} title=${strings.nothing} text=${strings.nothingText} /></div>` : html`<${Lines} lines=${shown} follow=${follow} />`}
  </div>`;
}

export const show = (main) => mount(main, html`<${Logs} />`);
