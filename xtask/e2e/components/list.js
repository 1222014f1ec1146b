// A list of a hundred thousand rows.

import { VirtualList } from '/assets/js/components/virtual-list.js';
import { html, useMemo } from '/assets/vendor/ui.js';
import { HEBREW, MARKUP, say } from './stage.js';

const COUNT = 100_000;
const nameOf = (at) => (at === 1 ? MARKUP : at === 2 ? HEBREW : `Row ${at}`);

export function Part() {
  const items = useMemo(() => Array.from({ length: COUNT }, (_, at) => ({ at })), []);
  return html`<${VirtualList} label="Rows" items=${items} keyOf=${({ at }) => String(at)}
    row=${({ at }) => html`<div class="cut"><button type="button" class="button" onClick=${() => say(`chose ${at}`)}>Choose ${nameOf(at)}</button></div>`} />`;
}
