//! What is said on a shim's socket: frames of one kind in both directions.
//!
//! A frame is a byte for its kind, the length of what follows (four bytes, big endian), and that.
//! The client sends `Stdin` (empty: no more will come) and `Resize`; the shim sends `Stdout` and
//! `Stderr` from the moment of attaching on, and closes when the container has ended.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest frame, in bytes.
pub const FRAME_MAX: usize = 64 * 1024;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes for the container; empty at the end.
    Stdin(Vec<u8>),
    /// Bytes it wrote.
    Stdout(Vec<u8>),
    /// Bytes it wrote as errors.
    Stderr(Vec<u8>),
    /// The terminal's new size.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
}

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const RESIZE: u8 = 4;

/// Sends one.
///
/// # Errors
/// When the other side is gone, or the frame is longer than [`FRAME_MAX`].
pub async fn send(to: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    let (kind, body): (u8, Vec<u8>) = match frame {
        Frame::Stdin(bytes) => (STDIN, bytes.clone()),
        Frame::Stdout(bytes) => (STDOUT, bytes.clone()),
        Frame::Stderr(bytes) => (STDERR, bytes.clone()),
        Frame::Resize { width, height } => (RESIZE, [width.to_be_bytes(), height.to_be_bytes()].concat()),
    };
    if body.len() > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"));
    }
    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.push(kind);
    bytes.extend(u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
    bytes.extend(body);
    to.write_all(&bytes).await
}

/// Receives one; `None` at the end.
///
/// # Errors
/// When the other side breaks off in a frame, or says what is not one.
pub async fn receive(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut kind = [0];
    if from.read(&mut kind).await? == 0 {
        return Ok(None);
    }
    let length = from.read_u32().await? as usize;
    if length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    match (kind[0], body.as_slice()) {
        (STDIN, _) => Ok(Some(Frame::Stdin(body))),
        (STDOUT, _) => Ok(Some(Frame::Stdout(body))),
        (STDERR, _) => Ok(Some(Frame::Stderr(body))),
        (RESIZE, &[w1, w0, h1, h0]) => Ok(Some(Frame::Resize {
            width: u16::from_be_bytes([w1, w0]),
            height: u16::from_be_bytes([h1, h0]),
        })),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of no known kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_frame_arrives_as_it_was_sent() {
        let frames = [
            Frame::Stdin(Vec::new()),
            Frame::Stdout(b"out".to_vec()),
            Frame::Stderr(vec![7; FRAME_MAX]),
            Frame::Resize { width: 80, height: 25 },
        ];
        let mut wire = Vec::new();
        for frame in &frames {
            send(&mut wire, frame).await.unwrap();
        }
        let mut wire = wire.as_slice();
        for frame in frames {
            assert_eq!(receive(&mut wire).await.unwrap(), Some(frame));
        }
        assert_eq!(receive(&mut wire).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_frame_too_long_is_refused_by_both_sides() {
        let long = Frame::Stdin(vec![0; FRAME_MAX + 1]);
        assert!(send(&mut Vec::new(), &long).await.is_err());
        let mut claimed = vec![STDIN];
        claimed.extend(u32::try_from(FRAME_MAX + 1).unwrap().to_be_bytes());
        assert!(receive(&mut claimed.as_slice()).await.is_err());
    }
}
