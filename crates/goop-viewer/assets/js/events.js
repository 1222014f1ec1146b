// Live events. However many tabs are open, one of them holds the stream and tells the others: a browser opens only six
// connections to one server, and a tab that waits for the seventh shows nothing. The browser reconnects by itself and
// says the last event it saw; a `reset` means that too much was missed and the state has to be asked for again.

const NAME = 'goop2-events';
/** Milliseconds until a stream that the server refused is asked for again. */
const RETRY = 3000;

const listeners = new Set();

/** Calls `listener({topic, payload, from, id})` for each event (`from` is the peer it came from, or nothing), and `listener({topic: 'reset'})` when the state must be read anew. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(event) {
  for (const listener of listeners) listener(event);
}

/** Follows the events from here on; `onState('live' | 'lost')` follows the connection. */
export function connect(onState) {
  let leave = join(onState);
  // A page that the browser keeps for "back" must not keep a connection.
  addEventListener('pagehide', () => leave());
  addEventListener('pageshow', ({ persisted }) => {
    if (!persisted) return;
    leave = join(onState);
    tell({ topic: 'reset' });
  });
}

/** Takes part: whoever gets the lock opens the stream, the others hear what it says. Gives back how to stop. */
function join(onState) {
  const channel = new BroadcastChannel(NAME);
  const gone = new AbortController();
  let state = null;
  const hear = (message) => {
    if (message.state) onState(message.state);
    if (message.event) tell(message.event);
  };
  channel.addEventListener('message', ({ data }) => {
    if (data.ask && state) channel.postMessage({ state });
    hear(data);
  });
  channel.postMessage({ ask: true });
  const lead = () => new Promise((done) => {
    const close = open((message) => {
      state = message.state ?? state;
      hear(message);
      channel.postMessage(message);
    });
    gone.signal.addEventListener('abort', () => {
      close();
      done();
    });
  });
  // The request ends with an error when we leave before it was our turn.
  navigator.locks.request(NAME, { signal: gone.signal }, lead).catch(() => {});
  return () => {
    gone.abort();
    channel.close();
  };
}

/** Opens the stream and says what comes; gives back how to close it. */
function open(say) {
  let source;
  let retry;
  function start() {
    source = new EventSource('/api/mq/events');
    source.addEventListener('connected', () => {
      say({ state: 'live' });
      say({ event: { topic: 'reset' } });
    });
    source.addEventListener('message', ({ data }) => {
      const { type, msg, from } = JSON.parse(data);
      // All that a rendezvous server alone says; the stream then shows that it lives.
      if (type === 'mode') {
        say({ state: 'live' });
        say({ event: { topic: 'reset' } });
      }
      if (msg) say({ event: { topic: msg.topic, payload: msg.payload, from, id: msg.id } });
    });
    source.addEventListener('reset', () => say({ event: { topic: 'reset' } }));
    source.addEventListener('error', () => {
      say({ state: 'lost' });
      // A server that was restarted answers the browser's own retries; one that refused us does not.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(start, RETRY);
    });
  }
  start();
  return () => {
    clearTimeout(retry);
    source.close();
  };
}
