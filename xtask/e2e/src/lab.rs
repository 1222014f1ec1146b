//! A private network: one bridge, and hosts on it, each a network namespace; or a small internet (`internet`) with homes
//! behind every kind of NAT (`nat`). It works with `ip` from iproute2 and `nft` from nftables: what is needed here is a
//! dozen commands.

mod internet;
mod nat;
mod six;
mod sockets;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::figures::Figures;

pub(crate) use goop_line::Quality;
pub(crate) use internet::{Home, Internet};
pub(crate) use nat::Nat;
pub(crate) use sockets::{
    ARRIVES, accepted, carry, connect, connected, dial, port, receive, receive_until,
};

/// The network of one scenario, with a folder for what its hosts keep.
pub(crate) struct Lab {
    bins: PathBuf,
    shots: Option<PathBuf>,
    folder: tempfile::TempDir,
    figures: Rc<Figures>,
}

impl Lab {
    /// Names of namespaces are files below /run. Ours are seen by nobody else, and an ordinary user can make them.
    pub(crate) fn enter() -> Result<()> {
        sh("mount -t tmpfs tmpfs /run && mkdir /run/netns")
    }

    /// An empty LAN.
    pub(crate) fn new(bins: &Path, shots: Option<&Path>, figures: &Rc<Figures>) -> Result<Self> {
        ip("-Version")?;
        // A namespace ends a moment after it was deleted, and its cables with it; ours are pulled first.
        sh(
            "for v in $(ip -o link | sed 's/^[0-9]*: //; s/[@:].*//' | grep '^v[0-9]'); do ip link del $v; done; \
            for ns in $(ls /run/netns); do ip netns del $ns; done; ip link del lan 2>/dev/null; true",
        )?;
        ip("link set lo up")?;
        ip("link add lan type bridge")?;
        ip("link set lan up")?;
        Ok(Self {
            bins: bins.to_owned(),
            shots: shots.map(Path::to_owned),
            folder: tempfile::tempdir().context("a temporary folder")?,
            figures: Rc::clone(figures),
        })
    }

    /// A host with one interface on the LAN.
    pub(crate) fn host(&self, number: u8) -> Result<Host> {
        let host = Host::existing(number);
        host.make()?;
        // An IPv6 address that is still being tried out becomes usable seconds later, and a browser takes that for a
        // change of network and drops what it was loading.
        let quiet = "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad";
        let done = host.command("sh").args(["-c", quiet]).status()?;
        if !done.success() {
            bail!("the host's network could not be set up: {quiet}");
        }
        host.plug()?;
        host.set_address(&format!("10.55.0.{number}"))?;
        Ok(host)
    }

    /// A host without any interface but its loopback.
    pub(crate) fn lonely_host(&self, number: u8) -> Result<Host> {
        let host = Host::existing(number);
        host.make()?;
        Ok(host)
    }

    /// A folder of this scenario.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where pictures of the pages go, if somebody wants to look.
    pub(crate) fn shots(&self) -> Option<&Path> {
        self.shots.as_deref()
    }

    /// What was measured in this run.
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// A program that was built.
    pub(crate) fn bin(&self, name: &str) -> PathBuf {
        self.bins.join(name)
    }
}

/// A host, on the LAN or elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    name: String,
    /// Its place on the LAN, if it has one.
    lan: Option<u8>,
}

impl Host {
    /// A host that is there already, for a program that runs on another one.
    pub(crate) fn existing(number: u8) -> Self {
        Self {
            name: format!("h{number}"),
            lan: Some(number),
        }
    }

    /// A host that is not on the LAN.
    fn elsewhere(name: String) -> Self {
        Self { name, lan: None }
    }

    /// Makes it, with nothing but its loopback.
    fn make(&self) -> Result<()> {
        ip(&format!("netns add {}", self.name))?;
        self.ip("link set lo up")
    }

    /// Its name, which is that of its network.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on this host.
    fn ip(&self, words: &str) -> Result<()> {
        ip(&format!("-n {} {words}", self.name))
    }

    fn place(&self) -> Result<u8> {
        self.lan
            .with_context(|| format!("{} has no cable in the LAN", self.name))
    }

    /// A command that runs on this host.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Puts the host's cable in.
    pub(crate) fn plug(&self) -> Result<()> {
        let number = self.place()?;
        ip(&format!(
            "link add v{number} type veth peer name eth0 netns {}",
            self.name
        ))?;
        ip(&format!("link set v{number} master lan up"))?;
        self.ip("link set eth0 up")
    }

    /// Pulls it.
    pub(crate) fn unplug(&self) -> Result<()> {
        ip(&format!("link del v{}", self.place()?))
    }

    /// Gives the host another address.
    pub(crate) fn set_address(&self, address: &str) -> Result<()> {
        self.ip("addr flush dev eth0 scope global")?;
        self.ip(&format!("addr add {address}/24 dev eth0"))
    }
}

/// Something mounted over a path for a while, in the mount namespace of this program only.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// A disk of 256 KiB at a folder.
    pub(crate) fn small(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        sh(&format!(
            "mount -t tmpfs -o size=256k tmpfs '{}'",
            folder.display()
        ))?;
        Ok(Self(folder.to_owned()))
    }

    /// A file in the place of another one.
    pub(crate) fn over(place: &Path, file: &Path) -> Result<Self> {
        sh(&format!(
            "mount --bind '{}' '{}'",
            file.display(),
            place.display()
        ))?;
        Ok(Self(place.to_owned()))
    }

    /// A file that nobody can write or replace, not even root.
    pub(crate) fn read_only(file: &Path) -> Result<Self> {
        let path = file.display();
        sh(&format!("mount --bind '{path}' '{path}'"))?;
        let mount = Self(file.to_owned());
        sh(&format!("mount -o remount,bind,ro '{path}'"))?;
        Ok(mount)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A program that still runs there keeps it until it ends.
        let _ = sh(&format!("umount --lazy '{}'", self.0.display()));
    }
}

/// Runs `ip` with words.
pub(crate) fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .context("`ip` is missing: cargo xtask setup")?;
    if !output.status.success() {
        bail!(
            "ip {words}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn sh(script: &str) -> Result<()> {
    let output = Command::new("sh").args(["-c", script]).output()?;
    if !output.status.success() {
        bail!(
            "{script}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// Waits until `condition` gives a value; after `within` it is an error that says what was waited for.
pub(crate) fn wait<T>(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        match condition() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) if Instant::now() >= deadline => bail!("not within {within:?}: {what}"),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context(format!("not within {within:?}: {what}")));
            }
            _ => std::thread::sleep(LOOK_EVERY),
        }
    }
}
