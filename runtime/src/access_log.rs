//! The access log: one line for each connection or request that ended, `key=value`.
//!
//! It never holds a connection up. Lines wait in a bounded queue for one writer thread; what finds the queue full
//! or cannot be written is dropped and counted.

use std::{
    fmt::{self, Write as _},
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::Arc,
    thread,
    time::SystemTime,
};

use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::sync::{mpsc, oneshot};

/// How many lines wait for the writer at most.
pub const LINES_WAITING_MAX: usize = 8192;
/// Longest line, in bytes; fields that would make it longer are left out and the line says so.
pub const LINE_BYTES_MAX: usize = 4096;
/// Longest value, in bytes, before escaping; what is longer is cut and ends in `…`.
pub const VALUE_BYTES_MAX: usize = 512;
/// How many bytes are written at once at most, but for the last line of a batch.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Destination {
    /// Standard error.
    #[default]
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, appended to and made 0600 if it is not there.
    File(PathBuf),
}

impl Destination {
    fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stderr => Box::new(io::stderr()),
            Self::Stdout => Box::new(io::stdout()),
            Self::File(path) => {
                Box::new(OpenOptions::new().append(true).create(true).mode(0o600).open(path)?)
            }
        })
    }
}

/// What the access log counts.
#[derive(Debug, Clone, Default)]
pub struct AccessLogMetrics {
    written: Counter,
    dropped: Counter,
}

impl AccessLogMetrics {
    /// Registers the counters.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("strait_access_log_lines", "Access log lines written", self.written.clone());
        registry.register(
            "strait_access_log_lines_dropped",
            "Access log lines dropped because the writer was behind or failed",
            self.dropped.clone(),
        );
    }

    /// Lines written so far.
    pub fn written(&self) -> u64 {
        self.written.get()
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}

enum Message {
    Line(String),
    Flush(oneshot::Sender<()>),
}

/// The queue towards the writer. Clones share it; the writer ends when the last one is gone.
#[derive(Clone)]
pub struct AccessLog {
    queue: mpsc::Sender<Message>,
    metrics: Arc<AccessLogMetrics>,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AccessLog").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Opens the destination and starts the writer.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started.
    pub fn start(destination: &Destination) -> io::Result<Self> {
        Self::start_with(destination.open()?, LINES_WAITING_MAX)
    }

    fn start_with(out: Box<dyn Write + Send>, lines_waiting_max: usize) -> io::Result<Self> {
        let (queue, lines) = mpsc::channel(lines_waiting_max);
        let metrics = Arc::new(AccessLogMetrics::default());
        let counted = Arc::clone(&metrics);
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(lines, out, &counted))?;
        Ok(Self { queue, metrics })
    }

    /// Its counters, to be registered.
    pub fn metrics(&self) -> &AccessLogMetrics {
        &self.metrics
    }

    /// Hands a finished entry to the writer, or drops and counts it. Never waits.
    pub fn write(&self, entry: Entry) {
        if self.queue.try_send(Message::Line(entry.finish())).is_err() {
            self.metrics.dropped.inc();
        }
    }

    /// Waits until everything handed over before this call is written.
    pub async fn flush(&self) {
        let (written, done) = oneshot::channel();
        // Without a writer there is nothing to wait for.
        if self.queue.send(Message::Flush(written)).await.is_ok() {
            let _ = done.await;
        }
    }
}

fn write_lines(
    mut lines: mpsc::Receiver<Message>,
    mut out: Box<dyn Write + Send>,
    metrics: &AccessLogMetrics,
) {
    let mut batch = String::new();
    let mut flushes = Vec::new();
    while let Some(first) = lines.blocking_recv() {
        let mut next = Some(first);
        let mut count = 0;
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    batch.push_str(&line);
                    count += 1;
                }
                Message::Flush(done) => flushes.push(done),
            }
            next = if batch.len() < BATCH_BYTES_MAX { lines.try_recv().ok() } else { None };
        }
        let counter = match out.write_all(batch.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => &metrics.written,
            Err(_) => &metrics.dropped,
        };
        counter.inc_by(count);
        batch.clear();
        for done in flushes.drain(..) {
            let _ = done.send(());
        }
    }
}

/// One line in the making: time, then fields in the order in which they are added.
#[derive(Debug)]
pub struct Entry {
    line: String,
    cut: bool,
}

impl Entry {
    /// A line about something that ended at `at`; `kind` is its first word, for example `connection`.
    pub fn new(at: SystemTime, kind: &str) -> Self {
        let mut line = String::with_capacity(512);
        // Before year -9999 and after 9999 there is no text; an empty time is better than no line.
        if let Ok(at) = jiff::Timestamp::try_from(at) {
            let _ = write!(line, "{at:.6}");
        }
        line.push_str(" access ");
        line.push_str(kind);
        Self { line, cut: false }
    }

