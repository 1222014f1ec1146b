//! Statements of a text of SQL that comes in pieces.

use crate::DataError;
use crate::guard::MAX_LOADED;

/// Finds where statements end, piece by piece.
#[derive(Debug, Default)]
pub struct Splitter {
    statement: Vec<u8>,
    within: Within,
    last: u8,
}

/// What the last byte stood in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Within {
    #[default]
    Plain,
    /// Until this byte. One that is doubled ends the quote and begins it again, which comes to the same.
    Quote(u8),
    Line,
    Block,
}

impl Splitter {
    /// Takes a piece and gives the statements that end in it.
    ///
    /// # Errors
    /// A statement is too long or not UTF-8.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<String>, DataError> {
        let mut done = Vec::new();
        for &byte in piece {
            let was = self.within;
            self.within = match (was, self.last, byte) {
                (Within::Plain, _, b'\'' | b'"' | b'`') => Within::Quote(byte),
                (Within::Plain, _, b'[') => Within::Quote(b']'),
                (Within::Plain, b'-', b'-') => Within::Line,
                (Within::Plain, b'/', b'*') => Within::Block,
                (Within::Quote(end), _, byte) if byte == end => Within::Plain,
                (Within::Line, _, b'\n') | (Within::Block, b'*', b'/') => Within::Plain,
                (within, ..) => within,
            };
            // The star that opens a comment does not close it.
            self.last = if was == self.within { byte } else { 0 };
            if was == Within::Plain && byte == b';' {
                done.extend(self.take()?);
            } else {
                self.statement.push(byte);
                if self.statement.len() >= MAX_LOADED.unsigned_abs() as usize {
                    return Err(DataError::invalid("a statement is too long"));
                }
            }
        }
        Ok(done)
    }

    /// Whether nothing stands behind the last semicolon.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statement.trim_ascii().is_empty()
    }

    /// What stands behind the last semicolon.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn take(&mut self) -> Result<Option<String>, DataError> {
        self.last = 0;
        let text = String::from_utf8(std::mem::take(&mut self.statement))
            .map_err(|_| DataError::invalid("the text is not UTF-8"))?;
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Split in one piece and byte by byte, it is the same.
    fn check(text: &str, expected: &[&str]) {
        for size in [1, 3, text.len().max(1)] {
            let mut splitter = Splitter::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                found.extend(splitter.push(piece).unwrap());
            }
            found.extend(splitter.take().unwrap());
            let found: Vec<&str> = found.iter().map(|statement| statement.trim()).collect();
            assert_eq!(found, expected, "{text} by {size}");
        }
    }

    #[test]
    fn statements_end_at_semicolons_that_are_not_quoted() {
        check("", &[]);
        check("a;b", &["a", "b"]);
        check("a ; ; b;", &["a", "b"]);
        check("x ';' y; z", &["x ';' y", "z"]);
        check("x 'it''s;' y; z", &["x 'it''s;' y", "z"]);
        check("\";\" [;] `;`; z", &["\";\" [;] `;`", "z"]);
        check("a -- ; '\n; b", &["a -- ; '", "b"]);
        check("a /* ; ' */; b", &["a /* ; ' */", "b"]);
        check("a /*/ ; */; b", &["a /*/ ; */", "b"]);
        check("a - -1; b", &["a - -1", "b"]);
        check("'unfinished ; x", &["'unfinished ; x"]);
        check("'-'-- ;\n;b", &["'-'-- ;", "b"]);
    }

    #[test]
    fn endless_statements_are_refused() {
        let mut splitter = Splitter::default();
        let piece = vec![b'x'; 1 << 20];
        let refused = (0..64).any(|_| splitter.push(&piece).is_err());
        assert!(refused);
    }
}
