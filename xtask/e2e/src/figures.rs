//! What the scenarios with NAT measured, as tables for the documentation.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::Duration;

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
}

/// Everything that was measured in a run.
#[derive(Debug, Default)]
pub(crate) struct Figures(RefCell<Vec<Cell>>);

impl Figures {
    /// Keeps a figure.
    pub(crate) fn add(&self, cell: Cell) {
        self.0.borrow_mut().push(cell);
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
        let mut out = String::from("| |");
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
        out.push('\n');
        out
    }
}

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
