// Tabs, two panes with a divider, and the contents of a long page.

import { Contents } from '/assets/js/components/contents.js';
import { SplitPane } from '/assets/js/components/split-pane.js';
import { Tabs } from '/assets/js/components/tabs.js';
import { html, useState } from '/assets/vendor/ui.js';
import { HEBREW, MARKUP, say } from './stage.js';

const chapters = ['One', 'Two', 'Three'].map((text, at) => ({ id: `chapter-${at + 1}`, text: `${text} ${at === 2 ? HEBREW : ''}`.trim() }));

export function Part() {
  const [tabs, setTabs] = useState(['a', 'b', 'c'].map((id) => ({ id, text: id === 'c' ? `Tab ${MARKUP}` : `Tab ${id}` })));
  const [current, setCurrent] = useState('a');
  const close = (id) => {
    const rest = tabs.filter((tab) => tab.id !== id);
    setTabs(rest);
    if (id === current && rest.length > 0) setCurrent(rest[0].id);
    say(`closed ${id}`);
  };
  return html`
    <${Tabs} label="Letters" tabs=${tabs} current=${current} onSelect=${setCurrent} onClose=${close} />
    ${tabs.length > 0 && html`<div id=${`panel-${current}`} role="tabpanel" aria-labelledby=${`tab-${current}`} tabindex="0">This is ${current}.</div>`}
    <${SplitPane} name="stage" initial=${30} min=${20} max=${50} left=${html`<${Contents} list=${chapters} label="Chapters" />`}
      right=${html`<div class="stack">${chapters.map(({ id, text }) => html`<section key=${id} id=${id} class="card"><h2>${text}</h2>${Array.from({ length: 30 }, (_, line) => html`<p key=${line}>Line ${line}</p>`)}</section>`)}</div>`} />`;
}
