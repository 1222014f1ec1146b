//! Operations that read (storage.md 8 and 9).

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::DataError;
use crate::access::Operation;
use crate::answer::{Answer, Empty, Items};
use crate::caller::{Caller, CallerKind, Data, Reach};
use crate::guard::Scope;
use crate::ident::{is_name, quoted};
use crate::query::{Question, Statement, select};
use crate::store::{Limits, Lookup, Row, Rows};

use crate::value::{Form, Value};

/// Longest statement of the console, in bytes.
pub const MAX_CONSOLE: usize = 64 * 1024;

/// What one statement of the console's page may get.
const CONSOLE_PAGE: Limits = Limits {
    rows: 1_000,
    bytes: 4 * 1024 * 1024,
    time: Duration::from_secs(60),
    whole: true,
};

/// What is asked of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Find {
    /// The table.
    pub table: String,
    /// What to show; everything where it is empty.
    pub columns: Vec<String>,
    /// Which rows.
    pub filter: String,
    /// What the marks in the texts stand for.
    pub args: Vec<Json>,
    /// In which order.
    pub order: String,
    /// Rows at most; 0 or less: as many as there are.
    pub limit: i64,
    /// Rows to leave out first.
    pub offset: i64,
}

impl Find {
    /// Everything of a table.
    #[must_use]
    pub fn all(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            ..Self::default()
        }
    }

    /// Rows whose column has a value.
    #[must_use]
    pub fn by(table: impl Into<String>, column: &str, value: Json) -> Self {
        Self {
            table: table.into(),
            filter: format!("{} = ?", quoted(column)),
            args: vec![value],
            ..Self::default()
        }
    }
}

/// Takes arguments as values.
pub(crate) fn values(args: &[Json]) -> Result<Vec<Value>, DataError> {
    args.iter()
        .enumerate()
        .map(|(index, arg)| Value::from_json(arg, index + 1))
        .collect()
}

impl Data {
    /// What is to be read of a table.
    fn lookup(
        &self,
        caller: &Caller,
        reach: &Reach,
        question: &Question<'_>,
    ) -> Result<Lookup, DataError> {
        let question = Question {
            owned_by: reach.owned_by.as_deref(),
            ..*question
        };
        let statement = select(reach.source(), &question)?;
        Ok(Lookup::new(statement, reach.scope(), caller.limits()))
    }

    /// Rows as objects.
    ///
    /// # Errors
    /// The question makes no sense, or the table is not the caller's to read.
    pub async fn find(&self, caller: &Caller, find: &Find) -> Result<Answer, DataError> {
        let lookup = self.find_lookup(caller, find)?;
        self.listed(lookup, Form::Rows, Items::Objects, Empty::List)
            .await
    }

    /// As [`Data::find`]; nothing is `null`.
    ///
    /// # Errors
    /// As [`Data::find`].
    pub async fn query(&self, caller: &Caller, find: &Find) -> Result<Answer, DataError> {
        let lookup = self.find_lookup(caller, find)?;
        self.listed(lookup, Form::Rows, Items::Objects, Empty::Null)
            .await
    }

    async fn listed(
        &self,
        lookup: Lookup,
        form: Form,
        items: Items,
        empty: Empty,
    ) -> Result<Answer, DataError> {
        Answer::list(self.database.list(lookup, form, items).await?, empty).await
    }

    pub(crate) async fn rows_of(&self, caller: &Caller, find: &Find) -> Result<Rows, DataError> {
        self.database.rows(self.find_lookup(caller, find)?).await
    }

    fn find_lookup(&self, caller: &Caller, find: &Find) -> Result<Lookup, DataError> {
        let reach = self.reach(caller, &find.table, Operation::Read)?;
        let args = values(&find.args)?;
        let question = Question {
            columns: &find.columns,
            filter: &find.filter,
            args: &args,
            order: &find.order,
            limit: find.limit,
            offset: find.offset,
            ..Question::default()
        };
        self.lookup(caller, &reach, &question)
    }

    /// The first row that fits, or `null`.
    ///
    /// # Errors
    /// As [`Data::find`].
    pub async fn find_one(&self, caller: &Caller, find: &Find) -> Result<Json, DataError> {
        let one = Find {
            limit: 1,
            offset: find.offset,
            ..find.clone()
        };
        let row = self.rows_of(caller, &one).await?.next().await?;
        Ok(row.map_or(Json::Null, |row| row.to_json(Form::Rows)))
    }

    /// `{"exists":bool}`.
    ///
    /// # Errors
    /// As [`Data::find`].
    pub async fn exists(&self, caller: &Caller, find: &Find) -> Result<Json, DataError> {
        let row = self.figure(caller, find, "1", 1).await?;
        Ok(json!({"exists": row.is_some()}))
    }

    /// `{"count":n}`.
    ///
    /// # Errors
    /// As [`Data::find`].
    pub async fn count(&self, caller: &Caller, find: &Find) -> Result<Json, DataError> {
        let row = self.figure(caller, find, "COUNT(*)", 0).await?;
        Ok(json!({"count": row.map_or(json!(0), |row| row.first_to_json(Form::Figures))}))
    }

