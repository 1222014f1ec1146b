// Starts the pages. A module that did not arrive (the network changed while they were loading) would leave an empty page:
// then it is loaded again, and if that does not help, it is said.

const TRIES = 'goop:tries';
const MOST = 3;
/** Milliseconds before the first new try; each one waits longer. */
const PAUSE = 400;

const strings = {
  failed: 'These pages did not load.',
  what: 'Is your peer still running? Then load this page again.',
};

function begun() {
  sessionStorage.removeItem(TRIES);
}

function failed(error) {
  const tries = Number(sessionStorage.getItem(TRIES) ?? 0) + 1;
  sessionStorage.setItem(TRIES, String(tries));
  if (tries <= MOST) {
    setTimeout(() => location.reload(), tries * PAUSE);
    return;
  }
  sessionStorage.removeItem(TRIES);
  const text = (name, words) => Object.assign(document.createElement(name), { textContent: words });
  document.getElementById('main').replaceChildren(text('h1', strings.failed), text('p', strings.what), text('p', error.message));
}

import('./app.js').then(begun, failed);
