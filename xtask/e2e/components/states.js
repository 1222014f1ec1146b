// Nothing to show, and why; how far something is; pictures of people; texts of others.

import { Avatar } from '/assets/js/components/avatar.js';
import { Markdown } from '/assets/js/components/markdown.js';
import { Progress } from '/assets/js/components/progress.js';
import { Empty, Failure, Loading, Offline } from '/assets/js/components/states.js';
import { link } from '/assets/js/session.js';
import { html, useState } from '/assets/vendor/ui.js';
import { HEBREW, MARKUP, say } from './stage.js';

const text = `# ${HEBREW}\n\n${MARKUP}\n\n[a trap](javascript:window.pwned=1) and [a page](/peers) and [away](https://example.org/)\n\n<script>window.pwned=1</script>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n`;

export function Part() {
  const [value, setValue] = useState(0.25);
  return html`
    <${Offline} />
    <div class="row"><button type="button" class="button" onClick=${() => { link.value = 'lost'; }}>Lose the connection</button>
      <button type="button" class="button" onClick=${() => { link.value = 'live'; }}>Find it again</button>
      <button type="button" class="button" onClick=${() => setValue(value === undefined ? 0.5 : undefined)}>Change the progress</button></div>
    <${Empty} title=${`Nothing ${MARKUP}`} text=${HEBREW}><button type="button" class="button" onClick=${() => say('way out')}>A way out</button><//>
    <${Loading} />
    <${Failure} error=${new Error(`The disk is full ${MARKUP}`)} again=${() => say('again')} />
    <${Failure} error=${Object.assign(new Error('no'), { status: 401 })} />
    <${Progress} label="Sending" value=${value} />
    <p><${Avatar} src="/stage/no-such-picture.png" alt="Nobody" /></p>
    <article class="card"><${Markdown} text=${text} /></article>`;
}
