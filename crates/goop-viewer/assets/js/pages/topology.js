// Topology: how this peer is connected, as a drawing and as a table. Drawn anew only when something changed.

import { get } from '../api.js';
import { listen } from '../events.js';
import { plain } from '../format.js';
import { Icon } from '../components/icon.js';
import { memo, mount, useLoad } from '../components/mount.js';
import { Empty, Loaded, Offline } from '../components/states.js';
import { Subnav } from '../components/subnav.js';
import { Tabs } from '../components/tabs.js';
import { html, useEffect, useMemo, useRef, useState } from '../../vendor/ui.js';

export const title = 'Topology';
export const broad = true;
export const alone = true;

const strings = {
  heading: 'Topology',
  looks: [{ id: 'drawing', text: 'Drawing', icon: 'topology' }, { id: 'table', text: 'Table', icon: 'logs' }],
  lookLabel: 'How it is shown',
  me: 'ME',
  counts: (online, known) => `${online} connected, ${known} known`,
  circuit: 'others reach you through a relay',
  noCircuit: 'no circuit',
  relay: 'Relay',
  kinds: { direct: 'direct', relay: 'through a relay', bridge: 'through a bridge', none: 'not connected' },
  lan: 'local network',
  columns: ['Name', 'Connection', 'Answers', 'Address', 'For', 'Streams', 'Sealed'],
  yes: 'yes',
  no: 'no',
  facts: { connection: 'Connection', addr: 'Address', age: 'Connected for', streams: 'Open streams', sealed: 'Sealed messages', reachable: 'Answers', uptime: 'Running for', id: 'Peer id' },
  about: 'About this peer',
  choose: 'Choose a peer in the drawing to read about it.',
  drawing: (counts) => `Drawing of the network: ${counts}. The table says the same in words.`,
  closer: 'Closer',
  farther: 'Farther',
  whole: 'Show all of it',
  more: (n) => `and ${n} more that are not connected; they are in the table`,
  alone: 'Nobody is known yet',
  aloneText: 'As soon as another peer appears it is drawn here.',
  page: 'Its page',
};

/** Milliseconds between two looks, and of rest after an event. */
const PAUSE = 10_000;
const SETTLE = 500;
/** Peers without a connection that are drawn at most. */
const MAX_AWAY = 24;
/** Half of the drawing's side, in units of the drawing. */
const HALF = 420;
/** The same when only connected peers are there. */
const HALF_NEAR = 280;
const MAX_ZOOM = 4;
const MIN_ZOOM = 0.3;

/** A private address: 10/8, 172.16/12, 192.168/16, link-local, loopback, unique local. */
const isLan = (addr) => /^\/ip4\/(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|127\.)|^\/ip6\/(fe80|f[cd]|::1)/i.test(addr);
const kindText = (peer) => (peer.connection === 'direct' && isLan(peer.addr) ? `${strings.kinds.direct}, ${strings.lan}` : strings.kinds[peer.connection] ?? peer.connection);
const yesNo = (value) => (value ? strings.yes : strings.no);
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** Where everybody stands: connected ones on rings around the middle, the others farther out. */
function placed(peers) {
  const near = peers.filter((peer) => peer.connection !== 'none');
  const away = peers.filter((peer) => peer.connection === 'none').slice(0, MAX_AWAY);
  const ring = (list, radius, turn) => list.map((peer, at) => {
    const angle = (at / list.length) * 2 * Math.PI + turn;
    return { peer, x: Math.cos(angle) * radius, y: Math.sin(angle) * radius };
  });
  const first = near.slice(0, 12);
  // Straight up stays free for the relay.
  const half = Math.PI / Math.max(1, first.length);
  return [
    ...ring(first, near.length > 12 ? 150 : 190, -Math.PI / 2 + half),
    ...ring(near.slice(12), 235, -Math.PI / 2 + 0.12),
    ...ring(away, 345, -Math.PI / 2 + 0.2),
  ];
}

