// Settings that wait for a restart, and restarting the peer.
// Offers: waiting (a signal with the fields that wait), wait, restart.

import { get, post } from './api.js';
import { serverAlone } from './session.js';
import { signal } from '../vendor/ui.js';

const strings = {
  silent: `The ${serverAlone ? 'server' : 'peer'} did not come back within half a minute. Look where it was started; if it ended, start it again there.`,
};

const KEY = 'waiting-for-restart';
/** Milliseconds between two questions whether it is back, and in all. */
const PAUSE = 500;
const PATIENCE = 30_000;

const sleep = (time) => new Promise((done) => { setTimeout(done, time); });

/** Fields, as `section.field`, that are saved and take effect after the next restart. */
export const waiting = signal(JSON.parse(sessionStorage.getItem(KEY) ?? '[]'));

function remember(fields) {
  waiting.value = fields;
  sessionStorage.setItem(KEY, JSON.stringify(fields));
}

/** Adds fields that wait. */
export const wait = (fields) => remember([...new Set([...waiting.value, ...fields])]);

/** Restarts the peer; ends when it answers again. */
export async function restart() {
  await post('/api/restart');
  const end = Date.now() + PATIENCE;
  // It first has to stop answering, or the old one would be taken for the new one.
  await sleep(PAUSE * 2);
  while (Date.now() < end) {
    try {
      await get('/api/session');
      remember([]);
      return;
    } catch (error) {
      if (error.status === 401) throw error;
      await sleep(PAUSE);
    }
  }
  throw new Error(strings.silent);
}
