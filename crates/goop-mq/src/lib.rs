#![doc = include_str!("../README.md")]
#![doc = ""]

pub mod log;
pub mod topic;
pub mod wire;
