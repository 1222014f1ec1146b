//! Writing a parsed expression anew.

use sqlparser::ast::{
    BinaryOperator, CastKind, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, OrderByExpr, UnaryOperator, Value as Literal,
};

use super::functions::{is_aggregate, is_scalar};
use super::{MAX_ARGS, MAX_DEPTH, MAX_OUTPUTS, Output, Source, Statement};
use crate::ident::quoted;
use crate::{DataError, Value};

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In `WHERE`: about one row.
    Condition,
    /// In the columns or after `HAVING`: may be about many rows.
    Figure,
    /// In `ORDER BY` or `GROUP BY`: may also name a column of the answer.
    Key,
}

/// A statement in the making.
pub(super) struct Writer<'q> {
    source: Source<'q>,
    args: &'q [Value],
    /// The next mark without a number stands for this argument.
    next: usize,
    sql: String,
    values: Vec<Value>,
    /// Given names of the answer's columns.
    names: Vec<String>,
    /// How many columns the answer has.
    columns: usize,
}

fn refused(what: &str) -> DataError {
    DataError::invalid(format!("{what} not allowed in a query"))
}

impl<'q> Writer<'q> {
    pub(super) fn new(source: Source<'q>, args: &'q [Value]) -> Result<Self, DataError> {
        if args.len() > MAX_ARGS {
            return Err(DataError::invalid(format!(
                "more than {MAX_ARGS} arguments"
            )));
        }
        Ok(Self {
            source,
            args,
            next: 0,
            sql: String::with_capacity(128),
            values: Vec::new(),
            names: Vec::new(),
            columns: 0,
        })
    }

