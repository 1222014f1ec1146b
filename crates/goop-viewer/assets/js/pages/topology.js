// Topology: how this peer is connected, as a drawing and as a table. Drawn anew only when something changed.

import { get } from '../api.js';
import { plain } from '../format.js';
import { serverAlone } from '../session.js';
import { mount, useLive } from '../components/mount.js';
import { StandingLine } from '../components/standing.js';
import { Empty, Loaded, Offline } from '../components/states.js';
import { Subnav } from '../components/subnav.js';
import { Table } from '../components/table.js';
import { Tabs } from '../components/tabs.js';
import { html, useRef, useState } from '../../vendor/ui.js';
import { Drawing, kindText } from './topology-drawing.js';

export const title = 'Topology';
export const broad = true;
export const alone = true;

const strings = {
  heading: 'Topology',
  looks: [{ id: 'drawing', text: 'Drawing', icon: 'topology' }, { id: 'table', text: 'Table', icon: 'logs' }],
  lookLabel: 'How it is shown',
  me: 'ME',
  counts: (online, known) => `${online} connected, ${known} known`,
  countsAlone: (known) => (known === 1 ? 'one peer is there' : `${known} peers are there`),
  relayRuns: 'a relay runs',
  circuit: 'others reach you through a relay',
  columns: { name: 'Name', connection: 'Connection', reachable: 'Answers', addr: 'Address', age: 'For', streams: 'Streams', sealed: 'Sealed', socket: 'WebSocket' },
  none: '–',
  yes: 'yes',
  no: 'no',
  facts: { connection: 'Connection', addr: 'Address', age: 'Connected for', streams: 'Open streams', sealed: 'Sealed messages', reachable: 'Answers', uptime: 'Running for', id: 'Peer id', socket: 'WebSocket' },
  about: 'About this peer',
  aboutServer: 'About this server',
  choose: 'Choose a peer in the drawing to read about it.',
  alone: 'Nobody is known yet',
  aloneText: 'As soon as another peer appears it is drawn here.',
  page: 'Its page',
};

/** Milliseconds between two looks. */
const PAUSE = 10_000;
/** The seconds of an age as the peer says it, such as `1h4m9s`. */
const seconds = (age) => (age ? [...age.matchAll(/(\d+(?:\.\d+)?)(h|m|s)/g)].reduce((sum, [, n, unit]) => sum + Number(n) * { h: 3600, m: 60, s: 1 }[unit], 0) : undefined);
const yesNo = (value) => (value ? strings.yes : strings.no);

function About({ peer, self }) {
  if (!peer && serverAlone) {
    return html`<section class="card stack-tight" aria-label=${strings.aboutServer}><h2 class="few-lines">${self.label}</h2>
      <p class="small muted">${strings.choose}</p></section>`;
  }
  if (!peer) {
    return html`<section class="card stack-tight" aria-label=${strings.about}><h2 class="few-lines">${self.label || strings.me}</h2>
      <dl class="facts"><dt>${strings.facts.uptime}</dt><dd>${self.uptime}</dd><dt>${strings.facts.streams}</dt><dd>${self.streams ?? 0}</dd><dt>${strings.facts.id}</dt><dd class="mono">${self.id}</dd></dl>
      <p class="small muted">${strings.choose}</p></section>`;
  }
  return html`<section class="card stack-tight" aria-label=${strings.about} aria-live="polite"><h2 class="few-lines" title=${peer.label}>${peer.label}</h2>
    <dl class="facts">
      <dt>${strings.facts.connection}</dt><dd>${kindText(peer)}</dd>
      <dt>${strings.facts.reachable}</dt><dd>${yesNo(peer.reachable)}</dd>
      ${peer.addr && html`<dt>${strings.facts.addr}</dt><dd class="mono">${peer.addr}</dd>`}
      ${peer.age && html`<dt>${strings.facts.age}</dt><dd>${peer.age}</dd>`}
      ${serverAlone ? html`<dt>${strings.facts.socket}</dt><dd>${yesNo(peer.ws_connected)}</dd>` : html`<dt>${strings.facts.streams}</dt><dd>${peer.streams}</dd>`}
      <dt>${strings.facts.sealed}</dt><dd>${yesNo(peer.encryption_supported)}</dd>
      <dt>${strings.facts.id}</dt><dd class="mono">${peer.id}</dd>
    </dl>
    ${!serverAlone && html`<p><a class="button" href=${`/peer/${peer.id}`}>${strings.page}</a></p>`}</section>`;
}

