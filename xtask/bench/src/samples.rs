//! Measured values: medians, spreads, units.

use std::time::Duration;

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Answers per second.
    PerSecond,
    /// 10⁶ bytes per second.
    Megabytes,
    /// 2²⁰ bytes.
    Mebibytes,
    /// 10³ bytes.
    Kilobytes,
    /// Whole things.
    Count,
    /// Of a hundred.
    Percent,
}

impl Unit {
    /// A value with its unit, in three digits or so.
    pub(crate) fn show(self, value: f64) -> String {
        format!("{} {}", self.digits(value), self.name())
            .trim_end()
            .to_owned()
    }

    /// A value without its unit.
    pub(crate) fn digits(self, value: f64) -> String {
        match value.abs() {
            _ if matches!(self, Self::PerSecond | Self::Count) => thousands(value),
            large if large >= 100.0 => format!("{value:.0}"),
            middle if middle >= 10.0 => format!("{value:.1}"),
            small if small >= 1.0 => format!("{value:.2}"),
            _ => format!("{value:.3}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::PerSecond => "/s",
            Self::Megabytes => "MB/s",
            Self::Mebibytes => "MiB",
            Self::Kilobytes => "kB",
            Self::Count => "",
            Self::Percent => "%",
        }
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The values of several rounds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    /// Takes one more.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one; not a number without any.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[len / 2],
            len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
        }
    }

    /// The smallest.
    pub(crate) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The largest.
    pub(crate) fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Each value beside the other's of the same round. Rounds drift together on a noisy machine, so the quotients
    /// spread less than the values.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(ours, floor)| ours / floor)
                .collect(),
        )
    }

    /// The sums of each round.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(one, two)| one + two)
                .collect(),
        )
    }

    /// The rates at which two works get done that share all cores, when each alone reaches these.
    pub(crate) fn one_after_the_other(one: &Self, two: &Self) -> Self {
        Self(
            one.0
                .iter()
                .zip(&two.0)
                .map(|(one, two)| 1.0 / (1.0 / one + 1.0 / two))
                .collect(),
        )
    }
}

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::{Samples, Unit};

    #[test]
    fn median_is_the_middle() {
        assert_eq!(
            Samples(vec![3.0, 1.0, 2.0]).median().to_bits(),
            2.0_f64.to_bits()
        );
        assert_eq!(
            Samples(vec![4.0, 1.0, 2.0, 3.0]).median().to_bits(),
            2.5_f64.to_bits()
        );
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn quotients_are_of_one_round() {
        let ratio = Samples(vec![10.0, 40.0]).over(&Samples(vec![20.0, 80.0]));
        assert_eq!(ratio.0, [0.5, 0.5]);
        assert_eq!(
            (ratio.min().to_bits(), ratio.max().to_bits()),
            (0.5_f64.to_bits(), 0.5_f64.to_bits())
        );
    }

    #[test]
    fn works_that_share_cores_add_their_times() {
        let both = Samples::one_after_the_other(&Samples(vec![2.0]), &Samples(vec![2.0]));
        assert_eq!(both.0, [1.0]);
    }

    #[test]
    fn values_are_shown_short() {
        let check = |unit: Unit, value: f64, shown: &str| assert_eq!(unit.show(value), shown);
        check(Unit::PerSecond, 12_345.6, "12,346 /s");
        check(Unit::PerSecond, 123.0, "123 /s");
        check(Unit::Milliseconds, 0.1234, "0.123 ms");
        check(Unit::Milliseconds, 12.34, "12.3 ms");
        check(Unit::Megabytes, 1234.5, "1234 MB/s");
    }
}
