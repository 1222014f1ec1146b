//! Network namespaces: the bench runs inside its own, and two peers stand in one each, joined by a link.
//!
//! A namespace is a file descriptor here. A thread enters it, opens sockets or starts processes, and ends; what it made
//! stays in the namespace. When the bench ends, however it ends, the kernel takes everything down: all processes live
//! in a PID namespace whose first process is the bench.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns, unshare};

/// Marks the process that runs inside.
const INSIDE: &str = "GOOP_BENCH_INSIDE";
/// How long a connection on loopback may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the link may take to come up.
const LINK: Duration = Duration::from_secs(5);
/// Where the two ends of the link have their addresses.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];

/// Starts this program again inside namespaces of its own; `None` when this is that process.
///
/// As root this needs nothing else; otherwise the kernel has to allow user namespaces.
pub(crate) fn go_inside() -> Result<Option<ExitCode>> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--",
        ])
        .arg(std::env::current_exe().context("own program file")?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1");
    let status = command
        .status()
        .context("unshare(1) of util-linux is needed")?;
    if let Some(signal) = status.signal() {
        bail!("the bench was ended by signal {signal}");
    }
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(Some(ExitCode::from(code)))
}

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Space {
    file: File,
    /// Its address on the link.
    pub(crate) address: Ipv4Addr,
}

impl Space {
    pub(crate) fn new(address: Ipv4Addr) -> Result<Self> {
        let made = std::thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace cannot be made")?;
            File::open("/proc/thread-self/ns/net").context("own network namespace")
        });
        let file = made.join().map_err(|_| anyhow!("a thread panicked"))??;
        Ok(Self { file, address })
    }

    /// Runs `work` on a thread inside the namespace. Sockets and processes made there stay inside.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET)
                    .context("the network namespace cannot be entered")?;
                work()
            });
            inside.join().map_err(|_| anyhow!("a thread panicked"))?
        })
    }

    /// A TCP connection made from inside.
    pub(crate) fn connect(&self, addr: SocketAddr) -> Result<TcpStream> {
        let stream = self.enter(|| Ok(TcpStream::connect_timeout(&addr, CONNECT)?))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The name by which ip(8) finds the namespace.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Packets sent by the programs inside since it was made: (UDP datagrams, TCP segments).
    pub(crate) fn packets_sent(&self) -> Result<(u64, u64)> {
        let text = self.enter(|| Ok(std::fs::read_to_string("/proc/thread-self/net/snmp")?))?;
        let counter = |family: &str, name: &str| -> Option<u64> {
            let mut lines = text.lines().filter(|line| line.starts_with(family));
            let (names, values) = (lines.next()?, lines.next()?);
            let place = names.split_whitespace().position(|found| found == name)?;
            values.split_whitespace().nth(place)?.parse().ok()
        };
        let udp = counter("Udp:", "OutDatagrams").context("no UDP counters")?;
        let tcp = counter("Tcp:", "OutSegs").context("no TCP counters")?;
        Ok((udp, tcp))
    }
}

/// Two namespaces and the link between them.
#[derive(Debug)]
pub(crate) struct Lan {
    /// Where the browsing person is.
    pub(crate) here: Space,
    /// Where the neighbour is.
    pub(crate) there: Space,
}

impl Lan {
    /// Makes the namespaces and a veth link with IPv4 and IPv6 addresses.
    pub(crate) fn new() -> Result<Self> {
        let [here, there] = ADDRESSES;
        let (here, there) = (Space::new(here)?, Space::new(there)?);
        let far = there.path();
        here.enter(|| {
            ip(&[
                "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", &far,
            ])
        })?;
        for (space, v6) in [(&here, "fe80::1/64"), (&there, "fe80::2/64")] {
            let v4 = format!("{}/24", space.address);
            space.enter(|| {
                ip(&["link", "set", "lo", "up"])?;
                // An address that the kernel makes up is not usable until it has looked for a double for a second.
                ip(&["link", "set", "eth0", "addrgenmode", "none"])?;
                ip(&["addr", "add", &v4, "dev", "eth0"])?;
                ip(&["addr", "add", v6, "dev", "eth0", "nodad"])?;
                ip(&["link", "set", "eth0", "up"])
            })?;
        }
        for space in [&here, &there] {
            space.enter(|| wait_for_link("eth0"))?;
        }
        Ok(Self { here, there })
    }
}

/// The kernel notices only after up to a second that a link has another end; until then it counts as down.
pub(crate) fn wait_for_link(name: &str) -> Result<()> {
    let deadline = Instant::now() + LINK;
    while !ip(&["-o", "link", "show", "dev", name])?.contains("state UP") {
        if Instant::now() > deadline {
            bail!("the link between the namespaces does not come up");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Runs ip(8) and gives back what it says.
pub(crate) fn ip(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("ip(8) of iproute2 is needed")?;
    if !output.status.success() {
        bail!(
            "ip {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}
