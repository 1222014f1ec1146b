#![doc = include_str!("../README.md")]
//!
//! | Module or type | Offers |
//! |---|---|
//! | [`Database`] | `data.db`: open, migrate, repair, back up; one writer, several readers; [`Change`]s |
//! | [`Data`] | every operation: [`Data::execute`] for requests, [`Data::direct`] for the owner's own routes, or one by one |
//! | [`access`] | who may do what, in one function |
//! | [`query`] | foreign texts made into statements of ours |
//! | [`schema`], [`check`] | typed tables and what they ask of a row |
//! | [`graphql`] | tables in context, asked in GraphQL |
//! | [`transform`] | rows of a table, a file or the web made into rows of another shape |
//! | [`protocol`] | `/goop/data/1.0.0` and, on a stream that is kept, `/goop/data/2.0.0`, both ends |
//! | [`Dump`], [`Incoming`] | all tables out as SQL, and in again |
//! | [`tool`] | a database from outside its peer |
//! | [`chat`], [`peers`], [`meta`] | the program's own tables |
//! | [`value`], [`moment`], [`json`], [`ident`] | values, times, JSON and names as the Go program has them |

pub mod access;
mod answer;
mod caller;
pub mod chat;
pub mod check;
mod definition;
mod direct;
mod dump;
mod error;
mod execute;
pub mod graphql;
mod guard;
pub mod ident;
mod incoming;
pub mod json;
pub mod meta;
pub mod moment;
pub mod peers;
pub mod protocol;
pub mod query;
mod reading;
mod request;
mod rights;
pub mod schema;
mod schema_files;
mod split;
mod store;
mod tables;
pub mod tool;
pub mod transform;
pub mod value;
#[cfg(feature = "weakened")]
pub mod weakened;
mod writing;

pub use answer::{Answer, Pieces, Whole};
pub use caller::{Caller, CallerKind, Data, NoScripts, Scripts};
pub use direct::MAX_MANY;
pub use dump::{Dump, DumpedTable};
pub use error::DataError;
pub use incoming::{BroughtIn, Incoming, MANIFEST, SCRIPT, Told};
pub use reading::{Find, MAX_CONSOLE};
pub use request::{ColumnField, Op, Request};
pub use split::Splitter;
pub use store::{
    Catalog, Change, ChangeKind, ColumnInfo, DAMAGED, Database, FILE, FILES, Health, Limits, Row,
    Rows, Salvaged, Table, TableKind, copy,
};
pub use tables::ColumnDef;
pub use value::{Form, Value};
