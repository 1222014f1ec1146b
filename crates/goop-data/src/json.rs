//! JSON as the Go program writes it: `<`, `>`, `&` and two line separators escaped inside texts.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// A value as compact JSON, byte for byte as Go's encoder has it.
///
/// # Panics
/// Never: a JSON value always has a text.
#[must_use]
pub fn to_bytes(value: &serde_json::Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    write_value(value, &mut bytes);
    bytes
}

/// Writes a value as [`to_bytes`] has it.
pub(crate) fn write_value(value: &serde_json::Value, bytes: &mut Vec<u8>) {
    write(value, bytes);
}

/// Writes a text as [`to_bytes`] has it.
pub(crate) fn write_text(text: &str, bytes: &mut Vec<u8>) {
    write(text, bytes);
}

fn write<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    // Writing into memory does not fail, and keys of a JSON value are texts.
    let _ = value.serialize(&mut Serializer::with_formatter(bytes, GoEscapes));
}

/// Where the first letter is that is escaped beyond what JSON asks for.
fn special(text: &str) -> Option<(usize, char)> {
    // The two separators begin with the same byte in UTF-8 as many other letters.
    const SEPARATORS: u8 = 0xe2;
    let bytes = text.as_bytes();
    let maybe = bytes
        .iter()
        .position(|byte| matches!(byte, b'<' | b'>' | b'&' | &SEPARATORS))?;
    text[maybe..]
        .char_indices()
        .find(|(_, letter)| matches!(letter, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'))
        .map(|(at, letter)| (maybe + at, letter))
}

struct GoEscapes;

impl Formatter for GoEscapes {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some((at, special)) = special(rest) {
            writer.write_all(&rest.as_bytes()[..at])?;
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &rest[at + special.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn escapes_as_go_does() {
        let text = String::from_utf8(to_bytes(&json!({"a": "<b>&\u{2028}é\n\"", "n": 5})));
        assert_eq!(
            text.as_deref(),
            Ok(r#"{"a":"\u003cb\u003e\u0026\u2028é\n\"","n":5}"#)
        );
    }
}
