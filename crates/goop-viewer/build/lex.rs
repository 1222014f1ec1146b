//! Words of a JavaScript module, as far as joining modules needs them: what is code, what is text, how deep it is nested.
//!
//! It knows comments, strings, templates with their substitutions, regular expressions and brackets. Whether a `/` divides
//! or begins a regular expression is decided by what stands before it; a wrong guess leaves brackets or quotes open, and
//! that is an error here, never a wrong program.

use std::fmt;

/// Why a module cannot be joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Line, counted from 1.
    pub(crate) line: usize,
    /// What is wrong and what to do.
    pub(crate) what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, keyword or number.
    Word,
    /// A string with its quotes.
    Text,
    /// A regular expression or a piece of a template.
    Other,
    /// One character of punctuation.
    Mark,
}

/// A piece of code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// As it is written.
    pub(crate) text: &'a str,
    /// Where it begins, in bytes.
    pub(crate) start: usize,
    /// Brackets open around it; a bracket counts as outside itself.
    pub(crate) depth: usize,
}

impl Token<'_> {
    /// Where it ends, in bytes.
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this word or mark.
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }
}

/// The line of a place, counted from 1.
pub(crate) fn line_of(source: &str, at: usize) -> usize {
    source[..at].matches('\n').count() + 1
}

/// Words after which a `/` begins a regular expression.
const BEFORE_REGEX: [&str; 14] = [
    "return",
    "typeof",
    "case",
    "in",
    "of",
    "delete",
    "void",
    "throw",
    "new",
    "do",
    "else",
    "instanceof",
    "await",
    "yield",
];

/// The tokens of a module, without comments.
///
/// # Errors
/// Something is not closed, or closed that was not open.
pub(crate) fn tokens(source: &str) -> Result<Vec<Token<'_>>, Wrong> {
    let mut lexer = Lexer {
        source,
        at: 0,
        open: Vec::new(),
        tokens: Vec::new(),
    };
    while lexer.step()? {}
    match lexer.open.last() {
        Some((bracket, at)) => Err(wrong(source, *at, format!("`{bracket}` is never closed"))),
        None => Ok(lexer.tokens),
    }
}

fn wrong(source: &str, at: usize, what: String) -> Wrong {
    Wrong {
        line: line_of(source, at),
        what,
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// Open brackets and where they are; a template's substitution counts as `$`.
    open: Vec<(char, usize)>,
    tokens: Vec<Token<'a>>,
}

impl Lexer<'_> {
    /// Takes the next token or comment; `false` at the end.
    fn step(&mut self) -> Result<bool, Wrong> {
        let rest = &self.source[self.at..];
        let Some(first) = rest.chars().next() else {
            return Ok(false);
        };
        if first.is_whitespace() {
            self.at += first.len_utf8();
        } else if rest.starts_with("//") {
            self.at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").ok_or_else(|| self.unclosed("a comment"))?;
            self.at += end + 2;
        } else if is_of_word(first) {
            let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
            self.push(Kind::Word, end);
        } else if first == '\'' || first == '"' {
            let end = self.quoted(first)?;
            self.push(Kind::Text, end);
        } else if first == '/' && self.regex_may_begin() {
            let end = self.regex()?;
            self.push(Kind::Other, end);
        } else if first == '`' {
            self.template(1)?;
        } else {
            self.mark(first)?;
        }
        Ok(true)
    }

    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token {
            kind,
            text: &self.source[self.at..self.at + length],
            start: self.at,
            depth: self.open.len(),
        });
        self.at += length;
    }

    fn unclosed(&self, what: &str) -> Wrong {
        wrong(self.source, self.at, format!("{what} is never closed"))
    }

    fn mark(&mut self, mark: char) -> Result<(), Wrong> {
        match mark {
            '(' | '[' | '{' => {
                let at = self.at;
                self.push(Kind::Mark, 1);
                self.open.push((mark, at));
            }
            ')' | ']' | '}' => {
                let opened = self.open.pop().map(|(bracket, _)| bracket);
                match (opened, mark) {
                    (Some('('), ')') | (Some('['), ']') | (Some('{'), '}') => {
                        self.push(Kind::Mark, 1)
                    }
                    (Some('$'), '}') => self.template(1)?,
                    _ => {
                        let what = format!("`{mark}` closes nothing that is open");
                        return Err(wrong(self.source, self.at, what));
                    }
                }
            }
            _ => self.push(Kind::Mark, mark.len_utf8()),
        }
        Ok(())
    }

    /// A template from its quote, or from the end of a substitution, to the next substitution or its end.
    fn template(&mut self, skip: usize) -> Result<(), Wrong> {
        let rest = &self.source.as_bytes()[self.at..];
        let mut end = skip;
        loop {
            match rest.get(end) {
                None => return Err(self.unclosed("a template")),
                Some(b'\\') => end += 2,
                Some(b'`') => {
                    self.push(Kind::Other, end + 1);
                    return Ok(());
                }
                Some(b'$') if rest.get(end + 1) == Some(&b'{') => {
                    let at = self.at;
                    self.push(Kind::Other, end + 2);
                    self.open.push(('$', at));
                    return Ok(());
                }
                Some(_) => end += 1,
            }
        }
    }

    /// The length of a string.
    fn quoted(&self, quote: char) -> Result<usize, Wrong> {
        let mut escaped = false;
        for (at, c) in self.source[self.at..].char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => return Ok(at + 1),
                _ => {}
            }
        }
        Err(self.unclosed("a string"))
    }

    /// The length of a regular expression without its flags, which look like a word and do no harm as one.
    fn regex(&self) -> Result<usize, Wrong> {
        let (mut escaped, mut in_class) = (false, false);
        for (at, c) in self.source[self.at..].char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' => in_class = true,
                ']' => in_class = false,
                '/' if !in_class => return Ok(at + 1),
                _ => {}
            }
        }
        Err(self.unclosed("a regular expression"))
    }

    fn regex_may_begin(&self) -> bool {
        let Some(before) = self.tokens.last() else {
            return true;
        };
        match before.kind {
            Kind::Word => BEFORE_REGEX.contains(&before.text),
            Kind::Mark => !matches!(before.text, ")" | "]"),
            Kind::Text => false,
            // After `${` comes an expression, after a template or a regular expression an operator.
            Kind::Other => before.text.ends_with("${"),
        }
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '#')
}
