//! Makes the pages ready for the binary: modules and styles joined, everything packed once (`pack.rs`).

mod join;
mod lex;
mod module;
mod pack;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=assets");
    println!("cargo::rerun-if-changed=build");
    let (Some(root), Some(out)) = (
        std::env::var_os("CARGO_MANIFEST_DIR"),
        std::env::var_os("OUT_DIR"),
    ) else {
        eprintln!("this runs under cargo");
        return ExitCode::FAILURE;
    };
    match pack::pack(&Path::new(&root).join("assets"), &PathBuf::from(out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error=assets: {error}");
            ExitCode::FAILURE
        }
    }
}