/** What a peer is in the table; how long somebody is connected is sorted by its length. */
const columns = [
  { id: 'name', text: strings.columns.name, head: true, value: (peer) => peer.label, cell: (peer) => (serverAlone ? peer.label : html`<a href=${`/peer/${peer.id}`}>${peer.label}</a>`) },
  { id: 'connection', text: strings.columns.connection, value: kindText },
  { id: 'reachable', text: strings.columns.reachable, value: (peer) => yesNo(peer.reachable) },
  { id: 'addr', text: strings.columns.addr, mono: true, value: (peer) => peer.addr, cell: (peer) => peer.addr || strings.none },
  ...(serverAlone ? [{ id: 'socket', text: strings.columns.socket, value: (peer) => yesNo(peer.ws_connected) }] : [
    { id: 'age', text: strings.columns.age, value: (peer) => seconds(peer.age), cell: (peer) => peer.age || strings.none },
    { id: 'streams', text: strings.columns.streams, number: true, value: (peer) => peer.streams ?? 0 },
  ]),
  { id: 'sealed', text: strings.columns.sealed, value: (peer) => yesNo(peer.encryption_supported) },
];

/** Names as they are shown. */
const named = ({ self, relay, peers, ...rest }) => ({
  ...rest, self: { ...self, label: plain(self.label ?? '') }, relay: relay && { ...relay, label: plain(relay.label ?? '') },
  peers: (peers ?? []).map((peer) => ({ ...peer, label: plain(peer.label) || peer.id.slice(0, 8) })),
});

/** What the drawing depends on; ages run on without it. */
const shape = ({ self, relay, peers }) => JSON.stringify([self.id, self.label, self.has_circuit, self.connected_peers, relay,
  (peers ?? []).map(({ id, label, reachable, connection, addr, encryption_supported: sealed }) => [id, label, reachable, connection, addr, sealed])]);

function Topology() {
  const from = useLive(() => get('/api/topology').then(named), PAUSE);
  const [look, setLook] = useState('drawing');
  const [chosen, setChosen] = useState('');
  const drawn = useRef(null);
  if (from.data && (!drawn.current || shape(drawn.current) !== shape(from.data))) drawn.current = from.data;
  return html`<div class="stack">
    <div class="row spread"><h1>${strings.heading}</h1><${Subnav} /></div>
    <${Offline} />
    <${StandingLine} now=${from.data?.standing} />
    <${Loaded} from=${from}>${(data) => {
    const peers = data.peers ?? [];
    const counts = serverAlone ? strings.countsAlone(peers.length) : strings.counts(data.self.connected_peers ?? 0, peers.length);
    const panel = look === 'table' ? html`<${Table} label=${strings.heading} columns=${columns} rows=${peers} keyOf=${(peer) => peer.id} />`
      : html`<div class="topology"><${Drawing} topology=${drawn.current} counts=${counts} chosen=${chosen} onChoose=${setChosen} />
          <${About} peer=${peers.find((peer) => peer.id === chosen)} self=${data.self} /></div>`;
    return html`<div class="stack">
      <div class="row spread"><${Tabs} label=${strings.lookLabel} tabs=${strings.looks} current=${look} onSelect=${setLook} />
        <p class="small muted">${counts}${data.self.has_circuit ? `, ${serverAlone ? strings.relayRuns : strings.circuit}` : ''}</p></div>
      <div id=${`panel-${look}`} role="tabpanel" aria-labelledby=${`tab-${look}`}>
        ${peers.length === 0 && !data.relay ? html`<${Empty} title=${strings.alone} text=${strings.aloneText} />` : panel}</div>
    </div>`;
  }}<//>
  </div>`;
}

export const show = (main) => mount(main, html`<${Topology} />`);
