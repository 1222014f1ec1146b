#![doc = include_str!("../README.md")]
pub mod access;
mod answer;
mod caller;
pub mod chat;
pub mod check;
mod definition;
mod direct;
mod error;
mod execute;
mod guard;
pub mod ident;
pub mod json;
pub mod meta;
pub mod moment;
pub mod peers;
pub mod protocol;
pub mod query;
mod reading;
mod request;
pub mod schema;
mod schema_files;
mod store;
mod tables;
pub mod value;
mod writing;

pub use answer::{Answer, Whole};
pub use caller::{Caller, CallerKind, Data, NoScripts, Scripts};
pub use error::DataError;
pub use reading::{Find, MAX_CONSOLE};
pub use request::{ColumnField, Op, Request};
pub use store::{
    Catalog, Change, ChangeKind, ColumnInfo, Database, FILE, Health, Limits, Row, Rows, Salvaged,
    Table, TableKind,
};
pub use tables::ColumnDef;
pub use value::{Form, Value};
