// The lines of one conversation as they are known here: the newest ones, and as many older ones as somebody wanted to see.
// After each event the newest are read again, so what is shown is what the peer has.
// Offers: useLines, beginning.

import { get } from '../api.js';
import { listen } from '../events.js';
import { useCallback, useEffect, useRef, useState } from '../../vendor/ui.js';

/** Lines that are read at once; more where a line from long ago is wanted. */
const PAGE = 50;
const LARGE = 200;

const url = (id, more) => `/api/chat/lines?${new URLSearchParams({ peer_id: id, ...more })}`;

let begun = { id: '', answer: null };

/** What the page of a peer starts from: the newest lines, and as `key` what is known of its key. Both parts of the page share
 * one question. */
export function beginning(id) {
  if (begun.id === id) return begun.answer;
  const answer = get(url(id, { limit: PAGE, key: true })).finally(() => {
    if (begun.answer === answer) begun = { id: '', answer: null };
  });
  begun = { id, answer };
  return answer;
}

/** What is known, with what was read now. A gap between the two would be shown as if nothing was there, so the old goes. */
function joined(old, fresh) {
  const first = fresh[0]?.number ?? Infinity;
  const newest = old.at(-1)?.number ?? 0;
  if (first > newest && fresh.length >= PAGE) return fresh;
  const all = new Map();
  for (const line of old) if (line.number < first) all.set(line.number, line);
  for (const line of fresh) {
    const before = old.find(({ number }) => number === line.number);
    const same = before && before.state === line.state && before.why === line.why;
    all.set(line.number, same ? before : line);
  }
  return [...all.values()];
}

/** `{lines, more, read, error, ready, older, reach}`; `older()` reads the page before, `reach(number)` all up to a line. */
export function useLines(id) {
  const [state, setState] = useState({ lines: [], more: false, read: 0, error: null, ready: false });
  const run = useRef({ busy: false, again: false, above: false, gone: false });
  const newest = useRef(state);
  newest.current = state;

  const sync = useCallback(async (first = false) => {
    const mine = run.current;
    if (mine.busy) {
      mine.again = true;
      return;
    }
    mine.busy = true;
    let ask = first ? () => beginning(id) : () => get(url(id, { limit: PAGE }));
    do {
      mine.again = false;
      try {
        const { lines, more, read } = await ask();
        if (mine.gone) return;
        setState((old) => {
          const all = lines.length === 0 ? [] : joined(old.lines, lines);
          return { lines: all, more: all.length > lines.length ? old.more : more, read, error: null, ready: true };
        });
      } catch (error) {
        if (mine.gone) return;
        setState((old) => ({ ...old, error }));
      }
      ask = () => get(url(id, { limit: PAGE }));
    } while (mine.again);
    mine.busy = false;
  }, [id]);

  const above = useCallback(async (limit) => {
    const mine = run.current;
    const { lines, more } = newest.current;
    if (mine.above || !more || lines.length === 0) return false;
    mine.above = true;
    try {
      const found = await get(url(id, { limit, before: lines[0].number }));
      if (mine.gone) return false;
      setState((old) => ({ ...old, lines: [...found.lines.filter(({ number }) => number < old.lines[0].number), ...old.lines], more: found.more, error: null }));
      return true;
    } catch (error) {
      if (!mine.gone) setState((old) => ({ ...old, error }));
      return false;
    } finally {
      mine.above = false;
    }
  }, [id]);

  const reach = useCallback(async (number) => {
    const has = () => newest.current.lines.some((line) => line.number === number);
    // The state is new after the next drawing.
    const drawn = () => new Promise((done) => { setTimeout(done); });
    while (!has() && await above(LARGE)) await drawn();
    return has();
  }, [above]);

  useEffect(() => {
    const mine = { busy: false, again: false, above: false, gone: false };
    run.current = mine;
    sync(true);
    const stop = listen(({ topic, payload, from }) => {
      if (topic === 'mq:chat' && payload.peerID === id && payload.read !== undefined) {
        setState((old) => ({ ...old, read: Math.max(old.read, payload.read) }));
        return;
      }
      const about = topic === 'reset' || (topic === 'chat' && from === id) || (topic === 'mq:chat' && payload.peerID === id);
      if (about) sync();
    });
    return () => {
      mine.gone = true;
      stop();
    };
  }, [sync]);

  return { ...state, older: () => above(PAGE), reach, again: () => sync() };
}
