// What the settings page offers: sections of fields of goop.json, with their words, kinds and rules.
//
// A field is `{key, kind, label, hint, …}`. Kinds: text, number (`min`, `max`), switch, secret, fixed (shown only),
// picture, folder, device (`of` is what the browser calls its kind). `restart` marks what the program reads at its start
// only; `server` marks the sections that count for a rendezvous server alone, and `server: false` a field in one that does
// not; `when(value)` says when a field makes sense, with `value(key)` for the fields as they are now. Rules are goop.json's
// own (peer-directory.md 6.2).

import { serverAlone } from '../session.js';

const PORT = { kind: 'number', min: 0, max: 65_535 };
const hosting = (value) => serverAlone || Boolean(value('presence.rendezvous_host'));
const scripting = (value) => Boolean(value('lua.enabled'));
const joined = (value) => Boolean(value('presence.rendezvous_wan')) && Boolean(value('profile.email'));

/** A bearer token as the services expect it: a mark and 32 random bytes. */
export function token() {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return `goop2__${btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')}`;
}

const service = (name, label, hasToken = true) => [
  { key: `presence.${name}_url`, kind: 'text', type: 'url', label: `${label}: address`, placeholder: 'http://127.0.0.1:…', when: hosting, needs: 'presence.use_services' },
  hasToken && { key: `presence.${name}_admin_token`, kind: 'secret', label: `${label}: admin token`, generate: token, when: hosting, needs: 'presence.use_services' },
].filter(Boolean);

