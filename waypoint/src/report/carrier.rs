//! Connections in tunnels whose bytes are read here: each has a span of its own, in the trace of the connection,
//! hop by hop. The requests that it carries link to it, for it carries many.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use exchange::Call;
use runtime::{
    Span, Spans, TraceContext,
    spans::{Link, Open, SpanKind},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    entrance::{Entered, ServicePort},
    upstreams::dial::Way,
};

/// The span of a connection, from now until it is dropped.
#[derive(Debug)]
pub struct Carrier {
    spans: Spans,
    context: TraceContext,
    span: Option<Span>,
    began: Instant,
    _open: Open,
}

impl Carrier {
    /// Of a stream that came in; `before` is what the hop before said.
    pub fn inbound(spans: &Spans, entered: &Entered, to: &ServicePort, before: Option<TraceContext>) -> Self {
        let context = spans.begin(before.as_ref());
        let mut span = spans.span(&context, before.map(|before| before.span), SpanKind::Server);
        let destination = format!("{}:{}", to.service.hostname, to.port);
        span.named(&format!("inbound {destination}"));
        span.set("strait.source", entered.caller.workload.to_string());
        span.maybe("strait.source.by", entered.caller.by.as_ref());
        span.set("strait.destination", destination);
        Self::begin(spans, context, span)
    }

    /// Of a stream that goes out, for the caller of a call and whatever else that caller asks there.
    pub(crate) fn outbound(spans: &Spans, way: &Way, call: &Call) -> Self {
        let context = spans.begin(None);
        let mut span = spans.span(&context, None, SpanKind::Client);
        let destination = match &way.chosen.service {
            Some((service, port)) => format!("{}:{port}", service.hostname),
            None => way.authority.to_string(),
        };
        span.named(&format!("outbound {destination}"));
        span.set("strait.source", call.facts.caller.workload.to_string());
        span.set("strait.destination", destination);
        span.set("strait.destination.workload", &*way.chosen.workload.name);
        span.set("strait.destination.identity", way.chosen.workload.identity.to_string());
        span.set("network.peer.address", way.address().ip().to_string());
        Self::begin(spans, context, span)
    }

    fn begin(spans: &Spans, context: TraceContext, mut span: Span) -> Self {
        span.set("strait.layer", "l4");
        span.set("network.transport", "tcp");
        let open = spans.open(span.clone());
        Self { spans: spans.clone(), context, span: Some(span), began: Instant::now(), _open: open }
    }

    /// Its place in its trace.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// By which others link to it.
    pub fn link(&self) -> Link {
        (&self.context).into()
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            self.spans.finish(span, self.began.elapsed());
        }
    }
}

/// A stream with its span, which ends with it.
#[derive(Debug)]
pub struct Carried<S> {
    stream: S,
    _carrier: Option<Carrier>,
}

impl<S> Carried<S> {
    /// The stream, with its span if it has one.
    pub fn new(stream: S, carrier: Option<Carrier>) -> Self {
        Self { stream, _carrier: carrier }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Carried<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Carried<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
