// Menus, dialogs and messages.

import { Dialog, confirm, openDialog } from '/assets/js/components/dialog.js';
import { menuAt, openMenu } from '/assets/js/components/menu.js';
import { toast } from '/assets/js/components/toast.js';
import { html } from '/assets/vendor/ui.js';
import { HEBREW, MARKUP, say } from './stage.js';

const fruit = () => ['Apple', 'Apricot', 'Banana', `Cherry ${MARKUP}`, HEBREW].map((text) => ({ text, icon: 'star', act: () => say(text) }));
const button = (text, act) => html`<button type="button" class="button" onClick=${act}>${text}</button>`;
const ask = () => confirm({ title: `Delete ${MARKUP}?`, text: `${HEBREW} is gone then.`, ok: 'Delete', bad: true }).then((yes) => say(`answered ${yes}`));
const kept = () => openDialog((close) => html`<${Dialog} title="Kept" keep onClose=${() => close('left')}><p>Only a button leads out.</p>
  <div class="row dialog-ways"><button type="button" class="button primary" onClick=${() => close('done')}>Done</button></div><//>`).then(say);

export const Part = () => html`
  <div class="row">${button('Fruit', (event) => openMenu(event.currentTarget, 'Fruit menu', fruit()))}
    <button type="button" class="button" onContextMenu=${(event) => menuAt(event, 'Context menu', fruit())}>With a context menu</button></div>
  <div class="row">${button('Ask', ask)}${button('Keep', kept)}</div>
  <div class="row">
    ${button('Info', () => toast(`Read ${MARKUP}`, { title: HEBREW, stay: 60_000 }))}
    ${button('Error', () => toast('x'.repeat(1000), { level: 'error', stay: 60_000 }))}
    ${button('Action', () => toast('Something was deleted.', { label: 'Bring it back', action: () => say('brought back'), stay: 60_000 }))}
    ${button('Brief', () => { toast('Held for long.', { stay: 400 }); toast('Gone soon.', { stay: 1500 }); })}
  </div>`;
