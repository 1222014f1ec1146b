//! Requests, as they arrive from peers and from pages (network.md 7.3, viewer-api.md 8 and 9).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::DataError;
use crate::check::Data as Row;
use crate::ident::quoted;
use crate::reading::Find;
use crate::tables::ColumnDef;

/// What is to be done. The words are those of the data protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each is its word
pub enum Op {
    Tables,
    OrmSchema,
    Describe,
    Query,
    QueryOne,
    Exists,
    Count,
    Pluck,
    Distinct,
    Aggregate,
    Insert,
    Update,
    Delete,
    UpdateWhere,
    DeleteWhere,
    Upsert,
    Role,
    LuaCall,
    LuaList,
    CreateTable,
    AddColumn,
    DropColumn,
    RenameTable,
    DeleteTable,
}

const WORDS: [(Op, &str); 24] = [
    (Op::Tables, "tables"),
    (Op::OrmSchema, "orm-schema"),
    (Op::Describe, "describe"),
    (Op::Query, "query"),
    (Op::QueryOne, "query-one"),
    (Op::Exists, "exists"),
    (Op::Count, "count"),
    (Op::Pluck, "pluck"),
    (Op::Distinct, "distinct"),
    (Op::Aggregate, "aggregate"),
    (Op::Insert, "insert"),
    (Op::Update, "update"),
    (Op::Delete, "delete"),
    (Op::UpdateWhere, "update-where"),
    (Op::DeleteWhere, "delete-where"),
    (Op::Upsert, "upsert"),
    (Op::Role, "role"),
    (Op::LuaCall, "lua-call"),
    (Op::LuaList, "lua-list"),
    (Op::CreateTable, "create-table"),
    (Op::AddColumn, "add-column"),
    (Op::DropColumn, "drop-column"),
    (Op::RenameTable, "rename-table"),
    (Op::DeleteTable, "delete-table"),
];

impl Op {
    /// Whether it changes nothing, so that it may be asked again.
    #[must_use]
    pub fn only_reads(self) -> bool {
        matches!(
            self,
            Self::Tables
                | Self::OrmSchema
                | Self::Describe
                | Self::Query
                | Self::QueryOne
                | Self::Exists
                | Self::Count
                | Self::Pluck
                | Self::Distinct
                | Self::Aggregate
                | Self::Role
                | Self::LuaList
        )
    }

    /// The operation of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(op, _)| *op)
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        WORDS
            .iter()
            .find(|(op, _)| *op == self)
            .map_or("", |(_, word)| word)
    }

    /// The operation behind the end of an address, `/api/p/<id>/data/<suffix>`.
    #[must_use]
    pub fn of_suffix(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "find" => Self::Query,
            "find-one" | "get-by" => Self::QueryOne,
            "lua/call" => Self::LuaCall,
            "lua/list" => Self::LuaList,
            "tables/create" => Self::CreateTable,
            "tables/describe" => Self::Describe,
            "tables/delete" => Self::DeleteTable,
            "tables/rename" => Self::RenameTable,
            "tables/add-column" => Self::AddColumn,
            "tables/drop-column" => Self::DropColumn,
            "tables" | "orm-schema" | "role" | "query" | "exists" | "count" | "pluck"
            | "distinct" | "aggregate" | "insert" | "update" | "delete" | "update-where"
            | "delete-where" | "upsert" => return Self::of(suffix),
            _ => return None,
        })
    }
}

/// A column: its definition, or only its name, as the pages' library sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ColumnField {
    /// `{"name","type","not_null","default"}`.
    Definition(ColumnDef),
    /// Its name.
    Name(String),
}

impl ColumnField {
    fn name(&self) -> &str {
        match self {
            Self::Definition(column) => &column.name,
            Self::Name(name) => name,
        }
    }
}

