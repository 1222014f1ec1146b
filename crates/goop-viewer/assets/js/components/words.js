// What somebody wrote, as it is shown: text, its line breaks, and links that say where they lead. Nothing in it is markup,
// nothing is fetched, and nothing turns around what stands beside it.
// Offers: Words.

import { html } from '../../vendor/ui.js';

/** Addresses of the web; what ends a sentence is no part of them. */
const LINK = /https?:\/\/[^\s<>"]+[^\s<>".,;:!?'’)\]}]/giu;
/** Characters that turn the direction of what follows. */
const TURNING = /[\u202a-\u202e\u2066-\u2069]/g;
/** Controls, except line breaks and tabs. */
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
/** A few emoji and nothing else. */
const ONLY_EMOJI = /^(?:\p{Extended_Pictographic}(?:\ufe0f|\u200d\p{Extended_Pictographic}|\p{Emoji_Modifier})*\s*){1,6}$/u;

function parts(text) {
  const found = [];
  let at = 0;
  for (const { 0: link, index } of text.matchAll(LINK)) {
    if (!URL.canParse(link)) continue;
    if (index > at) found.push(text.slice(at, index));
    found.push({ link, to: new URL(link) });
    at = index + link.length;
  }
  if (at < text.length) found.push(text.slice(at));
  return found;
}

export function Words({ text }) {
  const clean = text.replace(/\r\n?/g, '\n').replace(TURNING, '').replace(CONTROLS, '');
  return html`<p class="words" dir="auto" data-large=${ONLY_EMOJI.test(clean)}>${parts(clean).map((part, place) => (typeof part === 'string' ? part
    : html`<a key=${place} href=${part.to.href} title=${part.to.href} target="_blank" rel="noopener noreferrer">${part.link}</a>`))}</p>`;
}
