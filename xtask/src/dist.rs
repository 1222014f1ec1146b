//! Release archives: `target/dist/goop2-<version>-<machine>.tar.gz` and its checksum.

use std::env::consts::{ARCH, EXE_SUFFIX, OS};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{cargo, root, run, target_dir};

/// What goes into the archive beside the programs.
const TEXTS: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

pub(crate) fn build() -> Result<()> {
    crate::setup::compiler()?;
    run(&mut cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "goop2",
        "--package",
        "goop-peer",
    ]))?;
    let name = format!("goop2-{}-{ARCH}-{OS}", env!("CARGO_PKG_VERSION"));
    let dist = target_dir().join("dist");
    let folder = dist.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder).context("the old archive folder cannot be removed")?;
    }
    fs::create_dir_all(&folder).context("the archive folder cannot be made")?;
    for program in ["goop2", "goop-peer"] {
        let program = format!("{program}{EXE_SUFFIX}");
        fs::copy(
            target_dir().join("release").join(&program),
            folder.join(&program),
        )
        .context(program)?;
    }
    for text in TEXTS {
        fs::copy(root().join(text), folder.join(text)).context(text)?;
    }
    let archive = format!("{name}.tar.gz");
    // The same input gives the same archive: names sorted, times and owners fixed.
    run(Command::new("tar").current_dir(&dist).args([
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "-czf",
        &archive,
        &name,
    ]))?;
    let sum = Command::new("sha256sum")
        .current_dir(&dist)
        .arg(&archive)
        .output()
        .context("sha256sum")?;
    fs::write(dist.join(format!("{archive}.sha256")), &sum.stdout)
        .context("the checksum cannot be written")?;
    println!("{}", dist.join(archive).display());
    Ok(())
}
