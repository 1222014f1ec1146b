//! Reading a piece of SQL: words and signs within bounds, then the parser's tree.

use sqlparser::ast::{Expr, OrderByExpr};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, Tokenizer};

use super::dialect::Sqlite;
use super::{MAX_NESTING, MAX_TEXT, MAX_TOKENS};
use crate::DataError;

static DIALECT: Sqlite = Sqlite;

/// A column of an answer, as it was written.
pub(super) struct Item {
    pub(super) parsed: Expr,
    pub(super) name: String,
    /// Whether the name was given, so that keys may use it.
    pub(super) given: bool,
}

/// A text that is being read from its beginning to its end.
pub(super) struct Text<'t> {
    text: &'t str,
    parser: Parser<'static>,
}

impl<'t> Text<'t> {
    pub(super) fn read(text: &'t str) -> Result<Self, DataError> {
        if text.len() > MAX_TEXT {
            return Err(DataError::invalid(format!(
                "an expression is longer than {MAX_TEXT} bytes"
            )));
        }
        let tokens = Tokenizer::new(&DIALECT, text)
            .tokenize_with_location()
            .map_err(|error| {
                DataError::logic(format!("unrecognized token: {:?}", error.message))
            })?;
        if tokens.len() > MAX_TOKENS {
            return Err(DataError::invalid("an expression is too large"));
        }
        let parser = Parser::new(&DIALECT)
            .with_recursion_limit(MAX_NESTING)
            .with_tokens_with_locations(tokens);
        Ok(Self { text, parser })
    }

    pub(super) fn expression(&mut self) -> Result<Expr, DataError> {
        let parsed = self.parser.parse_expr();
        parsed.map_err(|error| self.wrong(&error))
    }

    pub(super) fn order(&mut self) -> Result<OrderByExpr, DataError> {
        let parsed = self.parser.parse_order_by_expr();
        parsed.map_err(|error| self.wrong(&error))
    }

    /// An expression and its name: the one after `AS`, or its text as it was written, as SQLite names it.
    pub(super) fn item(&mut self) -> Result<Item, DataError> {
        let start = self.parser.peek_token().span.start;
        let parsed = self.expression()?;
        let end = self.parser.get_current_token().span.end;
        let named = self.parser.parse_keyword(Keyword::AS);
        let next = self.parser.peek_token().token;
        let (name, given) = match next {
            Token::Word(word) => {
                self.parser.next_token();
                (word.value, true)
            }
            Token::SingleQuotedString(name) if named => {
                self.parser.next_token();
                (name, true)
            }
            _ if named => return Err(self.unexpected()),
            _ => match &parsed {
                Expr::Identifier(name) => (name.value.clone(), false),
                _ => (self.between(start, end).trim().to_owned(), false),
            },
        };
        Ok(Item {
            parsed,
            name,
            given,
        })
    }

    pub(super) fn comma(&mut self) -> bool {
        self.parser.consume_token(&Token::Comma)
    }

    pub(super) fn star(&mut self) -> bool {
        self.parser.consume_token(&Token::Mul)
    }

    pub(super) fn having(&mut self) -> bool {
        self.parser.parse_keyword(Keyword::HAVING)
    }

    pub(super) fn end(&mut self) -> Result<(), DataError> {
        if self.parser.peek_token().token == Token::EOF {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn wrong(&self, error: &ParserError) -> DataError {
        match error {
            ParserError::RecursionLimitExceeded => {
                DataError::invalid("an expression is nested too deeply")
            }
            _ => self.unexpected(),
        }
    }

    /// SQLite's words for a word that does not belong here.
    fn unexpected(&self) -> DataError {
        match self.parser.peek_token().token {
            Token::EOF => DataError::logic("incomplete input"),
            token => {
                let shown: String = token.to_string().chars().take(64).collect();
                DataError::logic(format!("near \"{shown}\": syntax error"))
            }
        }
    }

    fn between(&self, start: Location, end: Location) -> &'t str {
        let (start, end) = (self.offset(start), self.offset(end));
        self.text.get(start..end).unwrap_or(self.text)
    }

    /// Byte offset of a place; lines and columns count letters from 1.
    fn offset(&self, place: Location) -> usize {
        let (mut line, mut column) = (1, 1);
        for (offset, letter) in self.text.char_indices() {
            if line == place.line && column == place.column {
                return offset;
            }
            if letter == '\n' {
                line += 1;
                column = 1;
            } else {
                column += 1;
            }
        }
        self.text.len()
    }
}
