//! One line of a log file, written and read. Pure.

use std::io::Write;

use jiff::Timestamp;

/// The most bytes of a container's line that stand in one line of the file; what is longer goes on
/// in the next.
pub const TEXT_LENGTH_MAX: usize = 16 * 1024;

/// Where a container wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) time: Timestamp,
    pub(crate) source: Source,
    /// Whether the container's line goes on in the next one of the same source.
    pub(crate) partial: bool,
    pub(crate) text: &'a [u8],
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl<'a> Line<'a> {
    /// Appends the line, with its end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let tag = if self.partial { 'P' } else { 'F' };
        // Nine digits always: what parses RFC3339Nano takes them, and columns stay in place.
        write!(out, "{:.9} {} {tag} ", self.time, self.source.name())
            .expect("a vector takes all that is written");
        out.extend_from_slice(self.text);
        out.push(b'\n');
    }

    /// Reads a line without its end; `None` if it is none (a file that was cut off).
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut parts = bytes.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let source = match parts.next()? {
            b"stdout" => Source::Stdout,
            b"stderr" => Source::Stderr,
            _ => return None,
        };
        // Further tags may follow after a colon; the first says whether the line goes on.
        let partial = match parts.next()?.first()? {
            b'P' => true,
            b'F' => false,
            _ => return None,
        };
        Some(Self { time, source, partial, text: parts.next().unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_has_nine_digits_and_comes_back() {
        let line = Line {
            time: at("2026-11-24T21:00:00.5Z"),
            source: Source::Stderr,
            partial: false,
            text: b"it  broke ",
        };
        let mut out = Vec::new();
        line.write(&mut out);
        assert_eq!(out, b"2026-11-24T21:00:00.500000000Z stderr F it  broke \n");
        assert_eq!(Line::read(out.strip_suffix(b"\n").unwrap()), Some(line));
    }

    #[test]
    fn lines_of_other_runtimes_are_read_and_broken_ones_are_not() {
        let line = Line::read(b"2006-01-02T15:04:05.999999999Z stdout P:x part").unwrap();
        assert!(line.partial && line.text == b"part");
        for broken in [&b""[..], b"2006-01-02T15:04:05Z", b"then stdout F x", b"2006-01-02T15:04:05Z out F x"]
        {
            assert_eq!(Line::read(broken), None);
        }
        assert_eq!(Line::read(b"2006-01-02T15:04:05Z stdout F ").unwrap().text, b"");
    }
}