const Node = memo(({ peer, x, y, chosen, onChoose }) => html`<g class="node" data-kind=${peer.connection} data-chosen=${chosen} transform=${`translate(${x} ${y})`}
    role="button" tabindex="0" aria-pressed=${String(chosen)} aria-label=${`${cut(peer.label, 18)}, ${kindText(peer)}`} onClick=${() => onChoose(peer.id)}
    onKeyDown=${(event) => (event.key === 'Enter' || event.key === ' ') && (event.preventDefault(), onChoose(peer.id))}>
  <circle r="26" /><image class="face" x="-23" y="-23" width="46" height="46" href=${`/api/avatar/peer/${peer.id}`} />
  ${peer.encryption_supported && html`<g class="seal" transform="translate(17 -17)"><circle r="8" /><path d="M-3 -0.5v-1.5a3 3 0 0 1 6 0v1.5M-4 -0.5h8v5h-8z" /></g>`}
  <text class="name" dy="46">${cut(peer.label, 18)}</text>
</g>`);

/** The drawing; wheel and buttons size it, dragging moves it, a double click shows all of it. */
function DrawingNow({ topology, chosen, onChoose }) {
  const { self, relay } = topology;
  const peers = topology.peers ?? [];
  const nodes = useMemo(() => placed(peers), [topology]);
  const [{ zoom, x, y }, setView] = useState({ zoom: 1, x: 0, y: 0 });
  const half = (nodes.some(({ peer }) => peer.connection === 'none') || nodes.length > 12 ? HALF : HALF_NEAR) / zoom;
  const from = useRef(null);
  const svg = useRef(null);
  const size = (factor) => setView((old) => ({ ...old, zoom: Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, old.zoom * factor)) }));
  useEffect(() => {
    // Only a listener that is not passive may keep the page from scrolling.
    const wheel = (event) => {
      if (!event.ctrlKey && !event.metaKey && document.activeElement !== svg.current && !svg.current.contains(document.activeElement)) return;
      event.preventDefault();
      size(event.deltaY < 0 ? 1.15 : 1 / 1.15);
    };
    svg.current.addEventListener('wheel', wheel, { passive: false });
    return () => svg.current?.removeEventListener('wheel', wheel);
  }, []);
  function drag(event) {
    if (!from.current) return;
    const { width, height } = svg.current.getBoundingClientRect();
    const scale = (2 * half) / Math.min(width, height);
    const { px, py } = from.current;
    from.current = { px: event.clientX, py: event.clientY };
    setView((old) => ({ ...old, x: old.x - (event.clientX - px) * scale, y: old.y - (event.clientY - py) * scale }));
  }
  const known = peers.length;
  const away = peers.filter((peer) => peer.connection === 'none').length - nodes.filter(({ peer }) => peer.connection === 'none').length;
  const counts = strings.counts(self.connected_peers ?? 0, known);
  return html`<div class="stack">
    <div class="drawing">
      <svg ref=${svg} viewBox=${`${x - half} ${y - half} ${2 * half} ${2 * half}`} role="group" aria-label=${strings.drawing(counts)}
        onPointerDown=${(event) => { from.current = { px: event.clientX, py: event.clientY }; }} onPointerMove=${drag}
        onPointerUp=${() => { from.current = null; }} onPointerLeave=${() => { from.current = null; }} onDblClick=${() => setView({ zoom: 1, x: 0, y: 0 })}>
        <circle class="ring" r="190" /><circle class="ring" r="345" />
        ${nodes.map(({ peer, x: px, y: py }) => html`<line key=${peer.id} class="wire" data-kind=${peer.connection} x1="0" y1="0" x2=${px} y2=${py} />`)}
        ${relay && html`<g class="relay-node" transform="translate(0 -92)"><rect x="-17" y="-17" width="34" height="34" rx="5" transform="rotate(45)" />
          <text class="name" x="30" y="5">${cut(relay.label || strings.relay, 18)}${self.has_circuit ? '' : ` (${strings.noCircuit})`}</text></g>`}
        <g class="node self"><circle class="halo" r="46" /><circle r="36" /><text class="letter" dy="6">${strings.me}</text><text class="name" dy="58">${cut(self.label || '', 22)}</text></g>
        ${nodes.map(({ peer, x: px, y: py }) => html`<${Node} key=${peer.id} peer=${peer} x=${px} y=${py} chosen=${peer.id === chosen} onChoose=${onChoose} />`)}
      </svg>
      <div class="drawing-tools">
        <button type="button" class="icon-button" aria-label=${strings.closer} title=${strings.closer} onClick=${() => size(1.3)}><${Icon} name="plus" /></button>
        <button type="button" class="icon-button" aria-label=${strings.farther} title=${strings.farther} onClick=${() => size(1 / 1.3)}><${Icon} name="minus" /></button>
        <button type="button" class="icon-button" aria-label=${strings.whole} title=${strings.whole} onClick=${() => setView({ zoom: 1, x: 0, y: 0 })}><${Icon} name="refresh" /></button>
      </div>
    </div>
    <ul class="legend small">${Object.entries(strings.kinds).map(([kind, text]) => html`<li key=${kind}><svg viewBox="0 0 32 8" aria-hidden="true"><line class="wire" data-kind=${kind} x1="1" y1="4" x2="31" y2="4" /></svg>${text}</li>`)}</ul>
    ${away > 0 && html`<p class="small muted">${strings.more(away)}</p>`}
  </div>`;
}

