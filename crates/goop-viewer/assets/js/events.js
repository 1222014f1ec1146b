// Live events. The browser reconnects by itself and says the last event it saw, so nothing in between is missed;
// a `reset` means that too much was missed and the state has to be asked for again.

const listeners = new Set();

/** Calls `listener({topic, payload})` for each event, and `listener({topic: 'reset'})` when the state must be read anew. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(event) {
  for (const listener of listeners) listener(event);
}

/** Opens the stream; `onState('live' | 'lost' | 'refused')` follows the connection. */
export function connect(onState) {
  const source = new EventSource('/api/mq/events');
  let wasLost = false;
  source.addEventListener('connected', () => {
    onState('live');
    if (wasLost) tell({ topic: 'reset' });
    wasLost = false;
  });
  source.addEventListener('message', (event) => {
    const { msg } = JSON.parse(event.data);
    if (msg) tell({ topic: msg.topic, payload: msg.payload });
  });
  source.addEventListener('reset', () => tell({ topic: 'reset' }));
  source.addEventListener('error', () => {
    wasLost = true;
    onState('lost');
    // A server that was restarted answers the browser's own retries; one that refused us does not.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => connect(onState), 3000);
  });
}
