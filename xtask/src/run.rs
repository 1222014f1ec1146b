//! Starting programs, and `cargo xtask peer`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The repository.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// The cargo that runs us.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a command to its end; anything but success is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = describe(command);
    eprintln!("+ {name}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("{name} could not be started"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let args = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(program)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The folder that `cargo xtask peer` makes when none is given.
const SAMPLE_COPY: &str = "my-peer";

/// Builds the program and runs a peer in the foreground.
pub(crate) fn peer(dir: Option<PathBuf>) -> Result<()> {
    crate::setup::compiler()?;
    run(&mut cargo(&["build", "--release", "--package", "goop2"]))?;
    let dir = match dir {
        Some(dir) => dir,
        None => sample()?,
    };
    let program = target_dir()
        .join("release")
        .join(format!("goop2{}", env::consts::EXE_SUFFIX));
    // The terminal's Ctrl-C reaches the peer itself; we wait for how it ends.
    let status = Command::new(&program)
        .arg("peer")
        .arg(&dir)
        .status()
        .context("goop2 could not be started")?;
    if !status.success() {
        bail!("the peer ended with {status}");
    }
    Ok(())
}

/// The sample peer's folder, copied once so that its owner may change it.
fn sample() -> Result<PathBuf> {
    let copy = root().join(SAMPLE_COPY);
    if !copy.exists() {
        copy_tree(&root().join("fixtures/peers/sample"), &copy)?;
        eprintln!(
            "A sample peer was copied to {}; it is yours to change.",
            copy.display()
        );
    }
    Ok(copy)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("{} cannot be copied", entry.path().display()))?;
        }
    }
    Ok(())
}
