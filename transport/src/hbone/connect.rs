//! A request to open a stream in a tunnel that we terminate, and its answer.

use std::{future::poll_fn, io, sync::Arc};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Response, StatusCode};

use crate::{
    credential::VerifiedPeer,
    hbone::{
        Authority, ConnectHead, ResponseHead, TunnelHandle,
        carrier::{Slot, TunnelReader, TunnelWriter, to_io},
        head::{DENIED, put},
    },
    stream::Stream,
};

/// A request to open a stream. Dropping it unanswered refuses it with 503.
#[derive(Debug)]
pub struct Connect {
    /// Where it wants to go.
    pub authority: Authority,
    /// What else it says.
    pub head: ConnectHead,
    pub(super) path: Vec<Arc<VerifiedPeer>>,
    pub(super) open: Option<Open>,
    pub(super) control: TunnelHandle,
}

/// With what a CONNECT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalStatus {
    /// 400: the request is not understood or not for this listener.
    BadRequest,
    /// 401: policy.
    Denied,
    /// 503: nobody to serve it.
    Unavailable,
}

/// What it takes to answer.
pub(super) type Open = (SendResponse<Bytes>, RecvStream, Slot);

impl Connect {
    /// Who asks: the peer of the tunnel.
    pub fn peer(&self) -> Option<&Arc<VerifiedPeer>> {
        self.path.last()
    }

    /// Answers 200 and opens the stream.
    ///
    /// # Errors
    /// When the peer has gone meanwhile.
    pub fn accept(mut self, head: ResponseHead) -> io::Result<Stream> {
        let Some((mut respond, frames, slot)) = self.open.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut response = Response::new(());
        head.write(response.headers_mut());
        match respond.send_response(response, false) {
            Ok(writer) => {
                self.control.answered();
                let reader = TunnelReader::new(frames, slot.clone());
                let path = std::mem::take(&mut self.path);
                Ok(Stream::of_tunnel(reader, TunnelWriter::new(writer, slot), path, None))
            }
            Err(error) => {
                self.control.unanswered();
                Err(to_io(error))
            }
        }
    }

    /// Answers with a refusal; `denied` becomes `x-strait-denied`.
    pub fn refuse(mut self, status: RefusalStatus, denied: Option<&str>) {
        answer(self.open.take(), &self.control, status.into(), denied);
    }

    /// Waits until the peer takes its request back.
    pub async fn withdrawn(&mut self) {
        let Some((respond, _, _)) = &mut self.open else {
            return;
        };
        let _ = poll_fn(|cx| respond.poll_reset(cx)).await;
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        answer(self.open.take(), &self.control, RefusalStatus::Unavailable.into(), None);
    }
}

pub(super) fn answer(open: Option<Open>, control: &TunnelHandle, status: StatusCode, denied: Option<&str>) {
    let Some((mut respond, _, _)) = open else {
        return;
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    put(response.headers_mut(), DENIED, denied);
    match respond.send_response(response, true) {
        Ok(_) => control.answered(),
        Err(_) => control.unanswered(),
    }
}

impl From<RefusalStatus> for StatusCode {
    fn from(status: RefusalStatus) -> Self {
        match status {
            RefusalStatus::BadRequest => Self::BAD_REQUEST,
            RefusalStatus::Denied => Self::UNAUTHORIZED,
            RefusalStatus::Unavailable => Self::SERVICE_UNAVAILABLE,
        }
    }
}
