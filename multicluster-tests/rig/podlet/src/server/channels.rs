//! The streams of one exec or attach, gathered as the client opens them.

use std::time::Duration;

use serde::Deserialize;
use spdy::{Connection, Headers, Stream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::route::Streams;
use super::status::Ending;

/// How long a client may take to open its streams.
const OPENING_TIME_MAX: Duration = Duration::from_secs(30);
/// The most bytes of one message about a terminal's size.
const SIZE_LENGTH_MAX: u64 = 1024;
/// What a header block says a stream is for.
pub(crate) const STREAM_TYPE: &str = "streamType";

/// The streams that the client wanted.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) error: Stream,
    pub(crate) stdin: Option<Stream>,
    pub(crate) stdout: Option<Stream>,
    pub(crate) stderr: Option<Stream>,
    pub(crate) sizes: Option<Sizes>,
}

/// What a client says of the size of its terminal.
#[derive(Debug)]
pub(crate) struct Sizes(BufReader<Stream>);

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Size {
    pub(crate) width: u16,
    pub(crate) height: u16,
}

/// Waits for all streams that `wanted` asks for; `None` if they do not come.
pub(crate) async fn gather(connection: &mut Connection, wanted: Streams) -> Option<Channels> {
    match tokio::time::timeout(OPENING_TIME_MAX, accept_all(connection, wanted)).await {
        Ok(channels) => channels,
        Err(_) => {
            tracing::debug!(?wanted, "a client did not open its streams within {OPENING_TIME_MAX:?}");
            None
        }
    }
}

async fn accept_all(connection: &mut Connection, wanted: Streams) -> Option<Channels> {
    let [mut error, mut stdin, mut stdout, mut stderr, mut resize] = [const { None::<Stream> }; 5];
    let complete = |error: &Option<Stream>, others: [(&Option<Stream>, bool); 4]| {
        error.is_some() && others.iter().all(|(stream, wanted)| stream.is_some() || !wanted)
    };
    loop {
        let others = [
            (&stdin, wanted.stdin),
            (&stdout, wanted.stdout),
            (&stderr, wanted.stderr),
            (&resize, wanted.tty),
        ];
        if complete(&error, others) {
            break;
        }
        let incoming = connection.accept().await?;
        let place = match kind(incoming.headers()) {
            "error" => &mut error,
            "stdin" if wanted.stdin => &mut stdin,
            "stdout" if wanted.stdout => &mut stdout,
            "stderr" if wanted.stderr => &mut stderr,
            "resize" if wanted.tty => &mut resize,
            _ => {
                incoming.refuse().await;
                continue;
            }
        };
        *place = Some(incoming.accept().await);
    }
    let sizes = resize.map(|stream| Sizes(BufReader::new(stream)));
    Some(Channels { error: error?, stdin, stdout, stderr, sizes })
}

fn kind(headers: &Headers) -> &str {
    headers.get(STREAM_TYPE).unwrap_or_default()
}

impl Sizes {
    /// The next size; `None` when no more come.
    pub(crate) async fn next(&mut self) -> Option<Size> {
        let mut message = Vec::new();
        loop {
            message.clear();
            let read = (&mut self.0).take(SIZE_LENGTH_MAX).read_until(b'\n', &mut message).await;
            if !matches!(read, Ok(1..)) {
                return None;
            }
            // What is no size is passed over, as an empty line.
            if let Ok(size) = serde_json::from_slice(&message) {
                return Some(size);
            }
        }
    }
}

/// Says on the stream for errors how it ended.
pub(crate) async fn conclude(mut error: Stream, ending: &Ending) {
    // A client that is gone does not need to know.
    let _ = error.write_all(ending.status().to_string().as_bytes()).await;
    let _ = error.shutdown().await;
}
