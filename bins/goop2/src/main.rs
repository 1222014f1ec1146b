//! `goop2`: the command people type. It only reads its arguments and hands over.
//!
//! Forms and exit codes follow the Go program where they make sense
//! (peer-directory.md 1.1 and 1.2): a wrong flag ends with 2, everything else that
//! goes wrong with 1, and the message says what to do.

mod backup;
mod control;
mod db;
mod doctor;
mod messages;

use std::path::PathBuf;
use std::process::ExitCode;

use argh::{EarlyExit, FromArgs};
use goop_peer::{Options, ViewerSwitch};

/// Goop², the ephemeral web: put a folder online from this machine.
#[derive(FromArgs, Debug)]
struct Args {
    /// print the version and leave
    #[argh(switch)]
    version: bool,
    #[argh(subcommand)]
    command: Option<Command>,
}

#[derive(FromArgs, Debug)]
#[argh(subcommand)]
enum Command {
    Peer(PeerCommand),
    Rendezvous(RendezvousCommand),
    Doctor(DoctorCommand),
    Backup(BackupCommand),
    Restore(RestoreCommand),
    Send(SendCommand),
    Listen(ListenCommand),
    Db(db::DbCommand),
}

/// Put a folder online until Ctrl-C (a second Ctrl-C ends at once). With presence.rendezvous_only in goop.json it is a
/// rendezvous server and nothing else.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "peer")]
struct PeerCommand {
    /// the peer folder; it must exist, `goop.json` is written when it is missing
    #[argh(positional)]
    dir: Option<PathBuf>,
    /// do not start the viewer (the pages and the HTTP API)
    #[argh(switch)]
    no_viewer: bool,
}

/// Run a rendezvous server and nothing else until Ctrl-C: peers find each other over it across the internet. With
/// viewer.http_addr set in goop.json, its settings and its log have pages, and the link to them is printed.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "rendezvous")]
struct RendezvousCommand {
    /// the folder of its settings and state; it and its `goop.json` are made when they are missing
    #[argh(positional)]
    dir: Option<PathBuf>,
}

/// Say in words what works from here: folder, keys, ports, network, names.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "doctor")]
struct DoctorCommand {
    /// the folder to look at, a peer's or a rendezvous server's
    #[argh(positional)]
    dir: Option<PathBuf>,
}

/// Put a whole peer folder into one zip file, while it runs or not.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "backup")]
struct BackupCommand {
    /// the peer folder
    #[argh(positional)]
    dir: PathBuf,
    /// the file to write; it must not exist
    #[argh(positional)]
    file: PathBuf,
    /// put the keys in, too: whoever has such a file can be you
    #[argh(switch)]
    keys: bool,
}

/// Make a peer folder of a backup.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "restore")]
struct RestoreCommand {
    /// the file that `goop2 backup` wrote
    #[argh(positional)]
    file: PathBuf,
    /// the folder to make; it must not exist or be empty
    #[argh(positional)]
    dir: PathBuf,
}

/// Write to a peer, through a peer of yours that runs. Prints `delivered`, or that it waits until they are back.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "send")]
struct SendCommand {
    /// the folder of your peer
    #[argh(positional)]
    dir: PathBuf,
    /// to whom: a peer id, or the name of exactly one known peer
    #[argh(positional)]
    peer: String,
    /// what to write (after `--` if it begins with a dash); without it, what comes in on standard input
    #[argh(positional)]
    text: Option<String>,
}

/// Print what your running peer hears, one JSON object a line, until Ctrl-C.
#[derive(FromArgs, Debug)]
#[argh(subcommand, name = "listen")]
struct ListenCommand {
    /// the folder of your peer
    #[argh(positional)]
    dir: PathBuf,
    /// which topics, comma-separated: exact ones such as `chat`, or beginnings such as `x:*`; all of them without
    #[argh(positional)]
    topic: Option<String>,
}

/// Exit code of a command line that cannot be read, as in the Go program.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match read(&given) {
        Ok(args) => obey(args),
        Err(exit) => answer(&given, &exit),
    }
}

/// Reads the command line, the older spellings included.
fn read(given: &[String]) -> Result<Args, EarlyExit> {
    let spelled: Vec<&str> = given
        .iter()
        .enumerate()
        .map(|(at, word)| modern(at, word))
        .collect();
    Args::from_args(&["goop2"], &spelled)
}

/// `goop2 -dir <path>` is the oldest form of `goop2 peer <path>`; the Go program takes
/// its flags with one dash.
fn modern(at: usize, word: &str) -> &str {
    match (at, word) {
        (0, "-dir" | "--dir") => "peer",
        (_, "-version") => "--version",
        (_, "-h" | "-help") => "--help",
        _ => word,
    }
}

