// The open files as tabs: arrows move, Delete closes, Alt with an arrow puts a tab elsewhere.

import { Icon } from '../components/icon.js';
import { html, useEffect, useRef } from '../../vendor/ui.js';
import { current, documents, shift, show } from './documents.js';
import { kindOf, nameOf, parentOf } from './paths.js';

const strings = {
  tabs: 'Open files',
  hint: 'Delete closes it.',
  unsaved: 'not saved',
  decide: 'two versions',
  close: (name) => `Close ${name}`,
};

export const tabId = (doc) => `tab-${doc.id}`;
export const PANEL = 'ed-panel';

function Tab({ doc, twice, onClose }) {
  const node = useRef(null);
  const path = doc.path.value;
  const isCurrent = current.value === doc;
  useEffect(() => {
    if (isCurrent) node.current.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    // Its place changes with what stands beside the tabs, too.
  }, [isCurrent, path, doc.kind.value]);

  const others = documents.value;
  const place = others.indexOf(doc);
  function go(to) {
    const next = others[(to + others.length) % others.length];
    show(next);
    document.getElementById(tabId(next))?.focus();
  }
  /** Closes the tab the keyboard stands on; it then stands on the one that is shown. */
  async function closeHere() {
    await onClose(doc);
    requestAnimationFrame(() => current.value && document.getElementById(tabId(current.value))?.focus());
  }
  function onKeyDown(event) {
    const moves = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: others.length - 1 };
    if (event.altKey && ['ArrowLeft', 'ArrowRight'].includes(event.key)) {
      shift(doc, event.key === 'ArrowRight' ? 1 : -1);
      node.current.focus();
    } else if (event.altKey || event.ctrlKey || event.metaKey) return;
    else if (event.key in moves) go(moves[event.key]);
    else if (event.key === 'Delete') closeHere();
    else if (event.key === 'Enter' || event.key === ' ') show(doc);
    else return;
    event.preventDefault();
  }
  const mark = doc.conflict.value ? strings.decide : doc.dirty.value ? strings.unsaved : '';
  return html`
    <div ref=${node} class="ed-tab" role="tab" id=${tabId(doc)} tabindex=${isCurrent ? 0 : -1} aria-selected=${String(isCurrent)}
      aria-controls=${isCurrent ? PANEL : undefined} aria-description=${strings.hint} title=${path} data-path=${path}
      data-dirty=${String(doc.dirty.value)} onKeyDown=${onKeyDown} onClick=${() => show(doc)}
      onAuxClick=${(event) => { if (event.button === 1) onClose(doc); }}
      onMouseDown=${(event) => { if (event.button === 1) event.preventDefault(); }}>
      <${Icon} name=${kindOf(path)} />
      <span class="ed-tab-name">${nameOf(path)}</span>
      ${twice && html`<span class="muted small">${parentOf(path) || '/'}</span>`}
      ${mark && html`<span class="hidden">, ${mark}</span>`}
      <span class="ed-tab-close" aria-hidden="true" title=${strings.close(nameOf(path))}
        onClick=${(event) => { event.stopPropagation(); onClose(doc); }}>
        ${doc.dirty.value && html`<span class="ed-tab-dot"></span>`}<${Icon} name="close" /></span>
    </div>`;
}

/** The row of tabs; `onClose(doc)` closes one, and may ask before. */
export function Tabs({ onClose }) {
  const all = documents.value;
  const names = all.map((doc) => nameOf(doc.path.value));
  if (all.length === 0) return null;
  return html`
    <div class="ed-tabs" role="tablist" aria-label=${strings.tabs} data-testid="tabs"
      onWheel=${(event) => { if (event.deltaX === 0) event.currentTarget.scrollLeft += event.deltaY; }}>
      ${all.map((doc, index) => html`<${Tab} key=${doc.id} doc=${doc} onClose=${onClose}
        twice=${names.indexOf(names[index]) !== names.lastIndexOf(names[index])} />`)}
    </div>`;
}