    async fn figure(
        &self,
        caller: &Caller,
        find: &Find,
        what: &str,
        limit: i64,
    ) -> Result<Option<Row>, DataError> {
        let only = Find {
            columns: vec![what.to_owned()],
            order: String::new(),
            limit,
            offset: 0,
            ..find.clone()
        };
        self.rows_of(caller, &only).await?.next().await
    }

    /// Values of one column.
    ///
    /// # Errors
    /// As [`Data::find`].
    pub async fn pluck(
        &self,
        caller: &Caller,
        find: &Find,
        column: &str,
    ) -> Result<Answer, DataError> {
        let only = Find {
            columns: vec![column.to_owned()],
            ..find.clone()
        };
        self.known_column(caller, &find.table, column)?;
        let lookup = self.find_lookup(caller, &only)?;
        self.listed(lookup, Form::Rows, Items::Values, Empty::List)
            .await
    }

    /// Values of one column, each once, in order.
    ///
    /// # Errors
    /// As [`Data::find`].
    pub async fn distinct(
        &self,
        caller: &Caller,
        find: &Find,
        column: &str,
    ) -> Result<Answer, DataError> {
        if !is_name(column) {
            return Err(DataError::invalid("invalid identifier"));
        }
        self.known_column(caller, &find.table, column)?;
        let reach = self.reach(caller, &find.table, Operation::Read)?;
        let args = values(&find.args)?;
        let question = Question {
            columns: &[column.to_owned()],
            filter: &find.filter,
            args: &args,
            order: &quoted(column),
            distinct: true,
            ..Question::default()
        };
        let lookup = self.lookup(caller, &reach, &question)?;
        self.listed(lookup, Form::Figures, Items::Values, Empty::List)
            .await
    }

    /// Figures about rows.
    ///
    /// # Errors
    /// As [`Data::find`].
    pub async fn aggregate(
        &self,
        caller: &Caller,
        find: &Find,
        expression: &str,
        group_by: &str,
    ) -> Result<Answer, DataError> {
        let reach = self.reach(caller, &find.table, Operation::Read)?;
        let args = values(&find.args)?;
        let question = Question {
            columns: &[expression.to_owned()],
            filter: &find.filter,
            args: &args,
            group_by,
            order: &find.order,
            limit: find.limit,
            offset: find.offset,
            ..Question::default()
        };
        let lookup = self.lookup(caller, &reach, &question)?;
        self.listed(lookup, Form::Figures, Items::Objects, Empty::List)
            .await
    }

    /// Rows of a whole statement of SQL: the owner's console, which reads every table, and the scripts of the site, which
    /// read the owner's tables and none of the system's. SQLite decides what the text is, and holds it to `limits`.
    ///
    /// # Errors
    /// It is more than one statement, or writes, or reaches for what it may not.
    pub async fn console(
        &self,
        caller: &Caller,
        sql: &str,
        args: &[Json],
        limits: Limits,
    ) -> Result<Rows, DataError> {
        let scope = match caller.kind {
            CallerKind::Owner => Scope::Everything,
            CallerKind::Script => Scope::UserTables,
            CallerKind::Visitor => {
                return Err(DataError::Refused(
                    "statements not allowed for remote peers".to_owned(),
                ));
            }
        };
        if sql.len() > MAX_CONSOLE {
            return Err(DataError::invalid("the statement is too long"));
        }
        let statement = Statement {
            sql: sql.to_owned(),
            values: values(args)?,
            outputs: Vec::new(),
        };
        self.database
            .rows(Lookup::foreign(statement, scope, limits))
            .await
    }

    /// The first rows of a whole statement, as a page shows them: `{"columns","rows","more"}`, rows as lists of values.
    ///
    /// # Errors
    /// As [`Data::console`].
    pub async fn console_page(
        &self,
        caller: &Caller,
        sql: &str,
        args: &[Json],
    ) -> Result<Json, DataError> {
        if sql.trim().is_empty() {
            return Err(DataError::Required("statement required"));
        }
        let mut found = self.console(caller, sql, args, CONSOLE_PAGE).await?;
        let (mut columns, mut rows) = (Vec::new(), Vec::new());
        while let Some(row) = found.next().await? {
            if rows.is_empty() {
                columns = row.names().map(str::to_owned).collect();
            }
            rows.push(Json::Array(row.to_values(Form::Rows)));
        }
        Ok(json!({"columns": columns, "rows": rows, "more": found.more()}))
    }

    /// A plain name must name a column: quoted, SQLite would take it for a text.
    fn known_column(&self, caller: &Caller, table: &str, column: &str) -> Result<(), DataError> {
        let reach = self.reach(caller, table, Operation::Read)?;
        if is_name(column) && reach.source().column(column).is_none() {
            return Err(DataError::logic(format!("no such column: {column}")));
        }
        Ok(())
    }
}
