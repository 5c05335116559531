//! A connection: streams that come in, streams that go out, and how it ends.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::frame::{Control, FrameError, GoAwayStatus, ResetStatus, StreamId};
use crate::headers::Headers;
use crate::link::{INCOMING_STREAMS_MAX, Link, Outgoing, STREAMS_MAX, Shared};
use crate::reader::{ReadError, Reader};
use crate::stream::Stream;
use crate::writer::Writer;

/// How long what stands in the queue may take to be written after [`Connection::close`]: a person
/// may read the other end through a pager.
pub const CLOSING_TIME_MAX: Duration = Duration::from_secs(3600);
/// How long we read on after our goodbye. Closing with unread bytes would make the kernel send a
/// reset that can overtake our last frames.
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(5);

/// The highest number that a stream can have.
const STREAM_ID_MAX: StreamId = 0x7fff_ffff;

/// One side of a connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Connection {
    incoming: mpsc::Receiver<Stream>,
    shared: Arc<Shared>,
}

/// A stream that the peer wants to open. Dropping it resets it.
#[derive(Debug)]
pub struct Incoming(Stream);

/// Why a connection ended other than by a goodbye.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Reading failed, or the peer ended within a frame.
    #[error("cannot read from the peer")]
    Read(#[source] io::Error),
    /// Writing failed, or took longer than [`CLOSING_TIME_MAX`] at the end.
    #[error("cannot write to the peer")]
    Write(#[source] io::Error),
    /// The peer sent what is no frame.
    #[error("the peer broke the protocol")]
    Frame(#[source] FrameError),
}

/// Why a stream cannot be opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenError {
    /// The connection is over.
    #[error("the connection has ended")]
    Ended,
    /// There are too many at once, or were too many in all.
    #[error("the connection has no place for a further stream ({STREAMS_MAX} at once)")]
    Full,
}

/// The server's side over `io`, and the future that carries it; the caller runs the future (spawns
/// it) until it ends.
pub fn server<IO>(io: IO) -> (Connection, impl Future<Output = Result<(), ConnectionError>>)
where
    IO: AsyncRead + AsyncWrite,
{
    connect(io, 2, 1)
}

/// The client's side over `io`; like [`server`].
pub fn client<IO>(io: IO) -> (Connection, impl Future<Output = Result<(), ConnectionError>>)
where
    IO: AsyncRead + AsyncWrite,
{
    connect(io, 1, 0)
}

fn connect<IO>(
    io: IO,
    first: StreamId,
    peer_parity: u32,
) -> (Connection, impl Future<Output = Result<(), ConnectionError>>)
where
    IO: AsyncRead + AsyncWrite,
{
    let (shared, frames) = Shared::new(first);
    let (sender, incoming) = mpsc::channel(INCOMING_STREAMS_MAX);
    let (read, write) = tokio::io::split(io);
    let reader = Reader::new(read, Arc::clone(&shared), sender, peer_parity);
    let writer = Writer::new(write, Arc::clone(&shared), frames);
    (Connection { incoming, shared: Arc::clone(&shared) }, carry(reader, writer, shared))
}

async fn carry<R, W>(
    mut reader: Reader<R>,
    mut writer: Writer<W>,
    shared: Arc<Shared>,
) -> Result<(), ConnectionError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    // Also when this future is dropped, the streams must learn that nobody carries them.
    let _end = EndOnDrop(Arc::clone(&shared));
    let result = {
        let mut reading = pin!(reader.run());
        let mut writing = pin!(writer.run());
        tokio::select! {
            read = &mut reading => read.map_err(|error| match error {
                ReadError::Io(cause) => ConnectionError::Read(cause),
                ReadError::Frame(cause) => ConnectionError::Frame(cause),
            }),
            written = &mut writing => written.map_err(ConnectionError::Write),
            () = too_long(&shared) => Err(ConnectionError::Write(io::ErrorKind::TimedOut.into())),
        }
    };
    shared.end();
    let status = match &result {
        Ok(()) => GoAwayStatus::Ok,
        Err(ConnectionError::Frame(_)) => GoAwayStatus::ProtocolError,
        Err(_) => return result,
    };
    // The peer may be gone already; then there is nobody to say goodbye to.
    let _ = timeout(LINGER_TIME_MAX, async {
        if writer.finish(status).await.is_ok() {
            reader.discard().await;
        }
    })
    .await;
    result
}

async fn too_long(shared: &Shared) {
    shared.closing.cancelled().await;
    tokio::time::sleep(CLOSING_TIME_MAX).await;
}

struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Connection {
    /// The next stream that the peer opens; `None` when the connection is over.
    pub async fn accept(&mut self) -> Option<Incoming> {
        self.incoming.recv().await.map(Incoming)
    }

    /// Opens a stream. Its peer may not read before it has answered ([`Stream::replied`]).
    ///
    /// # Errors
    /// When the connection is over or full.
    pub async fn open(&self, headers: Headers) -> Result<Stream, OpenError> {
        let permit = self.shared.outgoing.reserve().await.map_err(|_| OpenError::Ended)?;
        // Numbers must rise in the order of the wire, so the number is taken when the place is sure.
        let mut next = self.shared.next.lock();
        let id = *next;
        let (link, inbound) = Link::new();
        if id > STREAM_ID_MAX || !self.shared.enter(id, &link) {
            let ended = self.shared.ended.is_cancelled();
            return Err(if ended { OpenError::Ended } else { OpenError::Full });
        }
        *next += 2;
        let syn = Control::SynStream { id, fin: false, unidirectional: false, headers: headers.clone() };
        permit.send(Outgoing::Control(syn));
        Ok(Stream::new(id, headers, link, Arc::clone(&self.shared), inbound))
    }

    /// Ends the connection after all that was written to its streams. Returns at once; the future
    /// that carries the connection ends when it is done.
    pub fn close(&self) {
        self.shared.closing.cancel();
    }

    /// Waits until the connection is over. Owns nothing of the connection.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.shared.ended.clone().cancelled_owned()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

impl Incoming {
    /// What the peer said about the stream.
    pub fn headers(&self) -> &Headers {
        self.0.headers()
    }

    /// Takes the stream up and tells the peer so. On a connection that is over, the stream is lost
    /// from the start.
    pub async fn accept(self) -> Stream {
        let reply = Control::SynReply { id: self.0.id(), fin: false, headers: Headers::new() };
        // An error says that the connection is over, which the stream knows too.
        let _ = self.0.shared().outgoing.send(Outgoing::Control(reply)).await;
        self.0
    }

    /// Tells the peer that the stream is not taken up.
    pub async fn refuse(mut self) {
        let reset = Control::Reset { id: self.0.id(), status: ResetStatus::RefusedStream };
        self.0.mark_finished();
        let _ = self.0.shared().outgoing.send(Outgoing::Control(reset)).await;
    }
}
