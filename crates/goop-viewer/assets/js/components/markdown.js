// Markdown as elements. Its HTML parts are left out, links lead to pages of ours or to a new tab.
// Offers: Markdown, headings.

import { tokens } from '../../vendor/markdown.js';
import { h, html, useMemo } from '../../vendor/ui.js';

const SAFE_LINK = /^(https?:|mailto:|#|\/)/i;

/** A fragment for a heading: `See who is there` → `see-who-is-there`. */
export const slug = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '');

/** Headings of a text, as `{id, text, depth}`. */
export const headings = (text) => tokens(text).filter((token) => token.type === 'heading')
  .map((token) => ({ id: slug(token.text), text: plain(token.tokens), depth: token.depth }));

const plain = (list) => (list ?? []).map((token) => (token.tokens ? plain(token.tokens) : token.text)).join('');

function link(token) {
  const inner = inline(token.tokens);
  if (!SAFE_LINK.test(token.href)) return html`<span>${inner}</span>`;
  return /^[#/]/.test(token.href)
    ? html`<a href=${token.href}>${inner}</a>`
    : html`<a href=${token.href} target="_blank" rel="noreferrer">${inner}</a>`;
}

/** Entities that the lexer leaves in texts. */
const ENTITIES = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" };
const decoded = (text) => text.replace(/&(amp|lt|gt|quot|#39);/g, (entity) => ENTITIES[entity]);

function inline(list) {
  return (list ?? []).map((token) => {
    switch (token.type) {
      case 'strong': return html`<strong>${inline(token.tokens)}</strong>`;
      case 'em': return html`<em>${inline(token.tokens)}</em>`;
      case 'del': return html`<del>${inline(token.tokens)}</del>`;
      case 'codespan': return html`<code>${decoded(token.text)}</code>`;
      case 'br': return html`<br />`;
      case 'link': return link(token);
      case 'image': return html`<em>${token.text}</em>`;
      case 'html': return null;
      default: return token.tokens ? inline(token.tokens) : decoded(token.text);
    }
  });
}

const cells = (row, tag, align) => row.map((cell, at) => h(tag, { key: at, scope: tag === 'th' ? 'col' : undefined, style: align[at] ? { textAlign: align[at] } : undefined }, inline(cell.tokens)));

function block(token) {
  switch (token.type) {
    case 'heading': return h(`h${Math.min(6, token.depth + 1)}`, { id: slug(token.text) }, inline(token.tokens));
    case 'paragraph': return html`<p>${inline(token.tokens)}</p>`;
    case 'text': return token.tokens ? html`<span>${inline(token.tokens)}</span>` : decoded(token.text);
    case 'code': return html`<pre tabindex="0"><code>${token.text}</code></pre>`;
    case 'blockquote': return html`<blockquote>${token.tokens.map(block)}</blockquote>`;
    case 'hr': return html`<hr />`;
    case 'list': return h(token.ordered ? 'ol' : 'ul', { start: token.start || undefined }, token.items.map((item) => html`<li>${item.tokens.map(block)}</li>`));
    case 'table': return html`<div class="table-box" tabindex="0" role="region" aria-label=${plain(token.header[0].tokens)}><table class="table">
      <thead><tr>${cells(token.header, 'th', token.align)}</tr></thead>
      <tbody>${token.rows.map((row) => html`<tr>${cells(row, 'td', token.align)}</tr>`)}</tbody></table></div>`;
    default: return null;
  }
}

/** A text as elements; its first heading becomes an `h2`. */
export function Markdown({ text }) {
  const blocks = useMemo(() => tokens(text).map(block), [text]);
  return html`<div class="prose">${blocks}</div>`;
}
