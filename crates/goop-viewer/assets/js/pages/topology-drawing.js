// The drawing of the network: this peer in the middle of a pond, everybody else around it. Wheel and buttons size it,
// dragging its ground moves it, and everybody can be put elsewhere, with the mouse, with touch, or with the arrow keys; where
// they were put holds as long as the tab lives.
// Offers: Drawing, kinds, kindText.

import { serverAlone } from '../session.js';
import { Icon } from '../components/icon.js';
import { memo } from '../components/mount.js';
import { html, signal, useEffect, useMemo, useRef, useState } from '../../vendor/ui.js';

const strings = {
  me: 'ME',
  drawing: (counts) => `Drawing of the network: ${counts}. The table says the same in words.`,
  node: (name, kind) => `${name}, ${kind}`,
  hint: 'Drag somebody, or use the arrow keys, to put them elsewhere.',
  noCircuit: 'no circuit',
  relay: 'Relay',
  closer: 'Closer',
  farther: 'Farther',
  whole: 'Show all of it, everybody in their place',
  more: (n) => `and ${n} more that are not connected; they are in the table`,
  moreThere: (n) => `and ${n} more; they are in the table`,
  lan: 'local network',
};

/** How somebody is connected, in words. */
export const kinds = { direct: 'direct', relay: 'through a relay', bridge: 'through a bridge', none: 'not connected' };

/** A private address: 10/8, 172.16/12, 192.168/16, link-local, loopback, unique local. */
const isLan = (addr) => /^\/ip4\/(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|127\.)|^\/ip6\/(fe80|f[cd]|::1)/i.test(addr);
export const kindText = (peer) => (peer.connection === 'direct' && isLan(peer.addr) ? `${kinds.direct}, ${strings.lan}` : kinds[peer.connection] ?? peer.connection);
const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** Connected peers that are drawn at most: a server may know ten thousand. */
const MAX_NEAR = 72;
/** Peers without a connection that are drawn at most. */
const MAX_AWAY = 24;
/** Rings, in units of the drawing: few and many connected peers, those beyond twelve, and those without a connection. */
const RINGS = { few: 165, many: 140, second: 225, away: 285 };
/** Half of the drawing's side: everybody, and when only a few connected peers are there. */
const HALF = 360;
const HALF_NEAR = 250;
const MAX_ZOOM = 4;
const MIN_ZOOM = 0.3;
/** How far an arrow key moves somebody, and with Shift. */
const STEP = 12;
const LEAP = 48;
/** Nobody is put farther away than this. */
const FARTHEST = 1000;
/** Pixels of the screen a pointer may tremble in a click. */
const TREMBLE = 4;

const KEY = 'topology-places';

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

/** Where somebody was put, by id. */
const places = signal(remembered());

function put(all) {
  places.value = all;
  sessionStorage.setItem(KEY, JSON.stringify(all));
}

const within = (value) => Math.round(Math.min(FARTHEST, Math.max(-FARTHEST, value)));
const move = (id, x, y) => put({ ...places.value, [id]: { x: within(x), y: within(y) } });

/** Where everybody stands unless they were put elsewhere: connected ones on rings around the middle, the others farther out. */
function placed(peers) {
  const near = peers.filter((peer) => peer.connection !== 'none').slice(0, MAX_NEAR);
  const away = peers.filter((peer) => peer.connection === 'none').slice(0, MAX_AWAY);
  const ring = (list, radius, turn) => list.map((peer, at) => {
    const angle = (at / list.length) * 2 * Math.PI + turn;
    return { peer, x: Math.cos(angle) * radius, y: Math.sin(angle) * radius };
  });
  const first = near.slice(0, 12);
  // Straight up stays free for the relay.
  const half = Math.PI / Math.max(1, first.length);
  return [
    ...ring(first, near.length > 12 ? RINGS.many : RINGS.few, -Math.PI / 2 + half),
    ...ring(near.slice(12), RINGS.second, -Math.PI / 2 + 0.12),
    ...ring(away, RINGS.away, -Math.PI / 2 + 0.45),
  ];
}

/** Listeners that let a pointer carry a node: `at` is where it stands, `point` turns screen into drawing. */
function carrying({ id, at, point, hand }) {
  return {
    onPointerDown(event) {
      if (event.button !== 0) return;
      event.stopPropagation();
      event.currentTarget.setPointerCapture(event.pointerId);
      const start = point(event);
      hand.current = { dx: at.x - start.x, dy: at.y - start.y, cx: event.clientX, cy: event.clientY, carried: false };
    },
    onPointerMove(event) {
      const held = hand.current;
      if (!held) return;
      held.carried ||= Math.hypot(event.clientX - held.cx, event.clientY - held.cy) > TREMBLE;
      if (!held.carried) return;
      const to = point(event);
      move(id, to.x + held.dx, to.y + held.dy);
    },
    onPointerUp() {
      // A click that ends a carry is no choice; it comes right after this.
      if (hand.current?.carried) hand.carried = true;
      hand.current = null;
    },
    onPointerCancel() { hand.current = null; },
  };
}

