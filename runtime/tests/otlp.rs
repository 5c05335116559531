//! Spans reach a collector by OTLP over gRPC, as they were written.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span as Told,
};
use runtime::{
    Spans, TraceContext,
    otlp::{Config, Export},
    spans::{Link, SpanKind},
};
use tokio::sync::mpsc;
use tonic::transport::{Server, server::TcpIncoming};

/// How long the collector is waited for before the test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A collector that keeps what it is told, or refuses it.
struct Collector {
    told: mpsc::UnboundedSender<ExportTraceServiceRequest>,
    refuses: bool,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let _ = self.told.send(request.into_inner());
        match self.refuses {
            true => Err(tonic::Status::resource_exhausted("full")),
            false => Ok(tonic::Response::new(ExportTraceServiceResponse::default())),
        }
    }
}

fn collector(refuses: bool) -> (SocketAddr, mpsc::UnboundedReceiver<ExportTraceServiceRequest>) {
    let (told, reads) = mpsc::unbounded_channel();
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let at = incoming.local_addr().unwrap();
    let service = TraceServiceServer::new(Collector { told, refuses });
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    (at, reads)
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1000)
}

fn chance() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Waits until the exporter has counted so many.
async fn counted(export: &Export, expected: (u64, u64)) {
    let until = async {
        while export.counts() != expected {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, until).await.is_ok(), "{:?}", export.counts());
}

#[tokio::test]
async fn a_collector_gets_spans_with_their_trace_parent_links_and_resource() {
    let (at, mut told) = collector(false);
    let export = Export::start(&Config::new(format!("http://{at}")), "waypoint", "1.2.3").unwrap();
    let spans = Spans::new("gateway/shop/waypoint", chance, now, None, Some(export.clone()));
    let caller = TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    let carrier = spans.begin(None);
    let own = spans.begin(Some(&caller));
    let mut span = spans.span(&own, Some(caller.span), SpanKind::Server);
    span.named("tools/call search");
    span.set("gen_ai.tool.name", "search");
    span.link(Link { trace: carrier.trace, span: carrier.span });
    span.failed("refused");
    spans.finish(span, Duration::from_millis(5));
    // Nobody wants this one.
    let unsampled = TraceContext { sampled: false, ..caller.clone() };
    spans.finish(spans.span(&spans.begin(Some(&unsampled)), None, SpanKind::Client), Duration::ZERO);

    let request = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    let [resource] = &request.resource_spans[..] else { panic!("{request:?}") };
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(text(attributes, "service.name"), Some("waypoint"));
    assert_eq!(text(attributes, "service.version"), Some("1.2.3"));
    let all: Vec<&Told> = resource.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    let [span] = all[..] else { panic!("{all:?}") };
    assert_eq!(span.trace_id, caller.trace.bytes());
    assert_eq!(span.span_id, own.span.bytes());
    assert_eq!(span.parent_span_id, caller.span.bytes());
    assert_eq!((span.name.as_str(), span.kind), ("tools/call search", 2));
    assert_eq!(span.start_time_unix_nano, 1_000_000_000_000);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 5_000_000);
    assert_eq!(text(&span.attributes, "gen_ai.tool.name"), Some("search"));
    assert_eq!(text(&span.attributes, "strait.proxy"), Some("gateway/shop/waypoint"));
    let [link] = &span.links[..] else { panic!("{:?}", span.links) };
    assert_eq!(
        (&link.trace_id[..], &link.span_id[..]),
        (&carrier.trace.bytes()[..], &carrier.span.bytes()[..])
    );
    let status = span.status.as_ref().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "refused"));
    counted(&export, (1, 0)).await;
}

#[tokio::test]
async fn what_a_collector_does_not_take_is_dropped_and_counted() {
    let (at, mut told) = collector(true);
    let export = Export::start(&Config::new(format!("http://{at}")), "waypoint", "1").unwrap();
    let spans = Spans::new("node/one", chance, now, None, Some(export.clone()));
    let context = spans.begin(None);
    spans.finish(spans.span(&context, None, SpanKind::Client), Duration::ZERO);
    assert!(tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().is_some());
    counted(&export, (0, 1)).await;
}
