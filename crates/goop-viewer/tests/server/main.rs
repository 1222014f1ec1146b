//! A real viewer on 127.0.0.1 over recorded folders: the recorded contract, sessions, events, limits, bad input.
#![allow(clippy::unwrap_used, missing_docs)]

mod alone;
mod bad_input;
mod contract;
mod data;
mod graphql;
mod harness;
mod import;
mod live;
mod messages;
mod owner;
mod services;
mod settings;
mod site;
