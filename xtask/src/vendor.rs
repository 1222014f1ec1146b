//! Bundling what the pages use from npm. The result is in the repository, so that nobody else needs npm.

use std::process::Command;

use anyhow::Result;

use crate::run::{root, run};

pub(crate) fn build() -> Result<()> {
    let folder = root().join("xtask/vendor");
    run(Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(&folder))?;
    run(Command::new("node").arg("build.mjs").current_dir(&folder))
}
