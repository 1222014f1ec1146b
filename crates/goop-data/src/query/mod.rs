//! The query language: what arrives as `where`, `order`, `columns`, `expr` and `group_by` is parsed as an expression of
//! SQLite's dialect over the columns of one table, and written anew.
//!
//! Nothing of the text that came in reaches SQLite: names are those of the table, functions and operators come from
//! lists, and every value is bound. What the lists do not name is refused.

mod dialect;
mod expression;
pub mod functions;
mod text;

use crate::ident::quoted;
use crate::{DataError, Value};

use text::Text;

/// Longest `where`, `order`, `expr` or `group_by`, in bytes.
pub const MAX_TEXT: usize = 16 * 1024;
/// Most words and signs in one of them: the tree that they make is at most half as deep.
pub const MAX_TOKENS: usize = 2_000;
/// Deepest nesting of brackets and functions.
pub const MAX_NESTING: usize = 50;
/// Deepest tree, counting a chain of `AND` as one level each.
pub const MAX_DEPTH: usize = 400;
/// Most values bound to a question.
pub const MAX_ARGS: usize = 1_000;
/// Most columns of an answer.
pub const MAX_OUTPUTS: usize = 256;

/// The table a question is about.
#[derive(Debug, Clone, Copy)]
pub struct Source<'t> {
    /// Its exact name.
    pub name: &'t str,
    /// The columns that exist for the caller.
    pub columns: &'t [SourceColumn],
}

/// A column as a question sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its exact name.
    pub name: String,
    /// Whether it is declared DATE, DATETIME or TIMESTAMP.
    pub date: bool,
}

impl Source<'_> {
    /// The column of a name, whatever its case.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&SourceColumn> {
        self.columns
            .iter()
            .find(|column| column.name == name)
            .or_else(|| {
                self.columns
                    .iter()
                    .find(|column| column.name.eq_ignore_ascii_case(name))
            })
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Question<'q> {
    /// What to show; everything where it is empty. Each is one or more expressions, maybe with a name.
    pub columns: &'q [String],
    /// Which rows; all where it is empty.
    pub filter: &'q str,
    /// What the marks in the texts stand for.
    pub args: &'q [Value],
    /// In which order.
    pub order: &'q str,
    /// Which rows make one, maybe with `HAVING …`.
    pub group_by: &'q str,
    /// Each answer once.
    pub distinct: bool,
    /// Rows at most; 0 or less: as many as there are.
    pub limit: i64,
    /// Rows to leave out first; counts only with a limit (storage.md 8).
    pub offset: i64,
    /// Only rows of this owner.
    pub owned_by: Option<&'q str>,
}

/// A statement that is ours from the first letter to the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Its text.
    pub sql: String,
    /// Its values.
    pub values: Vec<Value>,
    /// What its columns are.
    pub outputs: Vec<Output>,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name: the given one, or its text.
    pub name: String,
    /// Whether it is a plain column that holds dates.
    pub date: bool,
}

/// Makes a statement of a question.
///
/// # Errors
/// What is not of the language, in SQLite's words where it has some.
pub fn select(source: Source<'_>, question: &Question<'_>) -> Result<Statement, DataError> {
    let mut writer = expression::Writer::new(source, question.args)?;
    writer.push("SELECT ");
    if question.distinct {
        writer.push("DISTINCT ");
    }
    let outputs = outputs(&mut writer, question.columns)?;
    writer.push(" FROM ");
    writer.push(&quoted(source.name));
    conditions(&mut writer, question.filter, question.owned_by)?;
    writer.keys_may_name(outputs.len());
    #[cfg(feature = "weakened")]
    if is_weak() {
        for (word, text) in [
            (" GROUP BY ", question.group_by),
            (" ORDER BY ", question.order),
        ] {
            if !text.trim().is_empty() {
                writer.push(word);
                writer.as_it_came(text);
            }
        }
        return Ok(writer.finish(outputs));
    }
    if !question.group_by.trim().is_empty() {
        let mut text = Text::read(question.group_by)?;
        writer.push(" GROUP BY ");
        loop {
            writer.key(&text.expression()?)?;
            if !text.comma() {
                break;
            }
            writer.push(", ");
        }
        if text.having() {
            writer.push(" HAVING ");
            writer.having(&text.expression()?)?;
        }
        text.end()?;
    }
    if !question.order.trim().is_empty() {
        let mut text = Text::read(question.order)?;
        writer.push(" ORDER BY ");
        loop {
            let by = text.order()?;
            writer.order(&by)?;
            if !text.comma() {
                break;
            }
            writer.push(", ");
        }
        text.end()?;
    }
    if question.limit > 0 {
        writer.push(" LIMIT ");
        writer.bind(Value::Integer(question.limit));
        if question.offset > 0 {
            writer.push(" OFFSET ");
            writer.bind(Value::Integer(question.offset));
        }
    }
    Ok(writer.finish(outputs))
}

