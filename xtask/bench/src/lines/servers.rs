//! The floors as running processes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Target;
use crate::bench::Bench;
use crate::floor::{self, host::Transport};
use crate::http::Reply;
use crate::process::{Process, own_command};
use crate::space::Space;

/// How long a floor may take to start.
const START: Duration = Duration::from_secs(10);
/// nginx's port; in the namespace nobody else has it.
const NGINX_PORT: u16 = 8_090;
/// Headers that a server makes itself.
const OWN_HEADERS: [&str; 4] = ["content-length", "transfer-encoding", "connection", "date"];

/// A bare hyper server, on this side unless said otherwise.
#[derive(Debug)]
pub(super) struct BareHttp<'a> {
    pub(super) process: Process,
    pub(super) target: Target<'a>,
}

impl<'a> BareHttp<'a> {
    /// One that answers `bytes` bytes from memory, with the headers of `like`.
    pub(super) fn bytes(bench: &'a Bench, bytes: u64, like: Option<&Reply>) -> Result<Self> {
        let mut options = vec![format!("--bytes={bytes}")];
        options.extend(headers_of(like));
        Self::start(bench, &bench.lan.here, options)
    }

    /// One that answers `bytes` bytes from memory, in another namespace.
    pub(super) fn bytes_in(bench: &Bench, space: &'a Space, bytes: u64) -> Result<Self> {
        let listen = format!("--listen={}", space.address);
        Self::start(bench, space, vec![listen, format!("--bytes={bytes}")])
    }

    /// One that streams a file, in another namespace.
    pub(super) fn file_in(bench: &Bench, space: &'a Space, file: &Path) -> Result<Self> {
        let listen = format!("--listen={}", space.address);
        let file = format!("--file={}", file.display());
        Self::start(bench, space, vec![listen, file])
    }

    /// One that streams a file, with the headers of `like`.
    pub(super) fn file(bench: &'a Bench, file: &Path, like: Option<&Reply>) -> Result<Self> {
        let mut options = vec![format!("--file={}", file.display())];
        options.extend(headers_of(like));
        Self::start(bench, &bench.lan.here, options)
    }

    fn start(bench: &Bench, space: &'a Space, options: Vec<String>) -> Result<Self> {
        let arguments = [vec![floor::http::COMMAND.to_owned()], options].concat();
        let process = Process::start(
            space,
            floor::http::COMMAND,
            own_command(&arguments)?,
            bench.logs(),
        )?;
        let (_, addr) = process.line(START, |line| line.strip_prefix("http://")?.parse().ok())?;
        Ok(Self {
            process,
            target: Target {
                space,
                addr,
                host: addr.to_string(),
                path: "/".to_owned(),
                files: 1,
            },
        })
    }
}

fn headers_of(like: Option<&Reply>) -> Vec<String> {
    let headers = like
        .map(|reply| reply.headers.as_slice())
        .unwrap_or_default();
    let theirs = headers
        .iter()
        .filter(|(name, _)| !OWN_HEADERS.contains(&name.as_str()));
    theirs
        .map(|(name, value)| format!("--header={name}: {value}"))
        .collect()
}

/// A bare libp2p host.
#[derive(Debug)]
pub(super) struct BareNode {
    pub(super) process: Process,
    pub(super) addr: String,
}

impl BareNode {
    /// Starts one that connects to `dial`.
    pub(super) fn start(
        bench: &Bench,
        space: &Space,
        transport: Transport,
        dial: Option<&str>,
    ) -> Result<Self> {
        let mut arguments = vec![
            floor::node::COMMAND.to_owned(),
            format!("--transport={}", transport.name()),
            format!("--listen={}", space.address),
        ];
        arguments.extend(dial.map(|addr| format!("--dial={addr}")));
        let process = Process::start(
            space,
            floor::node::COMMAND,
            own_command(&arguments)?,
            bench.logs(),
        )?;
        let (_, addr) =
            process.line(START, |line| line.starts_with('/').then(|| line.to_owned()))?;
        if dial.is_some() {
            process.line(START, |line| (line == "connected").then_some(()))?;
        }
        Ok(Self { process, addr })
    }
}

/// nginx on this side, to compare with.
#[derive(Debug)]
pub(super) struct Nginx {
    process: Process,
    addr: SocketAddr,
}

impl Nginx {
    /// Starts it over a folder; `None` where it is not installed.
    pub(super) fn start(bench: &Bench, root: &Path) -> Result<Option<Self>> {
        let known = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
        let Some(program) = known.iter().map(PathBuf::from).find(|path| path.is_file()) else {
            return Ok(None);
        };
        let folder = bench.folder("nginx");
        std::fs::create_dir_all(&folder)?;
        let settings = folder.join("nginx.conf");
        std::fs::write(&settings, Self::settings(&folder, root))?;
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&settings)
            .args(["-e", "stderr"]);
        let process = Process::start(&bench.lan.here, "nginx", command, bench.logs())?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, NGINX_PORT));
        let deadline = Instant::now() + START;
        while bench.lan.here.connect(addr).is_err() {
            if Instant::now() > deadline {
                bail!("nginx does not listen");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(Self { process, addr }))
    }

    fn settings(folder: &Path, root: &Path) -> String {
        let (folder, root) = (folder.display(), root.display());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat();
        // Everybody is root in the namespace; nginx would change to a person who may not exist there.
        format!(
            "daemon off;\nuser root;\nworker_processes auto;\npid {folder}/pid;\nerror_log stderr warn;\n\
             events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\nsendfile on;\ntcp_nopush on;\n\
             keepalive_requests 100000000;\nopen_file_cache max=1024;\n{temporary}\
             server {{ listen 127.0.0.1:{NGINX_PORT}; root {root}; }}\n}}\n"
        )
    }

    /// A file of its folder.
    pub(super) fn target<'a>(&self, bench: &'a Bench, file: &str) -> Target<'a> {
        Target {
            space: &bench.lan.here,
            addr: self.addr,
            host: self.addr.to_string(),
            path: format!("/{file}"),
            files: 1,
        }
    }

    /// Ends it and its workers.
    pub(super) fn stop(self) -> Result<()> {
        self.process.stop().context("nginx")
    }
}