const Drawing = memo(DrawingNow);

function About({ peer, self }) {
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
      <dt>${strings.facts.streams}</dt><dd>${peer.streams}</dd>
      <dt>${strings.facts.sealed}</dt><dd>${yesNo(peer.encryption_supported)}</dd>
      <dt>${strings.facts.id}</dt><dd class="mono">${peer.id}</dd>
    </dl>
    <p><a class="button" href=${`/peer/${peer.id}`}>${strings.page}</a></p></section>`;
}

const Table = ({ peers }) => html`<div class="table-box" tabindex="0" role="region" aria-label=${strings.heading}><table class="table">
  <thead><tr>${strings.columns.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
  <tbody>${peers.map((peer) => html`<tr key=${peer.id}>
    <th scope="row"><a href=${`/peer/${peer.id}`}>${peer.label}</a></th><td>${kindText(peer)}</td><td>${yesNo(peer.reachable)}</td>
    <td class="mono">${peer.addr || '–'}</td><td>${peer.age || '–'}</td><td>${peer.streams}</td><td>${yesNo(peer.encryption_supported)}</td></tr>`)}</tbody>
</table></div>`;

/** Names as they are shown. */
const named = ({ self, relay, peers, ...rest }) => ({
  ...rest, self: { ...self, label: plain(self.label ?? '') }, relay: relay && { ...relay, label: plain(relay.label ?? '') },
  peers: (peers ?? []).map((peer) => ({ ...peer, label: plain(peer.label) || peer.id.slice(0, 8) })),
});

/** What the drawing depends on; ages run on without it. */
const shape = ({ self, relay, peers }) => JSON.stringify([self.id, self.label, self.has_circuit, self.connected_peers, relay,
  (peers ?? []).map(({ id, label, reachable, connection, addr, encryption_supported: sealed }) => [id, label, reachable, connection, addr, sealed])]);

function Topology() {
  const from = useLoad(() => get('/api/topology').then(named));
  const [look, setLook] = useState('drawing');
  const [chosen, setChosen] = useState('');
  useEffect(() => {
    let soon = 0;
    const timer = setInterval(from.again, PAUSE);
    const stop = listen(({ topic }) => {
      if (!/^peer:|^relay:|^reset$/.test(topic) || soon) return;
      soon = setTimeout(() => { soon = 0; from.again(); }, SETTLE);
    });
    return () => {
      clearInterval(timer);
      clearTimeout(soon);
      stop();
    };
  }, []);
  const drawn = useRef(null);
  if (from.data && (!drawn.current || shape(drawn.current) !== shape(from.data))) drawn.current = from.data;
  return html`<div class="stack">
    <div class="row spread"><h1>${strings.heading}</h1><${Subnav} /></div>
    <${Offline} />
    <${Loaded} from=${from}>${(data) => {
    const peers = data.peers ?? [];
    const counts = strings.counts(data.self.connected_peers ?? 0, peers.length);
    const panel = look === 'table' ? html`<${Table} peers=${peers} />`
      : html`<div class="topology"><${Drawing} topology=${drawn.current} chosen=${chosen} onChoose=${setChosen} />
          <${About} peer=${peers.find((peer) => peer.id === chosen)} self=${data.self} /></div>`;
    return html`<div class="stack">
      <div class="row spread"><${Tabs} label=${strings.lookLabel} tabs=${strings.looks} current=${look} onSelect=${setLook} />
        <p class="small muted">${counts}${data.self.has_circuit ? `, ${strings.circuit}` : ''}</p></div>
      <div id=${`panel-${look}`} role="tabpanel" aria-labelledby=${`tab-${look}`}>
        ${peers.length === 0 && !data.relay ? html`<${Empty} title=${strings.alone} text=${strings.aloneText} />` : panel}</div>
    </div>`;
  }}<//>
  </div>`;
}

export const show = (main) => mount(main, html`<${Topology} />`);
