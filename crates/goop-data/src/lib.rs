#![doc = include_str!("../README.md")]
//!
//! | Module or type | Offers |
//! |---|---|
//! | [`Database`] | `data.db`: open, migrate, repair, back up; one writer, several readers; [`Change`]s |
//! | [`Data`] | every operation: [`Data::execute`] for requests, [`Data::direct`] for the owner's own routes, or one by one |
//! | [`access`] | who may do what, in one function |
//! | [`query`] | foreign texts made into statements of ours |
//! | [`schema`], [`check`] | typed tables and what they ask of a row |
//! | [`protocol`] | `/goop/data/1.0.0`, both ends |
//! | [`chat`], [`peers`], [`meta`] | the program's own tables |
//! | [`value`], [`moment`], [`json`], [`ident`] | values, times, JSON and names as the Go program has them |

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

pub use answer::{Answer, Pieces, Whole};
pub use caller::{Caller, CallerKind, Data, NoScripts, Scripts};
pub use error::DataError;
pub use reading::{Find, MAX_CONSOLE};
pub use request::{ColumnField, Op, Request};
pub use store::{
    Catalog, Change, ChangeKind, ColumnInfo, DAMAGED, Database, FILE, FILES, Health, Limits, Row,
    Rows, Salvaged, Table, TableKind, copy,
};
pub use tables::ColumnDef;
pub use value::{Form, Value};
