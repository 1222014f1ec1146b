// The text of an open file in CodeMirror. It lives in a shadow root, where style sheets can be adopted.

import { EditorView } from '../../vendor/editor.js';
import { html, useEffect, useRef } from '../../vendor/ui.js';
import { attach } from './documents.js';

/** Whether the text shall have the focus as soon as it is shown. */
export const wish = { focus: false };

/** The text of `doc`, which must have been read. */
export function Code({ doc }) {
  const host = useRef(null);
  const view = useRef(null);

  useEffect(() => {
    const root = host.current.shadowRoot ?? host.current.attachShadow({ mode: 'open' });
    view.current = new EditorView({ state: doc.state, parent: root, root });
    return () => view.current.destroy();
  }, []);

  useEffect(() => {
    if (view.current.state !== doc.state) view.current.setState(doc.state);
    const detach = attach(view.current, doc);
    if (doc.scroll) view.current.dispatch({ effects: doc.scroll });
    return detach;
  }, [doc]);

  useEffect(() => {
    const { jump } = doc;
    if (wish.focus || jump.value) view.current.focus();
    wish.focus = false;
    if (!jump.value) return;
    const { from, to } = jump.value;
    jump.value = null;
    view.current.dispatch({ selection: { anchor: from, head: to }, effects: EditorView.scrollIntoView(from, { y: 'center' }) });
  });

  // Read here, so that a jump inside the text that is shown draws this again.
  return html`<div class="ed-code" ref=${host} data-testid="code" data-jump=${doc.jump.value ? 'waiting' : undefined}></div>`;
}

/** Gives the text that is shown the focus. */
export function focusCode() {
  const shown = document.querySelector('.ed-code');
  const content = shown?.shadowRoot?.querySelector('.cm-content');
  if (content) content.focus();
  else wish.focus = true;
}
