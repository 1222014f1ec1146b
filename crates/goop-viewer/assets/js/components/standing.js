// How this peer stands beyond its own network: rendezvous servers, relay, how peers are connected, what the router does.
// Offers `StandingLine` (one line of what was asked already) and `Standing` (all of it, asked when it is looked at).

import { get } from '../api.js';
import { html, useEffect, useRef, useState } from '../../vendor/ui.js';
import { useLive } from './mount.js';

const strings = {
  heading: 'How it stands',
  connected: (url) => `connected to ${url}`,
  listening: (url) => `hears ${url}, and tells it by requests`,
  trying: (url) => `${url} does not answer`,
  noServer: 'no rendezvous server',
  relay: { off: '', connecting: 'relay: asking', reserved: 'relay reserved', lost: 'relay lost' },
  relayLong: {
    off: 'The server offers no relay.',
    connecting: 'A place on the relay is being asked for.',
    reserved: 'Others can reach you through the relay.',
    lost: (reason, retry) => `Nobody reaches you through the relay: ${reason}.${retry === null ? '' : ` Next try in ${retry} s.`}`,
  },
  direct: (direct, all) => (all === 1 ? `${direct} of 1 peer direct` : `${direct} of ${all} peers direct`),
  alone: 'nobody connected',
  open: 'everybody can reach you',
  servers: 'Servers',
  relayTitle: 'Relay',
  peers: 'Peers',
  access: 'Access',
  seen: 'Seen as',
  confirmed: 'Others reach you at',
  refuted: 'Nobody reaches you at',
};

/** Milliseconds between two looks. */
const PAUSE = 5_000;

const contact = ({ url, contact: how }) => ({ socket: strings.connected, stream: strings.listening, trying: strings.trying })[how](url);
const count = ({ direct, relay }) => (direct + relay === 0 ? strings.alone : strings.direct(direct, direct + relay));

/** One line: servers, relay, peers. `now` is the answer of /api/network, or nothing yet. */
export function StandingLine({ now }) {
  if (!now) return null;
  const parts = [...(now.servers.length ? now.servers.map(contact) : [strings.noServer]), strings.relay[now.relay.state], count(now.peers),
    now.outside?.confirmed.length ? strings.open : ''];
  return html`<p class="small muted" role="status" data-testid="standing">${parts.filter(Boolean).join(', ')}</p>`;
}

/** All of it, with what to do. Nothing is asked before somebody comes near. */
export function Standing() {
  const place = useRef(null);
  const [near, setNear] = useState(false);
  useEffect(() => {
    const seen = new IntersectionObserver((entries) => {
      if (entries.some(({ isIntersecting }) => isIntersecting)) setNear(true);
    }, { rootMargin: '200px' });
    seen.observe(place.current);
    return () => seen.disconnect();
  }, []);
  return html`<div ref=${place}>${near && html`<${All} />`}</div>`;
}

function All() {
  const { data: now } = useLive(() => get('/api/network'), PAUSE);
  if (!now) return null;
  const { relay, outside } = now;
  const told = strings.relayLong[relay.state];
  return html`<section class="note stack-tight" aria-label=${strings.heading} data-testid="standing">
    <dl class="facts">
      <dt>${strings.servers}</dt><dd>${now.servers.length === 0 ? strings.noServer : now.servers.map((server) => html`<div key=${server.url}>${contact(server)}${server.contact === 'trying' && server.problem ? `: ${server.problem}` : ''}</div>`)}</dd>
      ${now.servers.length > 0 && html`<dt>${strings.relayTitle}</dt><dd>${typeof told === 'string' ? told : told(relay.reason, relay.retry)}</dd>`}
      <dt>${strings.peers}</dt><dd>${count(now.peers)}</dd>
      <dt>${strings.access}</dt><dd>${outside.text}${outside.advice ? ` ${outside.advice}` : ''}</dd>
      ${['seen', 'confirmed', 'refuted'].map((which) => outside[which]?.length > 0 && html`<dt>${strings[which]}</dt><dd class="mono">${outside[which].join(' ')}</dd>`)}
    </dl></section>`;
}