/// A request of the data protocol. What is empty is not written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// The operation's word.
    pub op: String,
    /// The table.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub table: String,
    /// The table, where it is made, described or deleted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A row, or changes of rows.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub data: Row,
    /// A row's `_id`.
    #[serde(skip_serializing_if = "is_zero")]
    pub id: i64,
    /// Which rows.
    #[serde(rename = "where", skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// What the marks in the texts stand for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Json>,
    /// What to show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Columns of a new table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub column_defs: Vec<ColumnDef>,
    /// A column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<ColumnField>,
    /// Rows at most.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: i64,
    /// Rows to leave out first.
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: i64,
    /// A table's name so far.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub old_name: String,
    /// Its name from now on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub new_name: String,
    /// A data function.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub function: String,
    /// What it is given.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Json>,
    /// In which order.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub order: String,
    /// What to show, where `columns` says nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Figures to tell.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expr: String,
    /// Which rows make one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_by: String,
    /// The key of an upsert; the column of `pluck` and `distinct`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_col: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Request {
    /// A request for an operation.
    #[must_use]
    pub fn new(op: Op) -> Self {
        Self {
            op: op.word().to_owned(),
            ..Self::default()
        }
    }

    /// Reads a request. Names of fields are read in any case, `null` is as good as nothing, and unknown fields are left
    /// out, as the Go program does it.
    ///
    /// # Errors
    /// `invalid json: …`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DataError> {
        let wrong = |error: serde_json::Error| {
            let text = if error.is_eof() {
                "unexpected end of JSON input".to_owned()
            } else {
                error.to_string()
            };
            DataError::BadRequest(format!("invalid json: {text}"))
        };
        let members: Map<String, Json> = serde_json::from_slice(bytes).map_err(wrong)?;
        serde_json::from_value(Json::Object(folded(members))).map_err(wrong)
    }

    /// Reads what a page posts to `/api/p/<id>/data/<suffix>`; the suffix is the operation.
    ///
    /// # Errors
    /// The body makes no sense; the suffix is none (404).
    pub fn from_page(suffix: &str, body: &[u8]) -> Result<Self, DataError> {
        let op = Op::of_suffix(suffix);
        let op = op.ok_or_else(|| DataError::NotFound("unknown data operation".to_owned()))?;
        if matches!(op, Op::Tables | Op::OrmSchema | Op::LuaList) {
            return Ok(Self::new(op));
        }
        let wrong = |error: serde_json::Error| DataError::BadRequest(error.to_string());
        let members: Map<String, Json> = serde_json::from_slice(body).map_err(wrong)?;
        let mut members = folded(members);
        if op == Op::CreateTable
            && let Some(columns) = members.remove("columns")
        {
            members.insert("column_defs".to_owned(), columns);
        }
        let named = members.remove("column_name");
        let value = members.remove("value");
        let mut request: Self = serde_json::from_value(Json::Object(members)).map_err(wrong)?;
        request.op = op.word().to_owned();
        let named = named.as_ref().and_then(Json::as_str).map(str::to_owned);
        // The library sends the column of these as a text in `column`, which the Go program refuses.
        let named = named.or_else(|| match (&request.column, op) {
            (Some(ColumnField::Name(name)), Op::QueryOne | Op::Pluck | Op::Distinct) => {
                Some(name.clone())
            }
            _ => None,
        });
        let Some(column) = named else {
            return Ok(request);
        };
        request.column = None;
        if op == Op::QueryOne {
            if let Some(value) = value.filter(|_| request.filter.is_empty()) {
                request.filter = format!("{} = ?", quoted(&column));
                request.args = vec![value];
            }
        } else {
            if request.fields.is_empty() {
                request.fields = vec![column.clone()];
            }
            request.key_col = column;
        }
        Ok(request)
    }

    /// The line on the wire, without its end.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        crate::json::to_bytes(&serde_json::to_value(self).unwrap_or_default())
    }

    /// `table`, or `name`.
    pub(crate) fn table_or_name(&self) -> &str {
        if self.table.is_empty() {
            &self.name
        } else {
            &self.table
        }
    }

    /// `name`, or `table`.
    pub(crate) fn name_or_table(&self) -> &str {
        if self.name.is_empty() {
            &self.table
        } else {
            &self.name
        }
    }

    /// The column of `pluck` and `distinct`.
    pub(crate) fn one_column(&self) -> &str {
        if !self.key_col.is_empty() {
            return &self.key_col;
        }
        let first = self.fields.first().map(String::as_str);
        first
            .or_else(|| self.column.as_ref().map(ColumnField::name))
            .unwrap_or_default()
    }

    /// The column that `drop-column` names.
    pub(crate) fn column_name(&self) -> &str {
        self.column.as_ref().map_or(&self.name, ColumnField::name)
    }

    /// The column that `add-column` defines.
    pub(crate) fn definition(&self) -> Option<&ColumnDef> {
        match &self.column {
            Some(ColumnField::Definition(column)) => Some(column),
            _ => None,
        }
    }

    /// What is asked of the table.
    pub(crate) fn find(&self) -> Find {
        Find {
            table: self.table.clone(),
            columns: if self.columns.is_empty() {
                self.fields.clone()
            } else {
                self.columns.clone()
            },
            filter: self.filter.clone(),
            args: self.args.clone(),
            order: self.order.clone(),
            limit: self.limit,
            offset: self.offset,
        }
    }
}

/// Members with names in small letters, without those that are `null`. The exact spelling wins over another.
pub(crate) fn folded(members: Map<String, Json>) -> Map<String, Json> {
    let mut folded = Map::new();
    let (exact, other): (Vec<_>, Vec<_>) = members
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .partition(|(name, _)| !name.bytes().any(|byte| byte.is_ascii_uppercase()));
    for (name, value) in exact {
        folded.insert(name, value);
    }
    for (name, value) in other {
        folded.entry(name.to_ascii_lowercase()).or_insert(value);
    }
    folded
}
