//! Where the body of one request ends, so that nothing behind it goes on with it. Pure.
//!
//! The bytes themselves are passed on as they came (RFC 9112, sections 6 and 7.1).

/// Longest line that frames a chunk, or trailer line, in bytes.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of trailer lines.
const TRAILER_BYTES_MAX: usize = 32 * 1024;

/// A body of which some has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body(State);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// So many bytes are left.
    Sized(u64),
    /// In the line that says how long the next chunk is.
    Size(Vec<u8>),
    /// So many bytes of a chunk are left, then its line end.
    Chunk(u64),
    /// The line end behind a chunk: bytes of it seen.
    ChunkEnd(u8),
    /// In the trailer: bytes of it and of its line so far.
    Trailer {
        bytes: usize,
        line: usize,
        carriage: bool,
    },
    Done,
}

/// The body does not say where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's body is not framed as it should be")]
pub(super) struct BodyError;

impl Body {
    /// A body of this length.
    pub(super) fn sized(length: u64) -> Self {
        Self(if length == 0 { State::Done } else { State::Sized(length) })
    }

    /// A body in chunks.
    pub(super) fn chunked() -> Self {
        Self(State::Size(Vec::new()))
    }

    /// True when all of it has passed.
    pub(super) fn is_done(&self) -> bool {
        self.0 == State::Done
    }

    /// How many of these bytes belong to it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            at += self.step(&bytes[at..])?;
        }
        Ok(at)
    }

    /// Takes at least one of the bytes, of which there is at least one.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        let (next, used) = match &mut self.0 {
            State::Sized(left) => {
                let (left, used) = less(*left, bytes);
                (if left == 0 { State::Done } else { State::Sized(left) }, used)
            }
            State::Chunk(left) => {
                let (left, used) = less(*left, bytes);
                (if left == 0 { State::ChunkEnd(0) } else { State::Chunk(left) }, used)
            }
            State::ChunkEnd(seen) => match (*seen, bytes[0]) {
                (0, b'\r') => (State::ChunkEnd(1), 1),
                (1, b'\n') => (State::Size(Vec::new()), 1),
                _ => return Err(BodyError),
            },
            State::Size(line) => {
                line.push(bytes[0]);
                match &**line {
                    [.., b'\r', b'\n'] => (after_size(line)?, 1),
                    [.., b'\n'] => return Err(BodyError),
                    line if line.len() >= LINE_BYTES_MAX => return Err(BodyError),
                    _ => return Ok(1),
                }
            }
            State::Trailer { bytes: total, line, carriage } => {
                let (total, byte) = (*total + 1, bytes[0]);
                if total > TRAILER_BYTES_MAX {
                    return Err(BodyError);
                }
                match (byte, *carriage) {
                    (b'\n', true) if *line == 0 => (State::Done, 1),
                    (b'\n', true) => (State::Trailer { bytes: total, line: 0, carriage: false }, 1),
                    (b'\n', false) | (_, true) => return Err(BodyError),
                    (b'\r', false) => (State::Trailer { bytes: total, line: *line, carriage: true }, 1),
                    _ => (State::Trailer { bytes: total, line: *line + 1, carriage: false }, 1),
                }
            }
            State::Done => return Ok(0),
        };
        self.0 = next;
        Ok(used)
    }
}

fn less(left: u64, bytes: &[u8]) -> (u64, usize) {
    let here = u64::try_from(bytes.len()).unwrap_or(u64::MAX).min(left);
    // No more than `bytes.len()`, which is a usize.
    (left - here, here as usize)
}

/// The state behind a line `SIZE [; EXTENSION]`.
fn after_size(line: &[u8]) -> Result<State, BodyError> {
    let size = line.split(|byte| matches!(byte, b';' | b'\r')).next().unwrap_or_default().trim_ascii_end();
    let legal = !size.is_empty() && size.len() <= 15 && size.iter().all(u8::is_ascii_hexdigit);
    let size = std::str::from_utf8(size).ok().filter(|_| legal).ok_or(BodyError)?;
    match u64::from_str_radix(size, 16).map_err(|_| BodyError)? {
        0 => Ok(State::Trailer { bytes: 0, line: 0, carriage: false }),
        size => Ok(State::Chunk(size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the text whole, and byte by byte: both must agree.
    #[track_caller]
    fn check(body: &Body, text: &str, expected: Result<(usize, bool), BodyError>) {
        let mut whole = body.clone();
        let taken = whole.take(text.as_bytes()).map(|used| (used, whole.is_done()));
        assert_eq!(taken, expected, "{text:?}");
        let mut slow = body.clone();
        let mut used = 0;
        let result =
            text.as_bytes().iter().try_for_each(|byte| slow.take(&[*byte]).map(|taken| used += taken));
        assert_eq!(result.map(|()| (used, slow.is_done())), expected, "{text:?} byte by byte");
    }

    #[test]
    fn a_sized_body_ends_with_its_length() {
        check(&Body::sized(0), "next", Ok((0, true)));
        check(&Body::sized(3), "ab", Ok((2, false)));
        check(&Body::sized(3), "abcGET", Ok((3, true)));
    }

    #[test]
    fn a_chunked_body_ends_with_its_last_chunk() {
        for (text, rest, expected) in [
            ("0\r\n\r\n", "", Ok(true)),
            ("3\r\nabc\r\n0\r\n\r\n", "GET http://a/", Ok(true)),
            ("A;ext=1\r\n0123456789\r\n00\r\nx: y\r\n\r\n", "z", Ok(true)),
            ("3\r\nab", "", Ok(false)),
        ] {
            let expected = expected.map(|done| (text.len(), done));
            check(&Body::chunked(), &format!("{text}{rest}"), expected);
        }
        for bad in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "0x1\r\n",
            "1\nab",
            "1\r\nab",
            "1\r\na\n",
            "0\r\nx: y\n\r\n",
            "0\r\nx\ry\r\n\r\n",
            "1000000000000000\r\n",
        ] {
            check(&Body::chunked(), bad, Err(BodyError));
        }
    }

    #[test]
    fn lines_are_bounded() {
        let extension = |length: usize| format!("1;{}\r\n", "x".repeat(length - 4));
        check(&Body::chunked(), &extension(LINE_BYTES_MAX), Ok((LINE_BYTES_MAX, false)));
        check(&Body::chunked(), &extension(LINE_BYTES_MAX + 2), Err(BodyError));
        let trailer = format!("0\r\n{}", "x: y\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1));
        check(&Body::chunked(), &trailer, Err(BodyError));
    }
}
