//! Finds where the last so many lines of a log begin, reading backwards.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How much is read at a time.
const BLOCK: u64 = 64 * 1024;

/// How much of `wanted` lines a file holds at its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// All of them: they begin here.
    From(u64),
    /// Fewer: so many are still missing.
    Missing(u64),
}

/// Looks in the first `length` bytes of a file for its last `wanted` lines.
pub(crate) fn find(file: &File, length: u64, wanted: u64) -> io::Result<Tail> {
    if wanted == 0 {
        return Ok(Tail::From(length));
    }
    let mut ends = 0;
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        block.resize(usize::try_from(end - begin).unwrap_or(0), 0);
        file.read_exact_at(&mut block, begin)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The end of the line before the first wanted one is where that begins.
            if ends == wanted {
                return Ok(Tail::From(begin + at as u64 + 1));
            }
            ends += 1;
        }
        end = begin;
    }
    Ok(if ends == wanted { Tail::From(0) } else { Tail::Missing(wanted - ends) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: u64, expected: Tail) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        assert_eq!(find(&file, text.len() as u64, wanted).unwrap(), expected);
    }

    #[test]
    fn lines_are_counted_from_the_end() {
        check("a\nb\nc\n", 0, Tail::From(6));
        check("a\nb\nc\n", 1, Tail::From(4));
        check("a\nb\nc\n", 3, Tail::From(0));
        check("a\nb\nc\n", 4, Tail::Missing(1));
        check("", 2, Tail::Missing(2));
    }

    #[test]
    fn blocks_are_crossed() {
        let line = format!("{}\n", "x".repeat(50_000));
        check(&line.repeat(4), 2, Tail::From(100_002));
    }
}
