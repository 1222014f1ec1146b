//! Reading `GET /events` (rendezvous.md 5): lines in, records out, in any cut of the bytes.

/// Longest line. Servers keep a record under 48 KiB; Go readers break at 64 KiB.
const MAX_LINE: usize = 64 * 1024;

/// What is known of the line under way.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    /// The line is too long and is passed over.
    skipping: bool,
}

impl Lines {
    /// Takes the next bytes; answers the data of each `data:` line that ended in them.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.take(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            if !std::mem::take(&mut self.skipping) {
                found.extend(data_of(&line));
            }
        }
        self.take(bytes);
        found
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > MAX_LINE {
            self.skipping = true;
            self.line = Vec::new();
        }
        if !self.skipping {
            self.line.extend_from_slice(bytes);
        }
    }
}

fn data_of(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let data = line.strip_prefix(b"data:")?;
    Some(data.strip_prefix(b" ").unwrap_or(data).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_however_the_bytes_are_cut() {
        let text = b": hello\n\nevent: message\ndata: {\"a\":1}\r\n\ndata:{\"b\":2}\n\nid: 7\n";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let found: Vec<Vec<u8>> = text
                .chunks(size)
                .flat_map(|bytes| lines.feed(bytes))
                .collect();
            assert_eq!(
                found,
                [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec()],
                "{size}"
            );
        }
    }

    #[test]
    fn an_endless_line_is_passed_over_and_holds_no_memory() {
        let mut lines = Lines::default();
        for _ in 0..1_000 {
            assert!(lines.feed(&[b'x'; 4096]).is_empty());
            assert!(lines.line.capacity() <= 2 * MAX_LINE);
        }
        assert_eq!(lines.feed(b"\ndata: x\n"), [b"x".to_vec()]);
    }
}
