// Editor: writes the own site. The page itself is ../editor/page.js; it comes with a code editor of half a megabyte, so it is
// read when somebody goes there.

import { el } from '../dom.js';
import { failure } from '../components/parts.js';

export const title = 'Editor';
export const wide = true;
export const alone = true;

const strings = {
  loading: 'Opening the editor…',
  failed: 'The editor could not be read from the peer. Is it still running? Reload this page to try again.',
};

const page = () => import('../editor/page.js');

// Text that was not saved before a reload: from here on it warns before it is thrown away.
if (Object.keys(sessionStorage).some((key) => key.startsWith('editor:draft:'))) page().catch(() => {});

export function show(main, options) {
  let leave = () => {};
  let left = false;
  // Who clicks on before the frame knows how to leave this page is not here any more, either.
  const isHere = () => !left && location.pathname === '/edit';
  main.replaceChildren(el('p', { class: 'muted', role: 'status' }, strings.loading));
  page().then(({ start }) => {
    if (isHere()) leave = start(main, options);
  }, () => {
    if (isHere()) main.replaceChildren(failure(new Error(strings.failed)));
  });
  return () => {
    left = true;
    leave();
  };
}