export const sections = [
  {
    id: 'profile', title: 'Name and e-mail', server: true, text: serverAlone ? 'For yourself, to tell servers apart.' : 'What others see of you.', fields: [
      { key: 'profile.label', id: 'name', kind: 'text', label: 'Name', max: 200, autocomplete: 'nickname' },
      { key: 'profile.email', kind: 'text', type: 'email', label: 'E-mail', hint: serverAlone ? '' : 'Everybody who meets you sees it. It may stay empty.', max: 320, autocomplete: 'email' },
      { key: 'profile.verification_token', kind: 'secret', label: 'Verification token', server: false, hint: 'Proves the e-mail address. It is sent to rendezvous servers and to nobody else.' },
    ],
  },
  {
    id: 'viewer', title: 'Viewer', server: true, text: 'These pages.', fields: [
      { key: 'viewer.http_addr', kind: 'text', label: 'Address', placeholder: '127.0.0.1:8080', restart: true, hint: serverAlone ? 'Only this machine reaches these pages, whatever address stands here. Empty switches them off.' : 'Empty takes port 8080, or a free one. An address that others reach, such as 0.0.0.0:8080, shows your site to browsers without Goop², and nothing else.' },
      { key: 'viewer.open_sites_external', kind: 'switch', server: false, label: 'Open sites in tabs of the browser', hint: 'Otherwise they open on the page Visiting.' },
      { key: 'viewer.hide_unverified', kind: 'switch', server: false, label: 'Hide peers with an unverified e-mail' },
      { key: 'viewer.peer_offline_grace_min', kind: 'number', min: 1, max: 60, server: false, label: 'Minutes until an absent peer leaves the list', hint: 'Favourites stay.' },
      { key: 'viewer.debug', kind: 'switch', server: false, label: 'Show tools for debugging' },
    ],
  },
  {
    id: 'splash', title: 'Splash picture', text: 'It stands beside the peers on wide screens.', fields: [
      { key: 'viewer.splash', kind: 'picture', label: 'Picture beside the peers' },
    ],
  },
  {
    id: 'calls', title: 'Calls', text: 'Voice and video. On Linux they may not work in every browser.', fields: [
      { key: 'viewer.video_disabled', kind: 'switch', label: 'Take no calls', hint: 'Others see that, and cannot call you.' },
      { key: 'viewer.preferred_cam', kind: 'device', of: 'videoinput', label: 'Camera', hint: 'Which one a call begins with, in this browser.' },
      { key: 'viewer.preferred_mic', kind: 'device', of: 'audioinput', label: 'Microphone' },
    ],
  },
  {
    id: 'network', title: 'Network', text: 'How others find and reach this peer.', fields: [
      { key: 'p2p.listen_port', ...PORT, label: 'Port', restart: true, hint: '0 takes another one at each start. Choose one if a firewall has to know it.' },
      { key: 'p2p.mdns_tag', kind: 'text', label: 'Network name', required: true, restart: true, hint: 'Only peers with the same one see each other on a local network.' },
      { key: 'presence.ttl_seconds', kind: 'number', min: 1, label: 'Seconds of silence until a peer counts as away', restart: true },
      { key: 'presence.heartbeat_seconds', kind: 'number', min: 1, label: 'Seconds between two signs of life', restart: true, hint: 'Must be less than the field above.' },
      { key: 'p2p.nacl_public_key', kind: 'fixed', label: 'Public key for sealed messages' },
    ],
  },
  {
    id: 'rendezvous', title: 'Rendezvous', text: 'A server that introduces peers beyond the local network.', fields: [
      { key: 'presence.rendezvous_wan', kind: 'text', type: 'url', label: 'Address of the server', placeholder: 'https://example.org', hint: 'Empty joins none. Use https where you can; with http others on the way can read along.' },
      { key: 'presence.rendezvous_more', kind: 'text', label: 'More servers', placeholder: 'https://example.net', hint: 'Their addresses, with spaces between. Peers of any of them meet you, and another relay takes over when one is gone.' },
      { key: 'profile.bridge_token', kind: 'secret', label: 'Bridge token', when: joined, restart: true },
      { key: 'p2p.bridge_mode', kind: 'switch', label: 'Thin client', hint: 'For programs that have one: the server takes part for them. This version runs a whole peer all the same.', when: joined, restart: true },
    ],
  },
  {
    id: 'server', title: 'Server', server: true, text: serverAlone ? 'Where peers find it.' : 'This peer can introduce others itself.', fields: [
      { key: 'presence.rendezvous_host', kind: 'switch', label: 'Run a rendezvous server', restart: true, server: false, hint: 'Its settings, the relay, the store and the services then show below.' },
      { key: 'presence.rendezvous_only', kind: 'switch', label: 'Run nothing else in this folder', when: hosting, restart: true, hint: 'No site and no peer, only the server. The command “goop2 rendezvous” does that whatever stands here.' },
      { key: 'presence.rendezvous_bind', kind: 'text', label: 'Address it listens on', placeholder: '127.0.0.1', when: hosting, restart: true },
      { key: 'presence.rendezvous_port', kind: 'number', min: 1, max: 65_535, label: 'Port', when: hosting, restart: true },
      { key: 'presence.external_url', kind: 'text', type: 'url', label: 'Its address as others see it', when: hosting, restart: true },
      { key: 'presence.peer_db_path', kind: 'text', label: 'Database of the peers', hint: 'Empty keeps them in memory.', when: hosting, restart: true },
    ],
  },
  {
    id: 'relay', title: 'Relay', server: true, text: 'Carries streams for peers that cannot reach each other.', when: hosting, fields: [
      { key: 'presence.relay_port', ...PORT, label: 'TCP port', hint: '0 switches the relay off.', when: hosting, restart: true },
      { key: 'presence.relay_ws_port', ...PORT, label: 'WebSocket port', hint: '0 switches it off.', when: hosting, restart: true },
      { key: 'presence.relay_key_file', kind: 'text', label: 'Key file', when: hosting, restart: true },
      ...[['cleanup_delay', 'Seconds between closing and opening the connection'], ['poll_deadline', 'Seconds to wait for a reservation'], ['connect_timeout', 'Seconds to reach the relay'],
        ['refresh_interval', 'Seconds between two checks of the reservation'], ['recovery_grace', 'Seconds until a lost reservation is acted on']]
        .map(([name, label]) => ({ key: `presence.relay_${name}_sec`, kind: 'number', min: 0, label, when: hosting, restart: true })),
    ],
  },
  {
    id: 'admin', title: 'Administration', server: true, text: 'The pages of the server for its owner.', when: hosting, fields: [
      { key: 'presence.admin_password', kind: 'secret', label: 'Password', hint: 'Without one the pages are off.', when: hosting, restart: true },
    ],
  },
  {
    id: 'templates', title: 'Templates', server: true, text: 'A store of site templates in a folder.', when: hosting, fields: [
      { key: 'presence.templates_dir', kind: 'folder', label: 'Folder', hint: `As the machine names it that runs this ${serverAlone ? 'server' : 'peer'}. Empty offers no store.`, when: hosting, restart: true },
    ],
  },
  {
    id: 'services', title: 'Services', server: true, text: 'Programs beside the server that it hands work to.', when: hosting, fields: [
      { key: 'presence.use_services', kind: 'switch', label: 'Use external services', when: hosting, restart: true },
      ...service('registration', 'Registration'), ...service('credits', 'Credits'), ...service('email', 'E-mail', false),
      ...service('templates', 'Templates'), ...service('bridge', 'Bridge'), ...service('encryption', 'Encryption'),
    ],
  },
  {
    id: 'scripting', title: 'Scripting', text: 'Lua scripts that answer visitors.', fields: [
      { key: 'lua.enabled', kind: 'switch', label: 'Run scripts', restart: true },
      { key: 'lua.script_dir', kind: 'folder', label: 'Folder of the scripts', hint: 'Never shown to visitors.', required: true, when: scripting, restart: true },
      { key: 'lua.timeout_seconds', kind: 'number', min: 1, max: 60, label: 'Seconds a call may take', when: scripting },
      { key: 'lua.max_memory_mb', kind: 'number', min: 1, max: 1024, label: 'Memory of a call in MB', when: scripting },
      { key: 'lua.rate_limit_per_peer', kind: 'number', min: 1, label: 'Calls a minute from one peer', when: scripting },
      { key: 'lua.rate_limit_global', kind: 'number', min: 1, label: 'Calls a minute from everybody', when: scripting },
      { key: 'lua.http_enabled', kind: 'switch', label: 'Scripts may fetch web pages', when: scripting },
      { key: 'lua.kv_enabled', kind: 'switch', label: 'Scripts may keep values', when: scripting },
    ],
  },
];

/** Every field by its key. */
export const fields = new Map(sections.flatMap((section) => section.fields).map((field) => [field.key, field]));

const strings = {
  number: 'Type a whole number.',
  least: (min) => `The least is ${min}.`,
  most: (max) => `The most is ${max}.`,
  required: 'This must not be empty.',
  email: 'This is no e-mail address.',
  url: 'Type an address that begins with http:// or https://.',
};

/** What is wrong with a value, or ''. The peer has the last word. */
export function check(key, value) {
  const field = fields.get(key) ?? {};
  const text = String(value ?? '').trim();
  if (field.kind === 'number') {
    if (!/^-?\d+$/.test(text)) return strings.number;
    if (field.min !== undefined && Number(text) < field.min) return strings.least(field.min);
    if (field.max !== undefined && Number(text) > field.max) return strings.most(field.max);
  }
  if (field.required && text === '') return strings.required;
  if (field.type === 'email' && text !== '' && !/^[^\s@]+@[^\s@]+$/.test(text)) return strings.email;
  if (field.type === 'url' && text !== '' && !/^https?:\/\/./.test(text)) return strings.url;
  return '';
}