/// Makes an `UPDATE … SET` of named values, or a `DELETE`, for rows that a condition names.
///
/// # Errors
/// As [`select`]. The columns of `set` must have been looked up by the caller.
pub fn change(
    source: Source<'_>,
    set: Option<&[(String, Value)]>,
    filter: &str,
    args: &[Value],
    owned_by: Option<&str>,
) -> Result<Statement, DataError> {
    let mut writer = expression::Writer::new(source, args)?;
    match set {
        Some(set) => {
            writer.push(&format!("UPDATE {} SET ", quoted(source.name)));
            for (place, (column, value)) in set.iter().enumerate() {
                if place > 0 {
                    writer.push(", ");
                }
                writer.push(&format!("{} = ", quoted(column)));
                writer.bind(value.clone());
            }
        }
        None => writer.push(&format!("DELETE FROM {}", quoted(source.name))),
    }
    conditions(&mut writer, filter, owned_by)?;
    Ok(writer.finish(Vec::new()))
}

/// The scope first and on its own: nothing in `filter` can undo it.
fn conditions(
    writer: &mut expression::Writer<'_>,
    filter: &str,
    owned_by: Option<&str>,
) -> Result<(), DataError> {
    let mut joint = " WHERE ";
    if let Some(owner) = owned_by {
        writer.push(joint);
        writer.push("(\"_owner\" = ");
        writer.bind(Value::Text(owner.to_owned()));
        writer.push(")");
        joint = " AND ";
    }
    #[cfg(feature = "weakened")]
    if is_weak() && !filter.trim().is_empty() {
        writer.push(joint);
        writer.push("(");
        writer.as_it_came(filter);
        writer.push(")");
        return Ok(());
    }
    if !filter.trim().is_empty() {
        let mut text = Text::read(filter)?;
        let parsed = text.expression()?;
        text.end()?;
        writer.push(joint);
        writer.push("(");
        writer.condition(&parsed)?;
        writer.push(")");
    }
    Ok(())
}

#[cfg(feature = "weakened")]
fn is_weak() -> bool {
    crate::weakened::is(crate::weakened::Weakness::Texts)
}

fn outputs(
    writer: &mut expression::Writer<'_>,
    columns: &[String],
) -> Result<Vec<Output>, DataError> {
    let mut outputs = Vec::new();
    let everything = ["*".to_owned()];
    let columns = if columns.is_empty() {
        &everything
    } else {
        columns
    };
    for column in columns {
        // A plain name is a column even where SQL has a word of that name.
        if let Some(known) = writer.source().column(column) {
            let (name, date) = (known.name.clone(), known.date);
            writer.separate(&outputs)?;
            writer.push(&quoted(&name));
            outputs.push(Output { name, date });
            continue;
        }
        #[cfg(feature = "weakened")]
        if is_weak() {
            writer.separate(&outputs)?;
            writer.as_it_came(column);
            outputs.push(Output {
                name: column.clone(),
                date: false,
            });
            continue;
        }
        let mut text = Text::read(column)?;
        loop {
            if text.star() {
                for column in writer.source().columns {
                    writer.separate(&outputs)?;
                    writer.push(&quoted(&column.name));
                    outputs.push(Output {
                        name: column.name.clone(),
                        date: column.date,
                    });
                }
            } else {
                writer.separate(&outputs)?;
                let item = text.item()?;
                let date = writer.figure(&item.parsed)?;
                if item.given {
                    writer.name_output(&item.name);
                }
                outputs.push(Output {
                    name: item.name,
                    date,
                });
            }
            if !text.comma() {
                break;
            }
        }
        text.end()?;
    }
    Ok(outputs)
}
