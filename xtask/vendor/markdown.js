// Markdown as a tree of tokens. The pages make elements of it themselves; no HTML is ever parsed.
import { Lexer } from 'marked';

/** The tokens of a text (marked's lexer, GitHub's dialect). */
export const tokens = (text) => new Lexer({ gfm: true }).lex(text);