const Node = memo(({ peer, x, y, chosen, onChoose, point }) => {
  const hand = useRef(null);
  const name = cut(peer.label, 18);
  function key(event) {
    const by = event.shiftKey ? LEAP : STEP;
    const [dx, dy] = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] }[event.key] ?? [0, 0];
    if (dx || dy) move(peer.id, x + dx, y + dy);
    else if (event.key === 'Enter' || event.key === ' ') onChoose(peer.id);
    else return;
    event.preventDefault();
  }
  function click() {
    if (!hand.carried) onChoose(peer.id);
    hand.carried = false;
  }
  return html`<g class="node" data-kind=${peer.connection} data-chosen=${chosen} transform=${`translate(${x} ${y})`}
      role="button" tabindex="0" aria-pressed=${String(chosen)} aria-label=${strings.node(name, kindText(peer))} aria-describedby="topology-hint"
      onClick=${click} onKeyDown=${key} ...${carrying({ id: peer.id, at: { x, y }, point, hand })}>
    <circle r="28" /><image class="face" x="-25" y="-25" width="50" height="50" href=${`/api/avatar/peer/${peer.id}`} />
    ${peer.encryption_supported && html`<g class="seal" transform="translate(19 -19)"><circle r="9" /><path d="M-3 -0.5v-1.5a3 3 0 0 1 6 0v1.5M-4 -0.5h8v5h-8z" /></g>`}
    <text class="name" dy="48">${name}</text>
  </g>`;
});

const Self = ({ self }) => html`<g class="node self"><circle class="halo" r="52" /><circle r="40" />
  <image class="face" x="-36" y="-36" width="72" height="72" href="/api/avatar" />
  ${!serverAlone && html`<g transform="translate(0 38)"><rect class="pill" x="-19" y="-11" width="38" height="22" rx="11" /><text class="letter" dy="5">${strings.me}</text></g>`}
  <text class="name" dy="72">${cut(self.label || '', 22)}</text></g>`;

function DrawingNow({ topology, counts, chosen, onChoose }) {
  const { self, relay } = topology;
  const peers = topology.peers ?? [];
  const elsewhere = places.value;
  const nodes = useMemo(() => placed(peers), [topology]).map((node) => ({ ...node, ...elsewhere[node.peer.id] }));
  const [{ zoom, x, y }, setView] = useState({ zoom: 1, x: 0, y: 0 });
  const half = (nodes.some(({ peer }) => peer.connection === 'none') || nodes.length > 12 ? HALF : HALF_NEAR) / zoom;
  const from = useRef(null);
  const svg = useRef(null);
  const size = (factor) => setView((old) => ({ ...old, zoom: Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, old.zoom * factor)) }));
  const whole = () => setView({ zoom: 1, x: 0, y: 0 });
  const point = useRef((event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.current.getScreenCTM().inverse())).current;
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
  const away = peers.filter((peer) => peer.connection === 'none').length - nodes.filter(({ peer }) => peer.connection === 'none').length;
  const left = peers.filter((peer) => peer.connection !== 'none').length - nodes.filter(({ peer }) => peer.connection !== 'none').length;
  const tool = (icon, text, act) => html`<button type="button" class="icon-button" aria-label=${text} title=${text} onClick=${act}><${Icon} name=${icon} /></button>`;
  return html`<div class="stack">
    <div class="drawing">
      <svg ref=${svg} viewBox=${`${x - half} ${y - half} ${2 * half} ${2 * half}`} role="group" aria-label=${strings.drawing(counts)}
        onPointerDown=${(event) => { from.current = { px: event.clientX, py: event.clientY }; }} onPointerMove=${drag}
        onPointerUp=${() => { from.current = null; }} onPointerLeave=${() => { from.current = null; }} onDblClick=${whole}>
        ${[RINGS.away, RINGS.second, RINGS.few, 96].map((r) => html`<circle key=${r} class="ring" r=${r} />`)}
        ${nodes.map(({ peer, x: px, y: py }) => html`<line key=${peer.id} class="wire" data-kind=${peer.connection} x1="0" y1="0" x2=${px} y2=${py} />`)}
        ${relay && html`<g class="relay-node" transform="translate(0 -92)"><rect x="-17" y="-17" width="34" height="34" rx="5" transform="rotate(45)" />
          <text class="name" x="30" y="5">${cut(relay.label || strings.relay, 18)}${self.has_circuit ? '' : ` (${strings.noCircuit})`}</text></g>`}
        <${Self} self=${self} />
        ${nodes.map(({ peer, x: px, y: py }) => html`<${Node} key=${peer.id} peer=${peer} x=${px} y=${py} chosen=${peer.id === chosen} onChoose=${onChoose} point=${point} />`)}
      </svg>
      <div class="drawing-tools">
        ${tool('plus', strings.closer, () => size(1.3))}${tool('minus', strings.farther, () => size(1 / 1.3))}
        ${tool('refresh', strings.whole, () => { put({}); whole(); })}
      </div>
    </div>
    <ul class="legend small">${Object.entries(kinds).map(([kind, text]) => html`<li key=${kind}><svg viewBox="0 0 32 8" aria-hidden="true"><line class="wire" data-kind=${kind} x1="1" y1="4" x2="31" y2="4" /></svg>${text}</li>`)}
      <li class="legend-hint" id="topology-hint">${strings.hint}</li></ul>
    ${left > 0 && html`<p class="small muted">${strings.moreThere(left)}</p>`}
    ${away > 0 && html`<p class="small muted">${strings.more(away)}</p>`}
  </div>`;
}

/** `topology` is drawn; `chosen` is the id of the peer that is read about, `onChoose` hears another one. */
export const Drawing = memo(DrawingNow);
