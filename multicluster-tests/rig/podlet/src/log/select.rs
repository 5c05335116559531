//! Which lines of a log are wanted, and how they are told. Pure: lines in, bytes out.

use std::io::Write;

use jiff::Timestamp;

use super::line::{Line, Source};

/// What a reader of a log asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only lines that are not older.
    pub since: Option<Timestamp>,
    /// Only the last so many lines of the file.
    pub tail: Option<u64>,
    /// No more than so many bytes.
    pub bytes_max: Option<u64>,
    /// With the time before each line.
    pub timestamps: bool,
    /// Only what was written there.
    pub source: Option<Source>,
    /// Go on with what the container writes from now on, until it ends.
    pub follow: bool,
}

/// A selection at work.
#[derive(Debug)]
pub(crate) struct Selector {
    selection: Selection,
    left: u64,
    /// Whether the line before went on, for each source: then no time stands before this one.
    within: [bool; 2],
}

impl Selector {
    pub(crate) fn new(selection: Selection) -> Self {
        Self { selection, left: selection.bytes_max.unwrap_or(u64::MAX), within: [false; 2] }
    }

    /// Whether nothing more can come.
    pub(crate) fn full(&self) -> bool {
        self.left == 0
    }

    /// Appends what is wanted of a line.
    pub(crate) fn take(&mut self, line: &Line<'_>, out: &mut Vec<u8>) {
        let within = std::mem::replace(&mut self.within[line.source as usize], line.partial);
        let old = self.selection.since.is_some_and(|since| line.time < since);
        let foreign = self.selection.source.is_some_and(|source| line.source != source);
        if old || foreign {
            return;
        }
        let begin = out.len();
        if self.selection.timestamps && !within {
            write!(out, "{:.9} ", line.time).expect("a vector takes all that is written");
        }
        out.extend_from_slice(line.text);
        if !line.partial {
            out.push(b'\n');
        }
        let length = (out.len() - begin) as u64;
        if length > self.left {
            // What fits in memory fits in usize, and `left` is less than `length` here.
            out.truncate(begin + usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left = self.left.saturating_sub(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr F two\n\
                       2026-01-01T00:00:03Z stdout P thr\n2026-01-01T00:00:03Z stdout F ee";

    #[track_caller]
    fn check(selection: Selection, expected: &str) {
        let mut selector = Selector::new(selection);
        let mut out = Vec::new();
        for line in LOG.lines() {
            selector.take(&Line::read(line.as_bytes()).unwrap(), &mut out);
        }
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn parts_of_a_line_are_joined() {
        check(Selection::default(), "one\ntwo\nthree\n");
    }

    #[test]
    fn the_moment_asked_for_belongs_to_it() {
        let since = |text: &str| Selection { since: Some(text.parse().unwrap()), ..Selection::default() };
        check(since("2026-01-01T00:00:02Z"), "two\nthree\n");
        check(since("2026-01-01T00:00:02.000000001Z"), "three\n");
    }

    #[test]
    fn a_time_stands_once_before_a_parted_line() {
        let selection = Selection { timestamps: true, source: Some(Source::Stdout), ..Selection::default() };
        check(selection, "2026-01-01T00:00:01.000000000Z one\n2026-01-01T00:00:03.000000000Z three\n");
    }

    #[test]
    fn bytes_end_where_they_were_bounded() {
        check(Selection { bytes_max: Some(8), ..Selection::default() }, "one\ntwo\n");
        check(Selection { bytes_max: Some(7), ..Selection::default() }, "one\ntwo");
        check(Selection { bytes_max: Some(0), ..Selection::default() }, "");
    }
}
