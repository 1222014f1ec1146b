//! The table, and its place in the page.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::bench::Effort;
use crate::lines::Line;
use crate::samples::{Samples, Unit};

/// Where the table begins and ends in a page.
const MARKS: [&str; 2] = ["<!-- bench: begin -->", "<!-- bench: end -->"];

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// What is measured.
    pub(crate) what: String,
    /// In what.
    pub(crate) unit: Unit,
    /// Our values, one a round; none when only floors are taken.
    pub(crate) ours: Samples,
    /// What stands beside it.
    pub(crate) floor: Option<Floor>,
    /// What is to be reached.
    pub(crate) goal: Goal,
    /// What else is worth knowing.
    pub(crate) note: String,
}

/// The least that could do the same.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    /// What it is.
    pub(crate) what: String,
    /// Its values, one a round.
    pub(crate) samples: Samples,
}

impl Floor {
    /// A floor with a name.
    pub(crate) fn new(what: impl Into<String>, samples: Samples) -> Self {
        Self {
            what: what.into(),
            samples,
        }
    }
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// The median is at most this.
    AtMost(f64),
    /// No single value is above this.
    NeverAbove(f64),
    /// The median quotient is at most this.
    TimesFloor(f64),
    /// The median quotient is at least this.
    OfFloor(f64),
    /// To compare only.
    None,
}

impl Goal {
    fn show(self, unit: Unit) -> String {
        let text = |value| unit.show(value).replace(".00", "").replace(".0", "");
        match self {
            Self::AtMost(value) => format!("≤ {}", text(value)),
            Self::NeverAbove(value) => format!("never > {}", text(value)),
            Self::TimesFloor(factor) => format!("≤ {factor} × floor"),
            Self::OfFloor(part) => format!("≥ {:.0} % of floor", part * 100.0),
            Self::None => "–".to_owned(),
        }
    }

    fn reached(self, ours: &Samples, ratio: Option<&Samples>) -> Option<bool> {
        if ours.0.is_empty() {
            return None;
        }
        match self {
            Self::AtMost(value) => Some(ours.median() <= value),
            Self::NeverAbove(value) => Some(ours.max() <= value),
            Self::TimesFloor(factor) => ratio.map(|ratio| ratio.median() <= factor),
            Self::OfFloor(part) => ratio.map(|ratio| ratio.median() >= part),
            Self::None => None,
        }
    }
}

/// A line that was taken.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Which.
    pub(crate) line: &'static Line,
    /// Its rows, or why there are none.
    pub(crate) result: Result<Vec<Row>>,
}

/// The table as Markdown, with what has to be known about the machine.
pub(crate) fn table(outcomes: &[Outcome], effort: &Effort) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "{}\n", machine()?)?;
    writeln!(
        text,
        "Medians of {} rounds of {} ms ({} starts), with the smallest and largest in brackets.\n",
        effort.rounds, effort.run, effort.starts
    )?;
    writeln!(
        text,
        "| Line | What | Ours | Floor | Ratio | Goal | Reached | Notes |\n|---|---|---|---|---|---|---|---|"
    )?;
    for outcome in outcomes {
        match &outcome.result {
            Ok(rows) => rows
                .iter()
                .try_for_each(|row| writeln!(text, "| {} {}", outcome.line.name, row.cells()))?,
            Err(error) => writeln!(
                text,
                "| {} | {} | **FAILED** |||||{} |",
                outcome.line.name,
                outcome.line.what,
                format!("{error:#}")
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
            )?,
        }
    }
    Ok(text)
}

impl Row {
    fn cells(&self) -> String {
        let ratio = self
            .floor
            .as_ref()
            .map(|floor| self.ours.over(&floor.samples))
            .filter(|ratio| !ratio.0.is_empty());
        let reached = match self.goal.reached(&self.ours, ratio.as_ref()) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        let floor = self.floor.as_ref().map_or("–".to_owned(), |floor| {
            format!(
                "{}: {}",
                floor.what,
                spread(&floor.samples, |value| self.unit.digits(value), &self.unit)
            )
        });
        let ratio = ratio.map_or("–".to_owned(), |ratio| {
            format!(
                "{:.2} ({:.2}–{:.2})",
                ratio.median(),
                ratio.min(),
                ratio.max()
            )
        });
        let ours = spread(&self.ours, |value| self.unit.digits(value), &self.unit);
        format!(
            "| {} | {ours} | {floor} | {ratio} | {} | {reached} | {} |",
            self.what,
            self.goal.show(self.unit),
            self.note
        )
    }
}

