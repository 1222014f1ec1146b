//! A rendezvous server behind nginx and behind Caddy, with a certificate: each client has its own allowance, whatever it
//! says of itself, and peers meet through the proxy alone.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::nat_matrix::{KNOWN, PAGE, Pair};
use crate::lab::{Host, Internet, Lab, Nat, wait};
use crate::peer::{curl, tail};
use crate::rendezvous::{PASSWORD, Proxy, Rendezvous};

/// Streams of events that one address may hold open (rendezvous.md 5).
const STREAMS: usize = 10;
/// Wrong passwords of one address in a minute.
const WRONG_PASSWORDS: usize = 5;
/// A proxy answers in milliseconds.
const SOON: Duration = Duration::from_secs(10);
/// What somebody says who would like to be somebody else.
const LIES: [&str; 3] = [
    "X-Forwarded-For: 203.0.113.77",
    "Forwarded: for=203.0.113.77",
    "X-Real-IP: 203.0.113.77",
];

pub(super) fn nginx(lab: &Lab) -> Result<()> {
    behind(lab, Proxy::Nginx)
}

pub(super) fn caddy(lab: &Lab) -> Result<()> {
    behind(lab, Proxy::Caddy)
}

fn behind(lab: &Lab, proxy: Proxy) -> Result<()> {
    let net = Internet::new(lab)?;
    let (host, address) = net.server(1)?;
    let server = Rendezvous::behind(lab, &host, address, proxy)?;
    let homes = [net.home(1, Nat::HttpsOnly)?, net.home(2, Nat::HttpsOnly)?];
    let clients = [0, 1].map(|at| Client {
        host: &homes[at].host,
        certificate: server.certificate().display().to_string(),
        url: server.secure_url(),
    });
    passwords(&clients).context("wrong passwords")?;
    streams(&clients).context("streams of events")?;
    // The sockets of peers and the relay's go through it, too: these homes let nothing else out.
    let pair = Pair::start(lab, &server, &homes)?;
    let met = pair
        .known(KNOWN)
        .and_then(|()| pair.pages(Instant::now(), PAGE));
    met.map(drop).with_context(|| {
        format!(
            "Ada:\n{}\nGrace:\n{}",
            tail(&pair.ada.log()),
            tail(&pair.grace.log())
        )
    })
}

/// Somebody with an address of their own.
struct Client<'a> {
    host: &'a Host,
    certificate: String,
    url: String,
}

impl Client<'_> {
    fn args<'a>(&'a self, extra: &[&'a str]) -> Vec<&'a str> {
        ["--cacert", &self.certificate]
            .into_iter()
            .chain(extra.iter().copied())
            .collect()
    }

    fn status(&self, path: &str, extra: &[&str]) -> Result<u16> {
        let url = format!("{}{path}", self.url);
        let mut args = self.args(extra);
        args.push(&url);
        Ok(curl(self.host, &args)?.status)
    }

    /// Whether the admin page is shown for this password.
    fn sign_in(&self, password: &str, extra: &[&str]) -> Result<u16> {
        let user = format!("admin:{password}");
        let args: Vec<&str> = ["-u", &user]
            .into_iter()
            .chain(extra.iter().copied())
            .collect();
        self.status("/peers.json", &args)
    }

    /// Asks for events and holds the stream open, whatever the answer is.
    fn listen(&self, extra: &[&str]) -> Result<Listening> {
        let url = format!("{}/events", self.url);
        let mut args = self.args(extra);
        args.extend(["--silent", "--no-buffer", "--include", &url]);
        let child = self
            .host
            .command("curl")
            .args(args)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut listening = Listening(child, String::new());
        let mut head = Vec::new();
        let out = listening.0.stdout.as_mut().context("no output")?;
        // The first line says how it went, and the stream's own first line follows the head.
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(out, &mut byte).context("no answer")?;
            head.push(byte[0]);
        }
        listening.1 = String::from_utf8_lossy(&head).into_owned();
        Ok(listening)
    }
}

/// A stream that is open until this is dropped, and its head.
struct Listening(Child, String);

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn passwords([guesser, owner]: &[Client<'_>; 2]) -> Result<()> {
    for _ in 0..WRONG_PASSWORDS {
        let status = guesser.sign_in("guess", &[])?;
        ensure!(status == 401, "a wrong password: {status}");
    }
    let status = guesser.sign_in("guess", &[])?;
    ensure!(status == 429, "one too many: {status}");
    for lie in LIES {
        let status = guesser.sign_in("guess", &["-H", lie])?;
        ensure!(status == 429, "one too many with {lie}: {status}");
    }
    let status = owner.sign_in(PASSWORD, &[])?;
    ensure!(status == 200, "the owner elsewhere: {status}");
    Ok(())
}

fn streams([greedy, other]: &[Client<'_>; 2]) -> Result<()> {
    let mut open = Vec::new();
    for number in 0..STREAMS {
        let stream = greedy.listen(&[])?;
        ensure!(is(&stream, 200), "stream {number}: {}", stream.1);
        open.push(stream);
    }
    for lie in LIES {
        let one_more = greedy.listen(&["-H", lie])?;
        ensure!(
            is(&one_more, 429),
            "one too many with {lie}: {}",
            one_more.1
        );
    }
    let others = other.listen(&[])?;
    ensure!(is(&others, 200), "somebody else: {}", others.1);
    // What ended is not counted any longer.
    open.pop();
    wait("there is room again", SOON, || {
        Ok(is(&greedy.listen(&[])?, 200).then_some(()))
    })
}

fn is(stream: &Listening, status: u16) -> bool {
    let mut words = stream.1.split_whitespace();
    words.nth(1) == Some(&status.to_string())
}