    /// Adds a field. Values are quoted where they would not read back as one word.
    #[must_use]
    pub fn field(mut self, key: &str, value: impl fmt::Display) -> Self {
        let before = self.line.len();
        let _ = write!(self.line, " {key}=");
        push_value(&mut self.line, &value.to_string());
        if self.line.len() > LINE_BYTES_MAX {
            self.line.truncate(before);
            self.cut = true;
        }
        self
    }

    /// Adds a field if there is a value.
    #[must_use]
    pub fn maybe(self, key: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.field(key, value),
            None => self,
        }
    }

    /// The line, with its end.
    pub fn finish(mut self) -> String {
        if self.cut {
            self.line.push_str(" cut=true");
        }
        self.line.push('\n');
        self.line
    }
}

fn push_value(line: &mut String, value: &str) {
    let whole = value.len() <= VALUE_BYTES_MAX;
    let value = if whole { value } else { &value[..value.floor_char_boundary(VALUE_BYTES_MAX)] };
    let plain =
        |letter: char| !(letter.is_whitespace() || letter.is_control() || matches!(letter, '"' | '=' | '\\'));
    if whole && !value.is_empty() && value.chars().all(plain) {
        line.push_str(value);
        return;
    }
    // Escaped, so that what a caller sends can neither end the line nor look like another field.
    line.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => line.extend(['\\', letter]),
            letter if letter.is_control() || (letter.is_whitespace() && letter != ' ') => {
                line.extend(letter.escape_default());
            }
            letter => line.push(letter),
        }
    }
    line.push_str(if whole { "\"" } else { "…\"" });
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc as std_mpsc, time::Duration};

    use super::*;

    fn entry() -> Entry {
        Entry::new(SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000), "connection")
    }

    #[test]
    fn a_line_is_time_kind_and_fields() {
        let line =
            entry().field("direction", "inbound").field("bytes", 7).maybe("error", None::<&str>).finish();
        assert_eq!(line, "1970-01-01T00:00:01.500000Z access connection direction=inbound bytes=7\n");
    }

    #[test]
    fn values_cannot_forge_fields_or_lines() {
        let cases = [
            ("a b", r#""a b""#),
            ("", r#""""#),
            ("a=b", r#""a=b""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\r\nb", r#""a\r\nb""#),
            ("a\u{85}b\u{2028}c", r#""a\u{85}b\u{2028}c""#),
            ("\u{1b}[31m", r#""\u{1b}[31m""#),
            ("spiffe://east/ns/a/sa/b", "spiffe://east/ns/a/sa/b"),
        ];
        for (value, expected) in cases {
            let line = entry().field("x", value).finish();
            assert!(line.ends_with(&format!(" x={expected}\n")), "{value:?}: {line}");
        }
    }

    #[test]
    fn long_values_and_lines_are_cut() {
        let longest = "v".repeat(VALUE_BYTES_MAX);
        assert!(entry().field("x", &longest).finish().ends_with(&format!("x={longest}\n")));
        assert!(entry().field("x", format!("{longest}v")).finish().ends_with(&format!("x=\"{longest}…\"\n")));
        assert!(
            entry().field("x", format!("{}é", "v".repeat(VALUE_BYTES_MAX - 1))).finish().ends_with("v…\"\n")
        );
        let mut long = entry();
        for field in 0..20 {
            long = long.field(&format!("field{field}"), &longest);
        }
        let line = long.field("short", 1).finish();
        assert!(line.len() <= LINE_BYTES_MAX + " cut=true\n".len(), "{}", line.len());
        assert!(line.ends_with(" short=1 cut=true\n"));
    }

    #[tokio::test]
    async fn lines_reach_the_file_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let log = AccessLog::start(&Destination::File(path.clone())).unwrap();
        for number in 0..100 {
            log.write(Entry::new(SystemTime::UNIX_EPOCH, "request").field("number", number));
        }
        log.flush().await;
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert!(text.lines().last().is_some_and(|line| line.ends_with("number=99")));
        assert_eq!((log.metrics().written(), log.metrics().dropped()), (100, 0));
    }

    /// Says that it writes, and blocks until told to go on.
    struct Stuck(std_mpsc::Sender<()>, std_mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(());
            let _ = self.1.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_stuck_writer_costs_lines_and_never_time() {
        let (go, stuck) = std_mpsc::channel();
        let (writes, writing) = std_mpsc::channel();
        let log = AccessLog::start_with(Box::new(Stuck(writes, stuck)), 4).unwrap();
        log.write(entry());
        writing.recv().unwrap();
        for _ in 1..100 {
            log.write(entry());
        }
        assert_eq!(log.metrics().dropped(), 95);
        drop(go);
        log.flush().await;
        assert_eq!(log.metrics().written() + log.metrics().dropped(), 100);
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_counted() {
        let log = AccessLog::start_with(Box::new(Broken), 4).unwrap();
        log.write(entry());
        log.flush().await;
        assert_eq!((log.metrics().written(), log.metrics().dropped()), (0, 1));
    }
}
