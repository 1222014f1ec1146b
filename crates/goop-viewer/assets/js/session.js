// What the pages know about this program and about how its owner wants them.
// Offers: serverAlone, session, quick, splash, link (signals), loadSession, theme, setTheme, split positions, where a site opens.

import { get, post } from './api.js';
import { computed, signal } from '../vendor/ui.js';

/** Whether these are the pages of a rendezvous server that runs without a peer: there are fewer of them. */
export const serverAlone = document.documentElement.dataset.mode === 'rendezvous';
/** The answer of /api/session, or null before it came. */
export const session = signal(null);
/** The owner's choices: `label`, `hide_unverified`, `open_sites_external`, `video_disabled`; nothing before they came. */
export const quick = computed(() => session.value?.quick);
/** File name of the splash picture, as goop.json has it; '' before it is known. */
export const splash = computed(() => session.value?.splash ?? '');
/** `live`, `lost`, `out` (signed out) or '' before anything is known. */
export const link = signal('');
/** What this browser was told about the theme: `dark`, `light`, or '' for the system's. */
export const theme = signal(localStorage.getItem('theme') ?? '');

/** Milliseconds of rest before a split position is saved. */
const SPLIT_PAUSE = 400;

/** Reads what the pages need to know, at the start and after the owner changed something of it. */
export async function loadSession() {
  session.value = await get('/api/session');
  if (localStorage.getItem('theme') !== null) return;
  theme.value = session.value.theme;
  show(theme.value);
}

function show(name) {
  if (name === 'dark' || name === 'light') document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
}

/** Shows and remembers a theme; the peer remembers it too, unless it is the system's. */
export async function setTheme(name) {
  theme.value = name;
  show(name);
  localStorage.setItem('theme', name);
  if (name) await post('/api/settings/quick', { theme: name });
}

show(theme.value);

const timers = new Map();

/** The stored position of a split pane in percent, or nothing. */
export const splitOf = (key) => session.value?.split_prefs?.[key];

/** Remembers a position. One that cannot be saved holds until the page is left; nobody has to hear of that. */
export function saveSplit(key, value) {
  session.value = { ...session.value, split_prefs: { ...session.value?.split_prefs, [key]: value } };
  clearTimeout(timers.get(key));
  timers.set(key, setTimeout(() => post('/api/split-prefs', { key, value }).catch(() => {}), SPLIT_PAUSE));
}

/** Attributes of a link to a peer's site: among the tabs of the Visiting page, or in a tab of the browser. */
export function siteLink(id) {
  return quick.value?.open_sites_external
    ? { href: `/p/${id}/`, target: '_blank', rel: 'noreferrer' }
    : { href: `/view?open=${id}` };
}
