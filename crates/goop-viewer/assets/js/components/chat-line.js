// One line of a conversation: what was written, when, and what became of it.
// Offers: ChatLine, lineMenu.

import { post } from '../api.js';
import { moment } from '../format.js';
import { html } from '../../vendor/ui.js';
import { Icon } from './icon.js';
import { menuAt, openMenu } from './menu.js';
import { copyText, memo } from './mount.js';
import { toastError } from './toast.js';
import { Words } from './words.js';

const strings = {
  me: 'You',
  menu: 'What can be done with this message',
  copy: 'Copy the text',
  copied: 'Text copied',
  withdraw: 'Take it back',
  again: 'Write it again',
  sending: 'sending…',
  waits: (name) => `waiting until ${name} is back`,
  held: 'waits for your decision about the key',
  delivered: 'delivered',
  failed: (why) => (why ? `not delivered: ${why}` : 'not delivered'),
  withdrawn: 'taken back',
};

const signs = { waiting: 'clock', delivered: 'check', failed: 'error', withdrawn: 'undo' };

/** Words for what became of an own line. */
function stateOf(line, { name, there, held }) {
  if (line.state === 'waiting') return held ? strings.held : there ? strings.sending : strings.waits(name);
  return line.state === 'failed' ? strings.failed(line.why) : strings[line.state];
}

function lineMenu(line, mine, id, onAgain) {
  return [
    { text: strings.copy, icon: 'copy', act: () => copyText(line.content, strings.copied) },
    mine && line.state === 'waiting' && {
      text: strings.withdraw, icon: 'undo', act: () => post('/api/chat/withdraw', { peer_id: id, msg_id: line.msg_id }).catch(toastError),
    },
    mine && ['failed', 'withdrawn'].includes(line.state) && { text: strings.again, icon: 'edit', act: () => onAgain(line.content) },
  ];
}

/** `peer` says to whom it is: `{id, name, there, held}`. */
export const ChatLine = memo(({ line, mine, id, name, there, held, marked, onAgain }) => {
  const items = () => lineMenu(line, mine, id, onAgain);
  return html`<div class="line" data-mine=${mine} data-state=${line.state} data-number=${line.number} data-marked=${marked}
      onContextMenu=${(event) => event.target.closest('a') || menuAt(event, strings.menu, items())}>
    <div class="bubble"><span class="hidden">${`${mine ? strings.me : name}: `}</span><${Words} text=${line.content} /></div>
    <div class="line-about small muted">
      <time datetime=${new Date(line.timestamp).toISOString()}>${moment(line.timestamp)}</time>
      ${mine && html`<span class="line-state"><${Icon} name=${signs[line.state] ?? 'check'} />${stateOf(line, { name, there, held })}</span>`}
      <button type="button" class="icon-button line-more" aria-label=${strings.menu} aria-haspopup="menu" onClick=${(event) => openMenu(event.currentTarget, strings.menu, items())}><${Icon} name="more" /></button>
    </div>
  </div>`;
});
