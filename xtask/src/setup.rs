//! Installing what the project needs, or saying exactly how.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::run::{cargo, run};

/// A tool, and the Debian package that brings it.
struct Tool {
    program: &'static str,
    package: &'static str,
}

/// For building: the linker, and a C compiler for the ciphers' assembler.
const COMPILER: &[Tool] = &[Tool {
    program: "cc",
    package: "build-essential",
}];

/// For the test bed: network namespaces, the packet filter, two proxies, a browser and its driver.
const TEST_BED: &[Tool] = &[
    Tool {
        program: "ip",
        package: "iproute2",
    },
    Tool {
        program: "nft",
        package: "nftables",
    },
    Tool {
        program: "unshare",
        package: "util-linux",
    },
    Tool {
        program: "curl",
        package: "curl",
    },
    Tool {
        program: "nginx",
        package: "nginx-light",
    },
    Tool {
        program: "caddy",
        package: "caddy",
    },
    Tool {
        program: "chromium",
        package: "chromium",
    },
    Tool {
        program: "chromedriver",
        package: "chromium-driver",
    },
];

/// Licences, bans and sources of dependencies.
const CARGO_DENY: &str = "0.20.2";

/// Everything.
pub(crate) fn everything() -> Result<()> {
    compiler()?;
    test_bed()?;
    cargo_deny()
}

/// What building needs beside rustup.
pub(crate) fn compiler() -> Result<()> {
    install(COMPILER)
}

/// What the tests need.
pub(crate) fn test_bed() -> Result<()> {
    install(COMPILER)?;
    install(TEST_BED)
}

/// The tool that checks dependencies.
pub(crate) fn cargo_deny() -> Result<()> {
    let found = cargo(&["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    run(&mut cargo(&[
        "install",
        "--locked",
        "cargo-deny",
        "--version",
        CARGO_DENY,
    ]))
}

fn install(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&str> = tools
        .iter()
        .filter(|tool| !is_there(tool.program))
        .map(|tool| tool.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install {}", missing.join(" "));
    let Some(prefix) = rights().filter(|_| is_there("apt-get")) else {
        bail!("these are missing; install them with:\n  sudo {by_hand}");
    };
    let apt = |args: &[&str]| {
        let words: Vec<&str> = prefix
            .iter()
            .copied()
            .chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"])
            .chain(args.iter().copied())
            .collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    };
    run(&mut apt(&["update", "--quiet=2"]))?;
    let args: Vec<&str> = ["install", "--quiet=2", "--yes", "--no-install-recommends"]
        .into_iter()
        .chain(missing.iter().copied())
        .collect();
    run(&mut apt(&args))?;
    match tools.iter().find(|tool| !is_there(tool.program)) {
        None => Ok(()),
        Some(tool) => bail!(
            "{} is still missing after installing {}",
            tool.program,
            tool.package
        ),
    }
}

/// How to become root: nothing when we are, sudo when it asks no questions.
fn rights() -> Option<Vec<&'static str>> {
    let quiet = |program: &str, args: &[&str]| {
        Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .output()
            .ok()
    };
    if quiet("id", &["-u"]).is_some_and(|output| output.stdout.trim_ascii() == b"0") {
        return Some(Vec::new());
    }
    quiet("sudo", &["-n", "true"])
        .filter(|output| output.status.success())
        .map(|_| vec!["sudo", "-n"])
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(Into::into);
    env::split_paths(&path)
        .chain(system)
        .any(|folder| Path::new(&folder).join(program).is_file())
}
