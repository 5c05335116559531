//! The half of a connection that writes: one queue, in order, in as few writes as the queue allows.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::compress::Deflater;
use crate::frame::{self, Control, GoAwayStatus, ResetStatus};
use crate::link::{Outgoing, Shared};

/// How many bytes are gathered before they are written.
const BATCH: usize = 64 * 1024;

pub(crate) struct Writer<W> {
    io: W,
    shared: Arc<Shared>,
    frames: mpsc::Receiver<Outgoing>,
    deflater: Deflater,
    out: BytesMut,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(crate) fn new(io: W, shared: Arc<Shared>, frames: mpsc::Receiver<Outgoing>) -> Self {
        Self { io, shared, frames, deflater: Deflater::new(), out: BytesMut::new() }
    }

    /// Writes until this side wants to end, and then all that stood in the queue.
    pub(crate) async fn run(&mut self) -> io::Result<()> {
        loop {
            tokio::select! {
                () = self.shared.closing.cancelled() => break,
                () = self.shared.cancel.notified() => {}
                frame = self.frames.recv() => match frame {
                    Some(frame) => self.put(frame),
                    None => break,
                },
            }
            self.gather();
            self.put_resets();
            self.write().await?;
        }
        self.frames.close();
        while !self.frames.is_empty() {
            self.gather();
            self.write().await?;
        }
        Ok(())
    }

    /// Says goodbye: no more comes from this side.
    pub(crate) async fn finish(&mut self, status: GoAwayStatus) -> io::Result<()> {
        Control::GoAway { last: 0, status }.write(&mut self.deflater, &mut self.out);
        self.write().await?;
        self.io.shutdown().await
    }

    fn gather(&mut self) {
        while self.out.len() < BATCH {
            match self.frames.try_recv() {
                Ok(frame) => self.put(frame),
                Err(_) => return,
            }
        }
    }

    fn put_resets(&mut self) {
        for id in self.shared.take_cancelled() {
            self.put(Outgoing::Control(Control::Reset { id, status: ResetStatus::Cancel }));
        }
    }

    fn put(&mut self, frame: Outgoing) {
        match frame {
            Outgoing::Control(control) => control.write(&mut self.deflater, &mut self.out),
            Outgoing::Data { id, fin, data } => frame::write_data(id, fin, &data, &mut self.out),
        }
    }

    async fn write(&mut self) -> io::Result<()> {
        self.io.write_all_buf(&mut self.out).await?;
        self.io.flush().await
    }
}