fn obey(args: Args) -> ExitCode {
    if args.version {
        println!("Goop² v{}", goop_peer::VERSION);
        return ExitCode::SUCCESS;
    }
    match args.command {
        Some(Command::Peer(PeerCommand {
            dir: Some(dir),
            no_viewer,
        })) => {
            let viewer = if no_viewer {
                ViewerSwitch::Off
            } else {
                ViewerSwitch::On
            };
            goop_peer::run_to_exit(&Options { dir, viewer })
        }
        Some(Command::Peer(_)) => missing_directory("peer"),
        Some(Command::Rendezvous(RendezvousCommand { dir: Some(dir) })) => {
            goop_peer::run_server_to_exit(&dir)
        }
        Some(Command::Rendezvous(_)) => missing_directory("rendezvous"),
        Some(Command::Doctor(DoctorCommand { dir: Some(dir) })) => doctor::run(&dir),
        Some(Command::Doctor(_)) => missing_directory("doctor"),
        Some(Command::Backup(BackupCommand { dir, file, keys })) => {
            let keys = if keys {
                backup::Keys::Included
            } else {
                backup::Keys::LeftOut
            };
            backup::backup(&dir, &file, keys)
        }
        Some(Command::Restore(RestoreCommand { file, dir })) => backup::restore(&file, &dir),
        Some(Command::Send(SendCommand { dir, peer, text })) => {
            messages::send(&dir, &peer, text.as_deref())
        }
        Some(Command::Listen(ListenCommand { dir, topic })) => {
            messages::listen(&dir, topic.as_deref())
        }
        Some(Command::Db(command)) => db::run(&command),
        None => {
            println!("{}", help());
            ExitCode::SUCCESS
        }
    }
}

fn missing_directory(command: &str) -> ExitCode {
    eprintln!(
        "Error: {command} command requires directory path\nUsage: goop2 {command} <peer-directory>"
    );
    ExitCode::FAILURE
}

/// The text of `goop2 --help`.
fn help() -> String {
    match Args::from_args(&["goop2"], &["--help"]) {
        Err(exit) => exit.output,
        Ok(_) => String::new(),
    }
}

fn answer(given: &[String], exit: &EarlyExit) -> ExitCode {
    if exit.status.is_ok() {
        println!("{}", exit.output);
        return ExitCode::SUCCESS;
    }
    match given.first() {
        Some(first)
            if !first.starts_with('-')
                && ![
                    "peer",
                    "rendezvous",
                    "doctor",
                    "backup",
                    "restore",
                    "send",
                    "listen",
                ]
                .contains(&first.as_str()) =>
        {
            println!("{}", help());
            eprintln!("Error: unknown command '{first}'");
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("{}", exit.output);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(line: &str, expected: &str) {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        let got = match read(&words) {
            Ok(Args { version: true, .. }) => "version".to_owned(),
            Ok(Args { command: None, .. }) => "help".to_owned(),
            Ok(Args {
                command: Some(Command::Peer(peer)),
                ..
            }) => {
                format!("peer {:?} viewer={}", peer.dir, !peer.no_viewer)
            }
            Ok(Args {
                command: Some(Command::Doctor(doctor)),
                ..
            }) => format!("doctor {:?}", doctor.dir),
            Ok(Args {
                command: Some(Command::Rendezvous(rendezvous)),
                ..
            }) => format!("rendezvous {:?}", rendezvous.dir),
            Ok(Args {
                command: Some(Command::Backup(backup)),
                ..
            }) => format!(
                "backup {:?} {:?} keys={}",
                backup.dir, backup.file, backup.keys
            ),
            Ok(Args {
                command: Some(Command::Restore(restore)),
                ..
            }) => format!("restore {:?} {:?}", restore.file, restore.dir),
            Ok(Args {
                command: Some(Command::Send(send)),
                ..
            }) => format!("send {:?} {:?} {:?}", send.dir, send.peer, send.text),
            Ok(Args {
                command: Some(Command::Listen(listen)),
                ..
            }) => format!("listen {:?} {:?}", listen.dir, listen.topic),
            Ok(Args {
                command: Some(Command::Db(db)),
                ..
            }) => format!("{db:?}"),
            Err(exit) if exit.status.is_ok() => "help".to_owned(),
            Err(_) => "wrong".to_owned(),
        };
        assert_eq!(got, expected, "goop2 {line}");
    }

    #[test]
    fn command_lines_old_and_new() {
        check("", "help");
        check("peer site", "peer Some(\"site\") viewer=true");
        check("-dir site", "peer Some(\"site\") viewer=true");
        check("--dir site", "peer Some(\"site\") viewer=true");
        check("peer --no-viewer site", "peer Some(\"site\") viewer=false");
        check("peer", "peer None viewer=true");
        check("rendezvous site", "rendezvous Some(\"site\")");
        check("rendezvous", "rendezvous None");
        check("doctor site", "doctor Some(\"site\")");
        check("backup me b.zip", "backup \"me\" \"b.zip\" keys=false");
        check(
            "backup --keys me b.zip",
            "backup \"me\" \"b.zip\" keys=true",
        );
        check("restore b.zip me", "restore \"b.zip\" \"me\"");
        check("send me Bob hello", "send \"me\" \"Bob\" Some(\"hello\")");
        check("send me Bob -- -5", "send \"me\" \"Bob\" Some(\"-5\")");
        check("send me Bob", "send \"me\" \"Bob\" None");
        check("send me", "wrong");
        check("listen me", "listen \"me\" None");
        check("listen me chat,x:*", "listen \"me\" Some(\"chat,x:*\")");
        check(
            "db me check",
            "DbCommand { dir: \"me\", action: Check(Check) }",
        );
        check(
            "db me import b.zip --replace",
            "DbCommand { dir: \"me\", action: Import(Import { file: \"b.zip\", replace: true }) }",
        );
        check(
            "db me shell",
            "DbCommand { dir: \"me\", action: Shell(Shell { write: false }) }",
        );
        check("db me", "wrong");
        check("db check", "wrong");
        check("backup me", "wrong");
        check("-version", "version");
        check("--version", "version");
        check("-h", "help");
        check("-help", "help");
        check("--help", "help");
        check("-x", "wrong");
        check("dance", "wrong");
    }
}
