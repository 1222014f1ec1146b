//! SQLite's expressions as the parser is to read them: the parser's own dialect lacks shifts, `IS` between two
//! expressions, `ISNULL`, `NOT GLOB`, and gives operators the precedence of another database.

use std::any::TypeId;

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};
use sqlparser::dialect::{Dialect, Precedence, SQLiteDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// Precedences, weakest first (<https://sqlite.org/lang_expr.html#operators_and_parse_affecting_attributes>).
const OR: u8 = 5;
const AND: u8 = 10;
const NOT: u8 = 15;
const EQUAL: u8 = 20;
const ORDER: u8 = 22;
const BITS: u8 = 26;
const PLUS: u8 = 30;
const TIMES: u8 = 40;
const CONCAT: u8 = 45;
const UNARY: u8 = 60;
const PERIOD: u8 = 100;

/// The parser's SQLite dialect, corrected.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sqlite;

const PARENT: SQLiteDialect = SQLiteDialect {};

impl Dialect for Sqlite {
    fn dialect(&self) -> TypeId {
        TypeId::of::<SQLiteDialect>()
    }

    fn is_delimited_identifier_start(&self, letter: char) -> bool {
        PARENT.is_delimited_identifier_start(letter)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        PARENT.identifier_quote_style(identifier)
    }

    fn is_identifier_start(&self, letter: char) -> bool {
        PARENT.is_identifier_start(letter)
    }

    fn is_identifier_part(&self, letter: char) -> bool {
        PARENT.is_identifier_part(letter)
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_in_empty_list(&self) -> bool {
        true
    }

    fn supports_dollar_placeholder(&self) -> bool {
        true
    }

    fn supports_notnull_operator(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::Or => OR,
            Precedence::And => AND,
            Precedence::UnaryNot => NOT,
            Precedence::Between | Precedence::Eq | Precedence::Like | Precedence::Is => EQUAL,
            Precedence::Ampersand | Precedence::Caret | Precedence::Pipe | Precedence::Xor => BITS,
            Precedence::PlusMinus => PLUS,
            Precedence::MulDivModOp => TIMES,
            Precedence::PgOther => CONCAT,
            Precedence::Period => PERIOD,
            _ => UNARY,
        }
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        let keyword = |token: &Token| match token {
            Token::Word(word) if word.quote_style.is_none() => {
                Some((word.keyword, word.value.to_ascii_uppercase()))
            }
            _ => None,
        };
        let token = &parser.peek_nth_token_ref(0).token;
        Some(Ok(match token {
            Token::Word(_) => match keyword(token) {
                Some((Keyword::OR, _)) => OR,
                Some((Keyword::AND, _)) => AND,
                Some((
                    Keyword::IS
                    | Keyword::IN
                    | Keyword::BETWEEN
                    | Keyword::LIKE
                    | Keyword::GLOB
                    | Keyword::MATCH
                    | Keyword::REGEXP
                    | Keyword::NOTNULL,
                    _,
                )) => EQUAL,
                Some((_, word)) if word == "ISNULL" => EQUAL,
                // Between two expressions, `NOT` begins the negated form of what follows.
                Some((Keyword::NOT, _)) => match keyword(&parser.peek_nth_token_ref(1).token) {
                    Some((
                        Keyword::IN
                        | Keyword::BETWEEN
                        | Keyword::LIKE
                        | Keyword::GLOB
                        | Keyword::NULL,
                        _,
                    )) => EQUAL,
                    _ => 0,
                },
                _ => 0,
            },
            Token::Eq | Token::DoubleEq | Token::Neq => EQUAL,
            Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => ORDER,
            Token::Ampersand | Token::Pipe | Token::ShiftLeft | Token::ShiftRight => BITS,
            Token::Plus | Token::Minus => PLUS,
            Token::Mul | Token::Div | Token::Mod => TIMES,
            Token::StringConcat | Token::Arrow | Token::LongArrow => CONCAT,
            Token::Period => PERIOD,
            _ => 0,
        }))
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let op = match parser.peek_token_ref().token {
            Token::Minus => UnaryOperator::Minus,
            Token::Plus => UnaryOperator::Plus,
            Token::Tilde => UnaryOperator::BitwiseNot,
            _ => return None,
        };
        parser.next_token();
        let operand = parser.parse_subexpr(UNARY);
        Some(operand.map(|expr| Expr::UnaryOp {
            op,
            expr: Box::new(expr),
        }))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        left: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if parser.parse_keyword(Keyword::IS) {
            return Some(is(parser, left));
        }
        if parser.parse_keywords(&[Keyword::NOT, Keyword::GLOB]) {
            let glob = binary(parser, left, BinaryOperator::Glob, precedence);
            return Some(glob.map(|glob| Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr: Box::new(glob),
            }));
        }
        if parser.parse_keyword(Keyword::GLOB) {
            return Some(binary(parser, left, BinaryOperator::Glob, precedence));
        }
        let is_null = matches!(&parser.peek_token_ref().token, Token::Word(word) if word.value.eq_ignore_ascii_case("isnull"));
        if is_null {
            parser.next_token();
            return Some(Ok(Expr::IsNull(Box::new(left.clone()))));
        }
        if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            return Some(Ok(Expr::IsNotNull(Box::new(left.clone()))));
        }
        None
    }
}

fn binary(
    parser: &mut Parser<'_>,
    left: &Expr,
    op: BinaryOperator,
    precedence: u8,
) -> Result<Expr, ParserError> {
    let right = parser.parse_subexpr(precedence)?;
    Ok(Expr::BinaryOp {
        left: Box::new(left.clone()),
        op,
        right: Box::new(right),
    })
}

/// What stands behind `IS`: SQLite compares any two expressions with it.
fn is(parser: &mut Parser<'_>, left: &Expr) -> Result<Expr, ParserError> {
    let not = parser.parse_keyword(Keyword::NOT);
    let distinct = parser.parse_keywords(&[Keyword::DISTINCT, Keyword::FROM]);
    let (left, right) = (Box::new(left.clone()), parser.parse_subexpr(EQUAL)?);
    // Written out, TRUE and FALSE ask for the truth of a value; anything else is compared.
    let truth = truth(&right);
    let differs = distinct != not;
    Ok(match (truth, differs) {
        (Some(true), false) => Expr::IsTrue(left),
        (Some(true), true) => Expr::IsNotTrue(left),
        (Some(false), false) => Expr::IsFalse(left),
        (Some(false), true) => Expr::IsNotFalse(left),
        (None, true) => Expr::IsDistinctFrom(left, Box::new(right)),
        (None, false) => Expr::IsNotDistinctFrom(left, Box::new(right)),
    })
}

/// SQLite looks through brackets and collations for the word.
fn truth(written: &Expr) -> Option<bool> {
    match written {
        Expr::Value(value) => match value.value {
            Value::Boolean(truth) => Some(truth),
            _ => None,
        },
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => truth(inner),
        _ => None,
    }
}
