// Going to a page of ours without loading it anew. The frame (app.js) shows what the address names.

const NAME = 'goop2-navigate';

/** Goes to `url`. */
export function go(url) {
  history.pushState(null, '', url);
  dispatchEvent(new Event(NAME));
}

/** Changes the address without showing anything anew. */
export const rename = (url) => history.replaceState(null, '', url);

/** Calls `listener` after each `go`. */
export const onGo = (listener) => addEventListener(NAME, listener);
