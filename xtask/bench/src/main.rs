#![doc = include_str!("../README.md")]
//!
//! The program starts itself again inside namespaces of its own ([`space`]), makes a small LAN there and takes the
//! lines of the table one after the other ([`lines`]). Whatever is compared runs in a process of its own: peers are the
//! real binaries, floors and load generators are hidden commands of this one.

mod bench;
mod browser;
mod floor;
mod http;
mod lines;
mod load;
mod peer;
mod process;
mod profile;
mod report;
mod samples;
mod space;
mod stand_in;
mod star;

use std::process::ExitCode;

use anyhow::Result;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    match command.as_str() {
        floor::http::COMMAND => floor::http::run(parse(&command, &rest)),
        floor::node::COMMAND => floor::node::run(parse(&command, &rest)),
        floor::ask::COMMAND => floor::ask::run(parse(&command, &rest)),
        floor::seen::WAIT => floor::seen::wait(parse(&command, &rest)),
        floor::seen::START => floor::seen::start(parse(&command, &rest)),
        floor::splice::COMMAND => floor::splice::run(parse(&command, &rest)),
        floor::sqlite::COMMAND => floor::sqlite::run(parse(&command, &rest)),
        load::flood::COMMAND => load::flood::run(parse(&command, &rest)),
        load::post::COMMAND => load::post::run(parse(&command, &rest)),
        load::rate::COMMAND => load::rate::run(parse(&command, &rest)),
        stand_in::COMMAND => stand_in::run(parse(&command, &rest)),
        load::places::COMMAND => load::places::run(parse(&command, &rest)),
        load::sockets::COMMAND => load::sockets::run(parse(&command, &rest)),
        load::bulk::COMMAND => load::bulk::run(parse(&command, &rest)),
        _ => return bench::run(argh::from_env()),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the options of a hidden command; a mistake there is ours and ends the process with argh's explanation.
fn parse<'a, T: argh::FromArgs>(command: &'a str, rest: &'a [String]) -> T {
    // `--name=value` is one argument where it is put together and two for argh.
    let apart = |argument: &'a String| match argument.split_once('=') {
        Some((name, value)) if name.starts_with("--") => vec![name, value],
        _ => vec![argument.as_str()],
    };
    let rest: Vec<&str> = rest.iter().flat_map(apart).collect();
    T::from_args(&[command], &rest).unwrap_or_else(|early| {
        eprintln!("{}", early.output);
        std::process::exit(if early.status.is_ok() { 0 } else { 2 })
    })
}
