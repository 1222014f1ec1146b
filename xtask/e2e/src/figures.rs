//! What the scenarios with NAT measured, as tables for the documentation.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::Nat;

/// How one peer reaches another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// Without a third.
    Direct,
    /// Through the relay of the rendezvous server.
    Relay,
}

/// Under which conditions a pair was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    /// Short lines, nothing changes.
    Plain,
    /// Both at the end of a long line.
    LongLines,
    /// The first one's interface went down and came back with another address.
    Moving,
}

/// What a pair of kinds reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) series: Series,
    pub(crate) pair: (Nat, Nat),
    /// How they were connected when each had the other's page.
    pub(crate) first: Path,
    /// From the moment both knew each other (or the interface was back) until each had the other's page.
    pub(crate) page: Duration,
    /// Likewise, until both were connected directly; `None` when they stay on the relay.
    pub(crate) direct: Option<Duration>,
    /// No hole had to be tried once more.
    pub(crate) at_first_try: bool,
}

/// Everything that was measured in a run.
#[derive(Debug, Default)]
pub(crate) struct Figures(RefCell<Vec<Cell>>);

impl Figures {
    /// Keeps a figure.
    pub(crate) fn add(&self, cell: Cell) {
        self.0.borrow_mut().push(cell);
    }

    /// Whether something was measured.
    pub(crate) fn has_any(&self) -> bool {
        !self.0.borrow().is_empty()
    }

    /// The tables, in Markdown. A pair that was not measured is `–`.
    pub(crate) fn tables(&self) -> String {
        let cells = self.0.borrow();
        let find = |series, a, b| {
            let cell = cells
                .iter()
                .find(|cell| cell.series == series && (cell.pair == (a, b) || cell.pair == (b, a)));
            cell.map_or_else(|| "–".to_owned(), text)
        };
        let mut out = format!("{}\n\n| |", place_and_time());
        for kind in Nat::ALL {
            let _ = write!(out, " {kind} |");
        }
        let _ = write!(out, "\n|---|{}", "---|".repeat(Nat::ALL.len()));
        for (row, a) in Nat::ALL.into_iter().enumerate() {
            let _ = write!(out, "\n| **{a}** |");
            for (column, b) in Nat::ALL.into_iter().enumerate() {
                let text = match column < row {
                    true => String::new(),
                    false => find(Series::Plain, a, b),
                };
                let _ = write!(out, " {text} |");
            }
        }
        out.push_str(
            "\n\n| | Long lines, with its own kind | Moving, with port-restricted |\n|---|---|---|",
        );
        for a in Nat::ALL {
            let _ = write!(
                out,
                "\n| **{a}** | {} | {} |",
                find(Series::LongLines, a, a),
                find(Series::Moving, a, Nat::PortRestricted)
            );
        }
        out.push_str("\n\n");
        out.push_str(&summary(&cells));
        out
    }

    /// Writes the tables into a file: between the marks of a document that has them, else as all there is.
    pub(crate) fn write(&self, file: &std::path::Path) -> Result<()> {
        let old = std::fs::read_to_string(file).unwrap_or_default();
        std::fs::write(file, recorded(&old, &self.tables()))
            .with_context(|| format!("{} cannot be written", file.display()))
    }
}

const BEGIN: &str = "<!-- matrix: begin -->\n";
const END: &str = "<!-- matrix: end -->";

fn recorded(old: &str, tables: &str) -> String {
    let places = old
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match places {
        Some((before, after)) => format!("{before}{BEGIN}{tables}{END}{after}"),
        None => tables.to_owned(),
    }
}

/// When and on what it was measured.
fn place_and_time() -> String {
    let date = std::process::Command::new("date").arg("+%F").output();
    let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let build = match cfg!(debug_assertions) {
        true => "programs without optimisation",
        false => "release build",
    };
    let date = date.unwrap_or_default();
    format!("{date}: {cores} cores, {build}.")
}

/// The reach that the table adds up to.
fn summary(cells: &[Cell]) -> String {
    let plain: Vec<&Cell> = cells
        .iter()
        .filter(|cell| cell.series == Series::Plain)
        .collect();
    let all = Nat::ALL.len() * (Nat::ALL.len() + 1) / 2;
    let possible: Vec<&&Cell> = plain
        .iter()
        .filter(|cell| cell.pair.0.direct(cell.pair.1))
        .collect();
    let at_once = possible.iter().filter(|cell| cell.first == Path::Direct);
    let first_try = |cell: &&&&Cell| cell.direct.is_some() && cell.at_first_try;
    let soon = |cell: &&&&Cell| cell.direct.is_some_and(|direct| direct <= SOON);
    let mut took: Vec<Duration> = possible.iter().filter_map(|cell| cell.direct).collect();
    took.sort();
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    format!(
        "{} of {all} pairs connect. A direct path is possible for {} of them: {} were direct at the first try, {} when \
         the first page came, {} within {} s; median {:.1} s.\n",
        plain.len(),
        possible.len(),
        possible.iter().filter(first_try).count(),
        at_once.count(),
        possible.iter().filter(soon).count(),
        SOON.as_secs(),
        median.as_secs_f64(),
    )
}

/// A path that becomes direct later than this is not counted.
const SOON: Duration = Duration::from_secs(30);

fn text(cell: &Cell) -> String {
    let page = cell.page.as_secs_f64();
    match (cell.first, cell.direct) {
        (Path::Direct, _) => format!("direct {page:.1} s"),
        (Path::Relay, None) => format!("relay {page:.1} s"),
        (Path::Relay, Some(direct)) => {
            format!("relay {page:.1} s, direct {:.1} s", direct.as_secs_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_what_stands_around_the_tables() {
        let document = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let expected = format!("before\n{BEGIN}new\n{END}\nafter\n");
        assert_eq!(recorded(&document, "new\n"), expected);
        assert_eq!(recorded("something else", "new\n"), "new\n");
    }

    #[test]
    fn the_summary_counts_what_was_measured() {
        let cell = |pair, first, direct: Option<u64>, at_first_try| Cell {
            series: Series::Plain,
            pair,
            first,
            page: Duration::from_secs(1),
            direct: direct.map(Duration::from_secs),
            at_first_try,
        };
        let cells = [
            cell((Nat::Open, Nat::Open), Path::Direct, Some(1), true),
            cell((Nat::Open, Nat::Carrier), Path::Relay, Some(31), false),
            cell((Nat::Symmetric, Nat::Symmetric), Path::Relay, None, true),
        ];
        let text = summary(&cells);
        let expected = "3 of 36 pairs connect. A direct path is possible for 2 of them: 1 were direct at the first try, 1 \
                        when the first page came, 1 within 30 s; median 31.0 s.\n";
        assert_eq!(text, expected);
    }
}
