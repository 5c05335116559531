//! Logs that are read while they are written, by the writer that the shim has.

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::*;
use crate::log::{Source, Writer};

struct Log {
    folder: tempfile::TempDir,
    writer: Option<Writer>,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = Some(Writer::open(&folder.path().join("0.log")).unwrap());
        Self { folder, writer }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("0.log")
    }

    fn line(&mut self, text: &str) {
        let writer = self.writer.as_mut().unwrap();
        writer.write(Source::Stdout, format!("{text}\n").as_bytes(), Timestamp::now()).unwrap();
    }

    /// Renames the file as the writer does when it is full.
    fn rotate(&mut self) {
        self.writer = None;
        files::rotate(&self.path()).unwrap();
        self.writer = Some(Writer::open(&self.path()).unwrap());
    }

    fn read(&self, selection: Selection) -> (Reader, oneshot::Sender<()>) {
        let (end, ended) = oneshot::channel();
        let ended = Box::pin(async {
            // Dropping the sender is an end too.
            let _ = ended.await;
        });
        (Reader::open(&self.path(), selection, ended).unwrap(), end)
    }
}

async fn text(reader: &mut Reader) -> Option<String> {
    let lines = tokio::time::timeout(Duration::from_secs(10), reader.next()).await.unwrap();
    lines.unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

async fn all(reader: &mut Reader) -> String {
    let mut whole = String::new();
    while let Some(lines) = text(reader).await {
        whole.push_str(&lines);
    }
    whole
}

#[tokio::test]
async fn a_tail_goes_back_into_full_files() {
    let mut log = Log::new();
    log.line("one");
    log.line("two");
    log.rotate();
    log.line("three");
    #[track_caller]
    fn selection(lines: u64) -> Selection {
        Selection { tail: Some(lines), ..Selection::default() }
    }
    for (lines, expected) in
        [(0, ""), (1, "three\n"), (2, "two\nthree\n"), (3, "one\ntwo\nthree\n"), (9, "one\ntwo\nthree\n")]
    {
        assert_eq!(all(&mut log.read(selection(lines)).0).await, expected, "{lines} lines");
    }
}

#[tokio::test]
async fn following_tells_what_comes_and_ends_with_the_container() {
    let mut log = Log::new();
    log.line("before");
    let (mut reader, end) = log.read(Selection { follow: true, ..Selection::default() });
    assert_eq!(text(&mut reader).await.unwrap(), "before\n");
    log.line("after");
    assert_eq!(text(&mut reader).await.unwrap(), "after\n");
    end.send(()).unwrap();
    log.line("last");
    log.writer = None;
    assert_eq!(all(&mut reader).await, "last\n");
}

#[tokio::test]
async fn following_goes_through_files_that_fill_up_meanwhile() {
    let mut log = Log::new();
    let (mut reader, end) = log.read(Selection { follow: true, tail: Some(0), ..Selection::default() });
    for number in 0..3 {
        log.line(&format!("{number}a"));
        log.rotate();
        log.line(&format!("{number}b"));
    }
    end.send(()).unwrap();
    log.writer = None;
    assert_eq!(all(&mut reader).await, "0a\n0b\n1a\n1b\n2a\n2b\n");
}

#[tokio::test]
async fn a_log_that_is_not_there_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("7.log");
    let error = Reader::open(&missing, Selection::default(), Box::pin(async {})).err().unwrap();
    assert!(error.to_string().contains("7.log"), "{error}");
}