    pub(super) fn source(&self) -> Source<'q> {
        self.source
    }

    pub(super) fn push(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    #[cfg(feature = "weakened")]
    pub(super) fn as_it_came(&mut self, text: &str) {
        self.sql.push_str(text);
        if self.next == 0 {
            self.values.extend(self.args.iter().cloned());
        }
        self.next += 1;
    }

    pub(super) fn bind(&mut self, value: Value) {
        self.sql.push('?');
        self.values.push(value);
    }

    /// Gives the column that was just written a name, which keys may use.
    pub(super) fn name_output(&mut self, name: &str) {
        self.push(&format!(" AS {}", quoted(name)));
        self.names.push(name.to_owned());
    }

    /// How many columns the answer has: keys may count them.
    pub(super) fn keys_may_name(&mut self, columns: usize) {
        self.columns = columns;
    }

    pub(super) fn separate(&mut self, outputs: &[Output]) -> Result<(), DataError> {
        if outputs.len() >= MAX_OUTPUTS {
            return Err(DataError::invalid(format!(
                "more than {MAX_OUTPUTS} columns"
            )));
        }
        if !outputs.is_empty() {
            self.push(", ");
        }
        Ok(())
    }

    pub(super) fn finish(self, outputs: Vec<Output>) -> Statement {
        Statement {
            sql: self.sql,
            values: self.values,
            outputs,
        }
    }

    pub(super) fn condition(&mut self, parsed: &Expr) -> Result<(), DataError> {
        self.write(parsed, Place::Condition, 0)
    }

    /// A column of the answer. Tells whether it is a plain column that holds dates.
    pub(super) fn figure(&mut self, parsed: &Expr) -> Result<bool, DataError> {
        self.write(parsed, Place::Figure, 0)?;
        Ok(match parsed {
            Expr::Identifier(name) => self
                .source
                .column(&name.value)
                .is_some_and(|column| column.date),
            _ => false,
        })
    }

    /// A condition on groups; may name columns of the answer.
    pub(super) fn having(&mut self, parsed: &Expr) -> Result<(), DataError> {
        self.write(parsed, Place::Key, 0)
    }

    /// A key to sort or group by; a number is a place in the answer, as in SQL.
    pub(super) fn key(&mut self, parsed: &Expr) -> Result<(), DataError> {
        if let Expr::Value(value) = parsed
            && let Literal::Number(digits, _) = &value.value
        {
            let places = 1..=self.columns;
            let place = digits.parse().ok().filter(|place| places.contains(place));
            let place =
                place.ok_or_else(|| DataError::logic(format!("term out of range: {digits}")))?;
            self.push(&place.to_string());
            return Ok(());
        }
        self.write(parsed, Place::Key, 0)
    }

    pub(super) fn order(&mut self, by: &OrderByExpr) -> Result<(), DataError> {
        use sqlparser::ast::OrderBySort;
        if by.with_fill.is_some() {
            return Err(refused("this order is"));
        }
        self.key(&by.expr)?;
        match &by.options.sort {
            Some(OrderBySort::Desc) => self.push(" DESC"),
            Some(OrderBySort::Asc) => self.push(" ASC"),
            None => {}
            Some(_) => return Err(refused("this order is")),
        }
        match by.options.nulls_first {
            Some(true) => self.push(" NULLS FIRST"),
            Some(false) => self.push(" NULLS LAST"),
            None => {}
        }
        Ok(())
    }

    fn write(&mut self, parsed: &Expr, place: Place, depth: usize) -> Result<(), DataError> {
        if depth > MAX_DEPTH {
            return Err(DataError::invalid("an expression is too large"));
        }
        let deeper = depth + 1;
        match parsed {
            Expr::Identifier(name) => self.name(name, place),
            Expr::CompoundIdentifier(parts) => self.qualified(parts),
            Expr::Value(value) => self.literal(&value.value),
            Expr::Nested(inner) => self.write(inner, place, deeper),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, place, deeper),
            Expr::UnaryOp { op, expr } => {
                self.push(match op {
                    UnaryOperator::Plus => "(+",
                    UnaryOperator::Minus => "(-",
                    UnaryOperator::Not => "(NOT ",
                    UnaryOperator::BitwiseNot => "(~",
                    _ => return Err(refused("this operator is")),
                });
                self.write(expr, place, deeper)?;
                self.push(")");
                Ok(())
            }
            Expr::IsNull(inner) => self.after(inner, " IS NULL", place, deeper),
            Expr::IsNotNull(inner) => self.after(inner, " IS NOT NULL", place, deeper),
            Expr::IsTrue(inner) => self.after(inner, " IS TRUE", place, deeper),
            Expr::IsNotTrue(inner) => self.after(inner, " IS NOT TRUE", place, deeper),
            Expr::IsFalse(inner) => self.after(inner, " IS FALSE", place, deeper),
            Expr::IsNotFalse(inner) => self.after(inner, " IS NOT FALSE", place, deeper),
            Expr::IsDistinctFrom(left, right) => self.pair(left, " IS NOT ", right, place, deeper),
            Expr::IsNotDistinctFrom(left, right) => self.pair(left, " IS ", right, place, deeper),
            Expr::InList {
                expr,
                list,
                negated,
            } => {
                self.push("(");
                self.write(expr, place, deeper)?;
                self.push(if *negated { " NOT IN (" } else { " IN (" });
                self.list(list.iter(), place, deeper)?;
                self.push("))");
                Ok(())
            }
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => {
                self.push("(");
                self.write(expr, place, deeper)?;
                self.push(if *negated {
                    " NOT BETWEEN "
                } else {
                    " BETWEEN "
                });
                self.write(low, place, deeper)?;
                self.push(" AND ");
                self.write(high, place, deeper)?;
                self.push(")");
                Ok(())
            }
            Expr::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char,
            } => {
                self.push("(");
                self.write(expr, place, deeper)?;
                self.push(if *negated { " NOT LIKE " } else { " LIKE " });
                self.write(pattern, place, deeper)?;
                if let Some(escape) = escape_char {
                    self.push(" ESCAPE ");
                    self.write(escape, place, deeper)?;
                }
                self.push(")");
                Ok(())
            }
            Expr::Cast {
                kind: CastKind::Cast,
                expr,
                data_type,
                format: None,
            } => {
                let wanted = data_type.to_string().to_ascii_uppercase();
                let kind = match wanted.as_str() {
                    "INT" | "INTEGER" => "INTEGER",
                    "REAL" | "FLOAT" | "DOUBLE" => "REAL",
                    "TEXT" => "TEXT",
                    "BLOB" => "BLOB",
                    "NUMERIC" => "NUMERIC",
                    _ => return Err(refused("this type is")),
                };
                self.push("CAST(");
                self.write(expr, place, deeper)?;
                self.push(&format!(" AS {kind})"));
                Ok(())
            }
            Expr::Collate { expr, collation } => {
                let name = collation.to_string().to_ascii_uppercase();
                if !matches!(name.as_str(), "BINARY" | "NOCASE" | "RTRIM") {
                    return Err(DataError::logic(format!(
                        "no such collation sequence: {name}"
                    )));
                }
                self.push("(");
                self.write(expr, place, deeper)?;
                self.push(&format!(" COLLATE {name})"));
                Ok(())
            }
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => {
                self.push("CASE");
                if let Some(operand) = operand {
                    self.push(" ");
                    self.write(operand, place, deeper)?;
                }
                for when in conditions {
                    self.push(" WHEN ");
                    self.write(&when.condition, place, deeper)?;
                    self.push(" THEN ");
                    self.write(&when.result, place, deeper)?;
                }
                if let Some(result) = else_result {
                    self.push(" ELSE ");
                    self.write(result, place, deeper)?;
                }
                self.push(" END");
                Ok(())
            }
            Expr::Substring {
                expr,
                substring_from,
                substring_for,
                ..
            } => {
                let rest = [substring_from, substring_for].into_iter().flatten();
                let args: Vec<&Expr> = std::iter::once(expr)
                    .chain(rest)
                    .map(|part| &**part)
                    .collect();
                self.call("substr", &args, place, deeper)
            }
            Expr::Trim {
                trim_where: None,
                trim_what: None,
                expr,
                trim_characters,
            } => {
                let rest = trim_characters.iter().flatten();
                let args: Vec<&Expr> = std::iter::once(&**expr).chain(rest).collect();
                self.call("trim", &args, place, deeper)
            }
            Expr::Ceil { expr, .. } => self.call("ceil", &[expr], place, deeper),
            Expr::Floor { expr, .. } => self.call("floor", &[expr], place, deeper),
            Expr::Function(function) => self.function(function, place, deeper),
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                Err(refused("a subquery is"))
            }
            _ => Err(refused("this expression is")),
        }
    }

    fn name(&mut self, name: &Ident, place: Place) -> Result<(), DataError> {
        if let Some(column) = self.source.column(&name.value) {
            let text = quoted(&column.name);
            self.push(&text);
            return Ok(());
        }
        if place == Place::Key && self.names.contains(&name.value) {
            self.push(&quoted(&name.value));
            return Ok(());
        }
        // SQLite takes a double-quoted word that names nothing for a text; pages rely on it.
        if name.quote_style == Some('"') {
            self.bind(Value::Text(name.value.clone()));
            return Ok(());
        }
        match name.value.to_ascii_lowercase().as_str() {
            "true" => self.bind(Value::Integer(1)),
            "false" => self.bind(Value::Integer(0)),
            "rowid" if self.source.column("_id").is_some() => self.push("\"_id\""),
            word @ ("current_timestamp" | "current_date" | "current_time") => {
                self.push(&word.to_ascii_uppercase());
            }
            _ => {
                return Err(DataError::logic(format!(
                    "no such column: {}",
                    shown(&name.value)
                )));
            }
        }
        Ok(())
    }

    fn qualified(&mut self, parts: &[Ident]) -> Result<(), DataError> {
        if let [table, column] = parts
            && table.value.eq_ignore_ascii_case(self.source.name)
            && let Some(column) = self.source.column(&column.value)
        {
            let text = quoted(&column.name);
            self.push(&text);
            return Ok(());
        }
        let whole: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
        Err(DataError::logic(format!(
            "no such column: {}",
            shown(&whole.join("."))
        )))
    }

    fn literal(&mut self, literal: &Literal) -> Result<(), DataError> {
        let value = match literal {
            Literal::Number(digits, _) => number(digits)?,
            Literal::SingleQuotedString(text) | Literal::DoubleQuotedString(text) => {
                Value::Text(text.clone())
            }
            Literal::Boolean(yes) => Value::Integer(i64::from(*yes)),
            Literal::Null => Value::Null,
            Literal::HexStringLiteral(digits) => Value::Blob(bytes(digits)?),
            Literal::Placeholder(mark) => self.argument(mark)?,
            _ => return Err(refused("this literal is")),
        };
        self.bind(value);
        Ok(())
    }

    /// What a mark stands for: `?` the next argument, `?3` and `$3` the third.
    fn argument(&mut self, mark: &str) -> Result<Value, DataError> {
        let index = if mark == "?" {
            self.next
        } else {
            let number = mark
                .strip_prefix(['?', '$'])
                .and_then(|digits| digits.parse::<usize>().ok());
            let number = number.filter(|number| (1..=MAX_ARGS).contains(number));
            let name = mark.trim_start_matches(['?', '$', ':', '@', '#']);
            number.ok_or_else(|| {
                DataError::invalid(format!("missing named argument {:?}", shown(name)))
            })? - 1
        };
        self.next = self.next.max(index + 1);
        let missing = || DataError::invalid(format!("missing argument with index {}", index + 1));
        self.args.get(index).cloned().ok_or_else(missing)
    }

    fn binary(
        &mut self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        place: Place,
        depth: usize,
    ) -> Result<(), DataError> {
        let sign = match op {
            BinaryOperator::Plus => " + ",
            BinaryOperator::Minus => " - ",
            BinaryOperator::Multiply => " * ",
            BinaryOperator::Divide => " / ",
            BinaryOperator::Modulo => " % ",
            BinaryOperator::StringConcat => " || ",
            BinaryOperator::Gt => " > ",
            BinaryOperator::Lt => " < ",
            BinaryOperator::GtEq => " >= ",
            BinaryOperator::LtEq => " <= ",
            BinaryOperator::Eq => " = ",
            BinaryOperator::NotEq => " <> ",
            BinaryOperator::And => " AND ",
            BinaryOperator::Or => " OR ",
            BinaryOperator::BitwiseOr => " | ",
            BinaryOperator::BitwiseAnd => " & ",
            BinaryOperator::PGBitwiseShiftLeft => " << ",
            BinaryOperator::PGBitwiseShiftRight => " >> ",
            BinaryOperator::Glob => " GLOB ",
            BinaryOperator::Arrow => " -> ",
            BinaryOperator::LongArrow => " ->> ",
            _ => return Err(refused("this operator is")),
        };
        self.pair(left, sign, right, place, depth)
    }

    fn pair(
        &mut self,
        left: &Expr,
        sign: &str,
        right: &Expr,
        place: Place,
        depth: usize,
    ) -> Result<(), DataError> {
        self.push("(");
        self.write(left, place, depth)?;
        self.push(sign);
        self.write(right, place, depth)?;
        self.push(")");
        Ok(())
    }

    fn after(
        &mut self,
        inner: &Expr,
        sign: &str,
        place: Place,
        depth: usize,
    ) -> Result<(), DataError> {
        self.push("(");
        self.write(inner, place, depth)?;
        self.push(sign);
        self.push(")");
        Ok(())
    }

    fn list<'e>(
        &mut self,
        list: impl Iterator<Item = &'e Expr>,
        place: Place,
        depth: usize,
    ) -> Result<(), DataError> {
        for (index, item) in list.enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.write(item, place, depth)?;
        }
        Ok(())
    }

    fn call(
        &mut self,
        name: &str,
        args: &[&Expr],
        place: Place,
        depth: usize,
    ) -> Result<(), DataError> {
        self.push(&format!("{name}("));
        self.list(args.iter().copied(), place, depth)?;
        self.push(")");
        Ok(())
    }

    fn function(
        &mut self,
        function: &Function,
        place: Place,
        depth: usize,
    ) -> Result<(), DataError> {
        let name = function.name.to_string().to_ascii_lowercase();
        let plain = !function.uses_odbc_syntax
            && matches!(function.parameters, FunctionArguments::None)
            && function.over.is_none()
            && function.null_treatment.is_none()
            && function.within_group.is_empty();
        let args = match &function.args {
            // `CURRENT_TIMESTAMP` is written without brackets, and is a word of SQLite, not a function.
            FunctionArguments::None
                if name.starts_with("current_") && is_scalar(&name) && plain =>
            {
                self.push(&name.to_ascii_uppercase());
                return Ok(());
            }
            FunctionArguments::List(list) if plain && list.clauses.is_empty() => list,
            _ => return Err(refused("this form of a function is")),
        };
        // `max(a, b)` is about one row, `max(a)` about many.
        let one_row = matches!(name.as_str(), "max" | "min") && args.args.len() > 1;
        let many_rows = is_aggregate(&name) && !one_row;
        if !(is_scalar(&name) || is_aggregate(&name)) || name.starts_with("current_") {
            return Err(refused(&format!("the function {} is", shown(&name))));
        }
        if many_rows && place == Place::Condition {
            return Err(DataError::logic(format!(
                "misuse of aggregate: {}()",
                name.to_uppercase()
            )));
        }
        self.push(&format!("{name}("));
        match args.duplicate_treatment {
            Some(DuplicateTreatment::Distinct) if many_rows => self.push("DISTINCT "),
            Some(DuplicateTreatment::Distinct) => return Err(refused("DISTINCT is")),
            Some(DuplicateTreatment::All) | None => {}
        }
        for (index, arg) in args.args.iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(inner)) => {
                    self.write(inner, place, depth)?
                }
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "count" => {
                    self.push("*")
                }
                _ => return Err(refused("this argument is")),
            }
        }
        self.push(")");
        if let Some(filter) = &function.filter {
            if !many_rows {
                return Err(refused("FILTER is"));
            }
            self.push(" FILTER (WHERE ");
            self.write(filter, Place::Condition, depth)?;
            self.push(")");
        }
        Ok(())
    }
}

fn number(digits: &str) -> Result<Value, DataError> {
    if let Ok(whole) = digits.parse() {
        return Ok(Value::Integer(whole));
    }
    let real = digits.parse().ok().filter(|real: &f64| real.is_finite());
    let wrong = || DataError::logic(format!("unrecognized token: {:?}", shown(digits)));
    real.map(Value::Real).ok_or_else(wrong)
}

fn bytes(digits: &str) -> Result<Vec<u8>, DataError> {
    let wrong = || DataError::logic(format!("unrecognized token: {:?}", shown(digits)));
    let nibbles = digits
        .chars()
        .map(|digit| digit.to_digit(16))
        .collect::<Option<Vec<u32>>>();
    let nibbles = nibbles
        .filter(|nibbles| nibbles.len() % 2 == 0)
        .ok_or_else(wrong)?;
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).unwrap_or_default();
    Ok(nibbles.chunks_exact(2).map(byte).collect())
}

/// As much of a foreign word as belongs into an answer.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}
