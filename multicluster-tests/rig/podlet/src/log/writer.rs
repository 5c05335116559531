//! Writes a container's log: bytes as they come from its pipes, lines as the file has them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::files;
use super::line::{Line, Source, TEXT_LENGTH_MAX};

/// The length from which on a file of the log is full.
pub const FILE_LENGTH_MAX: u64 = 10 * 1024 * 1024;
/// The most files of one log.
pub const FILES_MAX: usize = 5;

/// Writes one log.
///
/// *Guarantees*: what [`Writer::write`] has taken and what ended a line stands in the file when it
/// returns; the file never holds half a line, also when two sources write in turns. *Caveat*: what
/// did not end a line waits for its end, for [`TEXT_LENGTH_MAX`] bytes, or for [`Writer::finish`].
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    length: u64,
    length_max: u64,
    open: [Vec<u8>; 2],
}

impl Writer {
    /// Opens (or goes on with) the log at `path`, whose folder must be there.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_length_max(path, FILE_LENGTH_MAX)
    }

    fn with_length_max(path: &Path, length_max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, length_max, open: [Vec::new(), Vec::new()] })
    }

    /// Takes what a container wrote, at the time `now`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&mut self, source: Source, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let mut out = Vec::new();
        let open = &mut self.open[source as usize];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            open.extend_from_slice(text);
            // A line that ends exactly at the bound is whole, so the bound must be passed.
            while open.len() > TEXT_LENGTH_MAX {
                let rest = open.split_off(TEXT_LENGTH_MAX);
                Line { time: now, source, partial: true, text: open }.write(&mut out);
                *open = rest;
            }
            if ended {
                Line { time: now, source, partial: false, text: open }.write(&mut out);
                open.clear();
            }
        }
        self.put(&out)
    }

    /// Writes what is left of a source that ended without ending its line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&mut self, source: Source, now: Timestamp) -> io::Result<()> {
        let open = std::mem::take(&mut self.open[source as usize]);
        if open.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        Line { time: now, source, partial: false, text: &open }.write(&mut out);
        self.put(&out)
    }

    fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.length >= self.length_max {
            files::rotate(&self.path)?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.length = 0;
        }
        self.file.write_all(lines)?;
        self.length += lines.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn written(act: impl FnOnce(&mut Writer)) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        act(&mut Writer::open(&path).unwrap());
        std::fs::read_to_string(path).unwrap().replace("1970-01-01T00:00:00.000000000Z ", "")
    }

    #[test]
    fn lines_of_two_sources_stay_whole_though_their_pieces_mix() {
        let log = written(|log| {
            log.write(Source::Stdout, b"one\ntw", NOW).unwrap();
            log.write(Source::Stderr, b"bad\n\n", NOW).unwrap();
            log.write(Source::Stdout, b"o\nleft", NOW).unwrap();
            log.finish(Source::Stdout, NOW).unwrap();
            log.finish(Source::Stderr, NOW).unwrap();
        });
        assert_eq!(log, "stdout F one\nstderr F bad\nstderr F \nstdout F two\nstdout F left\n");
    }

    #[test]
    fn a_line_of_the_bound_is_whole_and_one_byte_more_is_parted() {
        let exact = "x".repeat(TEXT_LENGTH_MAX);
        let log = written(|log| log.write(Source::Stdout, format!("{exact}\n").as_bytes(), NOW).unwrap());
        assert_eq!(log, format!("stdout F {exact}\n"));
        let log = written(|log| log.write(Source::Stdout, format!("{exact}y\n").as_bytes(), NOW).unwrap());
        assert_eq!(log, format!("stdout P {exact}\nstdout F y\n"));
    }

    #[test]
    fn full_files_go_on_in_new_ones_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let mut log = Writer::with_length_max(&path, 1).unwrap();
        for number in 0..8 {
            log.write(Source::Stdout, format!("{number}\n").as_bytes(), NOW).unwrap();
        }
        let files = files::all(&path);
        assert_eq!(files.len(), FILES_MAX);
        let texts: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let numbers: String = texts.lines().filter_map(|line| line.chars().last()).collect();
        assert_eq!(numbers, "34567");
    }
}
