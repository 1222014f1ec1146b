//! The size of the program.

use anyhow::{Context, Result};

use crate::bench::Bench;
use crate::report::{Goal, Row};
use crate::samples::{Samples, Unit, mib};

/// MiB.
const GOAL: f64 = 20.0;
/// The name of the ELF section that a stripped file does not have, as it stands in the list of names.
const SYMBOLS: &[u8] = b"\0.symtab\0";

pub(super) fn take(bench: &Bench) -> Result<Vec<Row>> {
    let mut ours = Samples::default();
    let mut note = String::new();
    if !bench.floors_only {
        let bytes = std::fs::read(&bench.peer).context("goop-peer")?;
        ours.push(mib(bytes.len() as u64));
        if bytes.windows(SYMBOLS.len()).any(|bytes| bytes == SYMBOLS) {
            note = "this build is not stripped".to_owned();
        }
    }
    let what = "`goop-peer`, stripped".to_owned();
    Ok(vec![Row {
        what,
        unit: Unit::Mebibytes,
        ours,
        floor: None,
        goal: Goal::AtMost(GOAL),
        note,
    }])
}
