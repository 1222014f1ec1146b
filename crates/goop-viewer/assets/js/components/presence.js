// Whether somebody is there, in words and as a dot, and what else is worth knowing before visiting.

import { html } from '../../vendor/ui.js';
import { ago } from '../format.js';
import { state } from '../people.js';

const strings = {
  here: 'here',
  quiet: 'here, not answering',
  away: (since) => `last seen ${since}`,
  unverified: 'e-mail unverified',
  unverifiedHint: 'No rendezvous server vouches for this e-mail address.',
  calls: 'no calls',
  callsHint: 'This peer switched calls off.',
  template: (name) => `template: ${name}`,
};

/** Dot and words. */
export function Presence({ peer }) {
  const now = state(peer);
  return html`<span class="presence" data-state=${now} data-testid="presence">${now === 'away' ? strings.away(ago(peer.seen)) : strings[now]}</span>`;
}

/** Badges for what is unusual about a peer. */
export const Badges = ({ peer }) => html`
  ${peer.email && !peer.verified && html`<span class="badge warn" title=${strings.unverifiedHint}>${strings.unverified}</span>`}
  ${peer.callsOff && html`<span class="badge" title=${strings.callsHint}>${strings.calls}</span>`}
  ${peer.template && html`<span class="badge">${strings.template(peer.template)}</span>`}`;