fn spread(samples: &Samples, digits: impl Fn(f64) -> String, unit: &Unit) -> String {
    match samples.0.len() {
        0 => "–".to_owned(),
        1 => unit.show(samples.median()),
        _ => format!(
            "{} ({}–{})",
            unit.show(samples.median()),
            digits(samples.min()),
            digits(samples.max())
        ),
    }
}

fn machine() -> Result<String> {
    let kernel = nix::sys::utsname::uname()?;
    let kernel = kernel.release().to_string_lossy();
    // Up to the first part that somebody chose as a name.
    let kernel: String = kernel
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |name| {
            name.trim_start_matches(['\t', ' ', ':'])
        });
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let memory: f64 = memory
        .and_then(|text| text.trim().trim_end_matches(" kB").parse().ok())
        .context("MemTotal")?;
    let date = time::OffsetDateTime::now_utc().date();
    Ok(format!(
        "{date}: {cores} cores ({cpu}), {:.0} GiB, Linux {kernel}.",
        memory / f64::from(1 << 20)
    ))
}

/// Puts the table between the marks of a page.
pub(crate) fn write(page: &Path, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(page)?;
    std::fs::write(page, between(&text, table)?)?;
    Ok(())
}

fn between(page: &str, table: &str) -> Result<String> {
    let [begin, end] = MARKS;
    let (before, rest) = page
        .split_once(begin)
        .with_context(|| format!("the page has no {begin}"))?;
    let (_, after) = rest
        .split_once(end)
        .with_context(|| format!("the page has no {end}"))?;
    Ok(format!("{before}{begin}\n{}\n{end}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::{Floor, Goal, MARKS, Row, between};
    use crate::samples::{Samples, Unit};

    #[test]
    fn goals() {
        let check = |goal: Goal, ours: &[f64], ratio: &[f64], reached| {
            assert_eq!(
                goal.reached(&Samples(ours.to_vec()), Some(&Samples(ratio.to_vec()))),
                reached,
                "{goal:?}"
            );
        };
        check(Goal::AtMost(120.0), &[100.0, 119.0, 500.0], &[], Some(true));
        check(Goal::NeverAbove(8.0), &[1.0, 1.0, 9.0], &[], Some(false));
        check(Goal::OfFloor(0.75), &[1.0], &[0.74], Some(false));
        check(Goal::OfFloor(0.75), &[1.0], &[0.76], Some(true));
        check(Goal::TimesFloor(2.0), &[1.0], &[2.1], Some(false));
        check(Goal::AtMost(1.0), &[], &[], None);
    }

    #[test]
    fn a_row_says_everything() {
        let row = Row {
            what: "own site".to_owned(),
            unit: Unit::PerSecond,
            ours: Samples(vec![900.0, 1_000.0, 1_100.0]),
            floor: Some(Floor::new("bare", Samples(vec![1_000.0, 1_000.0, 1_000.0]))),
            goal: Goal::OfFloor(0.75),
            note: "fine".to_owned(),
        };
        assert_eq!(
            row.cells(),
            "| own site | 1,000 /s (900–1,100) | bare: 1,000 /s (1,000–1,000) | 1.00 (0.90–1.10) | ≥ 75 % of floor | yes | fine |"
        );
    }

    #[test]
    fn the_page_keeps_what_stands_around_the_table() {
        let [begin, end] = MARKS;
        let page = format!("before\n{begin}\nold\n{end}\nafter\n");
        let page = between(&page, "new\n").unwrap_or_default();
        assert_eq!(page, format!("before\n{begin}\nnew\n{end}\nafter\n"));
        assert!(between("no marks", "x").is_err());
        assert!(between(include_str!("../../../docs/performance.md"), "x").is_ok());
    }
}
