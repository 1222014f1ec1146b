// The code editor: CodeMirror 6 with the languages a site is written in.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { css } from '@codemirror/lang-css';
import { html } from '@codemirror/lang-html';
import { javascript } from '@codemirror/lang-javascript';
import { json } from '@codemirror/lang-json';
import { markdown } from '@codemirror/lang-markdown';
import { xml } from '@codemirror/lang-xml';
import {
  HighlightStyle, StreamLanguage, bracketMatching, foldGutter, foldKeymap, indentOnInput, indentUnit, syntaxHighlighting,
} from '@codemirror/language';
import { lua } from '@codemirror/legacy-modes/mode/lua';
import { highlightSelectionMatches, openSearchPanel, search, searchKeymap } from '@codemirror/search';
import { Compartment, EditorState } from '@codemirror/state';
import {
  EditorView, crosshairCursor, drawSelection, dropCursor, highlightActiveLine, highlightActiveLineGutter,
  highlightSpecialChars, keymap, lineNumbers, rectangularSelection,
} from '@codemirror/view';
import { tags } from '@lezer/highlight';

export { Compartment, EditorState, EditorView, openSearchPanel };

const languages = {
  html: () => html(), htm: () => html(), css: () => css(), js: () => javascript(), mjs: () => javascript(),
  json: () => json(), md: () => markdown(), svg: () => xml(), xml: () => xml(), lua: () => StreamLanguage.define(lua),
};

/** What colours a file with this name; nothing for plain text. */
export function languageOf(name) {
  const make = languages[name.slice(name.lastIndexOf('.') + 1).toLowerCase()];
  return make ? make() : [];
}

/** Colours come from the pages' own tokens (`--code-…`), so themes need no second set here. */
const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: 'var(--code-keyword)' },
  { tag: [tags.tagName, tags.typeName, tags.className], color: 'var(--code-name)' },
  { tag: [tags.attributeName, tags.propertyName, tags.function(tags.variableName)], color: 'var(--code-property)' },
  { tag: [tags.string, tags.attributeValue, tags.regexp, tags.url], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.atom, tags.color], color: 'var(--code-number)' },
  { tag: [tags.comment, tags.meta, tags.processingInstruction], color: 'var(--code-comment)', fontStyle: 'italic' },
  { tag: tags.heading, fontWeight: '600' },
  { tag: tags.emphasis, fontStyle: 'italic' },
  { tag: tags.strong, fontWeight: '700' },
  { tag: tags.invalid, color: 'var(--code-invalid)' },
]);

/** What every open file has. `keys` are bindings of the page (saving). */
export const setup = (keys) => [
  lineNumbers(), foldGutter(), highlightSpecialChars(), history(), drawSelection(), dropCursor(), indentOnInput(),
  bracketMatching(), closeBrackets(), autocompletion(), rectangularSelection(), crosshairCursor(), highlightActiveLine(),
  highlightActiveLineGutter(), highlightSelectionMatches(), search({ top: true }), indentUnit.of('  '),
  EditorView.lineWrapping, syntaxHighlighting(colours),
  keymap.of([
    ...keys, ...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...completionKeymap,
    indentWithTab,
  ]),
];
