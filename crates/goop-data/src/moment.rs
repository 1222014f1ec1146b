//! Times as SQLite columns hold them (storage.md 6.2).

use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// Now, as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339_now() -> String {
    rfc3339(OffsetDateTime::now_utc())
}

/// Now, as `CURRENT_TIMESTAMP` would store it: `YYYY-MM-DD HH:MM:SS`, UTC.
#[must_use]
pub fn now() -> String {
    plain(OffsetDateTime::now_utc())
}

/// `YYYY-MM-DD HH:MM:SS`, UTC.
#[must_use]
pub fn plain(moment: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    moment
        .to_offset(UtcOffset::UTC)
        .format(form)
        .unwrap_or_default()
}

/// RFC 3339, UTC, with a fraction only where there is one.
#[must_use]
pub fn rfc3339(moment: OffsetDateTime) -> String {
    let form = &time::format_description::well_known::Rfc3339;
    moment
        .to_offset(UtcOffset::UTC)
        .format(form)
        .unwrap_or_default()
}

/// RFC 3339 of a stored text, or the text where it is no time.
#[must_use]
pub fn rfc3339_of(text: &str) -> String {
    parse(text).map_or_else(|| text.to_owned(), rfc3339)
}

/// Whether a text is a time in the form of [`plain`].
pub(crate) fn is_plain(text: &[u8]) -> bool {
    text.len() == "YYYY-MM-DD HH:MM:SS".len()
        && text[10] == b' '
        && std::str::from_utf8(text).is_ok_and(|text| parse(text).is_some())
}

/// Reads the forms that the Go program's driver takes for a time; anything else is plain text.
#[must_use]
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    // The longest form is Go's own with a fraction, a zone's name and a clock reading.
    const LONGEST: usize = 80;
    if text.len() > LONGEST || !text.is_ascii() {
        return None;
    }
    let mut rest = Reader(text.strip_suffix('Z').unwrap_or(text).as_bytes());
    let year = rest.digits(4)?;
    rest.byte(b"-")?;
    let month = rest.digits(2)?;
    rest.byte(b"-")?;
    let day = rest.digits(2)?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date =
        Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    if rest.0.is_empty() {
        return Some(PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc());
    }
    rest.byte(b" T")?;
    let hour = u8::try_from(rest.digits(2)?).ok()?;
    rest.byte(b":")?;
    let minute = u8::try_from(rest.digits(2)?).ok()?;
    if rest.0.is_empty() {
        let time = Time::from_hms(hour, minute, 0).ok()?;
        return Some(PrimitiveDateTime::new(date, time).assume_utc());
    }
    rest.byte(b":")?;
    let second = u8::try_from(rest.digits(2)?).ok()?;
    let nanos = rest.fraction()?;
    let time = Time::from_hms_nano(hour, minute, second, nanos).ok()?;
    let offset = rest.offset()?;
    Some(PrimitiveDateTime::new(date, time).assume_offset(offset))
}

/// What is left of the text.
struct Reader<'t>(&'t [u8]);

impl Reader<'_> {
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + u32::from(digit - b'0'))
        })
    }

    fn byte(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        wanted.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// Nanoseconds of `.123…`; 0 where there is no fraction.
    fn fraction(&mut self) -> Option<u32> {
        if self.byte(b".").is_none() {
            return Some(0);
        }
        let count = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count == 0 {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some((0..9).fold(0, |nanos, place| {
            nanos * 10 + digits.get(place).map_or(0, |digit| u32::from(digit - b'0'))
        }))
    }

    /// `±hh:mm`, nothing, or Go's ` ±hhmm ZONE[ m=…]`.
    fn offset(&mut self) -> Option<UtcOffset> {
        if self.0.is_empty() {
            return Some(UtcOffset::UTC);
        }
        let gos = self.byte(b" ").is_some();
        let sign = if self.byte(b"+-")? == b'-' { -1 } else { 1 };
        let hours = i8::try_from(self.digits(2)?).ok()?;
        if !gos {
            self.byte(b":")?;
        }
        let minutes = i8::try_from(self.digits(2)?).ok()?;
        if gos {
            self.byte(b" ")?;
        } else if !self.0.is_empty() {
            return None;
        }
        UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse(text).map(plain).as_deref(), expected, "{text}");
    }

    #[test]
    fn forms_of_a_time() {
        check("1990-05-14", Some("1990-05-14 00:00:00"));
        check("2026-01-02T03:04:05Z", Some("2026-01-02 03:04:05"));
        check("2026-01-02 03:04:05.75", Some("2026-01-02 03:04:05"));
        check("2026-01-02 03:04", Some("2026-01-02 03:04:00"));
        check("2026-01-02T03:04Z", Some("2026-01-02 03:04:00"));
        check("2026-01-02 03:04:05+02:00", Some("2026-01-02 01:04:05"));
        check("2026-01-02T03:04:05.5-01:30", Some("2026-01-02 04:34:05"));
        check(
            "2026-01-02 03:04:05.123 +0100 CET m=+0.5",
            Some("2026-01-02 02:04:05"),
        );
        for text in [
            "",
            "x",
            "2026-13-01",
            "2026-1-2",
            "10:11:12",
            "2026-01-02 3:04",
            "2026-01-02 25:00",
            "2026-01-02 03:04:05 UTC",
            "2026-01-02x",
            "2026-01-02 03:04:05.",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn fractions_stay_in_rfc_3339() {
        assert_eq!(rfc3339_of("2026-04-03 23:14:49"), "2026-04-03T23:14:49Z");
        assert_eq!(
            rfc3339_of("2026-04-03 23:14:49.25"),
            "2026-04-03T23:14:49.25Z"
        );
        assert_eq!(rfc3339_of("yesterday"), "yesterday");
    }
}
