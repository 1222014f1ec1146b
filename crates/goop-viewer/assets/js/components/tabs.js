// Tabs: one is chosen with the mouse, with arrows, Home and End; Delete closes one that can be closed.

import { html, useLayoutEffect, useRef } from '../../vendor/ui.js';
import { Icon } from './icon.js';

/** `tabs` are `{id, text, icon}`; the panel is the element with the id `panel` (or `panel-<id>` without `panel`). */
export function Tabs({ label, tabs, current, onSelect, onClose, onMenu, panel }) {
  const box = useRef(null);
  // The chosen one is in sight however many there are.
  useLayoutEffect(() => {
    box.current.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [current, tabs.length]);
  function go(at) {
    const tab = tabs[(at + tabs.length) % tabs.length];
    onSelect(tab.id);
    queueMicrotask(() => [...box.current.querySelectorAll('[role="tab"]')].find((node) => node.dataset.tab === tab.id)?.focus());
  }
  function key(event, at) {
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (event.key === 'Delete' && onClose) onClose(tabs[at].id);
    else if (to !== undefined) go(to);
    else return;
    event.preventDefault();
  }
  return html`<div class="tabs" role="tablist" aria-label=${label} ref=${box}>
    ${tabs.map((tab, at) => html`<button key=${tab.id} type="button" class="tab" role="tab" id=${`tab-${tab.id}`} data-tab=${tab.id}
        aria-selected=${String(tab.id === current)} aria-controls=${panel ?? (tab.id === current ? `panel-${tab.id}` : undefined)}
        aria-keyshortcuts=${onClose ? 'Delete' : undefined} tabindex=${tab.id === current ? 0 : -1}
        onClick=${() => onSelect(tab.id)} onKeyDown=${(event) => key(event, at)} onContextMenu=${onMenu && ((event) => onMenu(event, tab.id))}
        onAuxClick=${onClose && ((event) => event.button === 1 && onClose(tab.id))}>
      ${tab.icon && html`<${Icon} name=${tab.icon} />`}<span>${tab.text}</span>
      ${onClose && html`<span class="tab-close" aria-hidden="true" onClick=${(event) => { event.stopPropagation(); onClose(tab.id); }}><${Icon} name="close" /></span>`}
    </button>`)}
  </div>`;
}
