//! Hands sampled spans to an OpenTelemetry collector (OTLP over gRPC), where one is configured.
//!
//! It never holds anybody up: spans wait in a bounded queue for one thread, and what finds the queue full or is not
//! taken by the collector is dropped and counted. Where nothing is configured, none of this exists.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{Link as OtelLink, SpanContext, SpanKind as OtelKind, Status, TraceFlags, TraceState},
};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter as _, SpanLinks},
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::sync::mpsc;

use crate::{
    spans::span::{Link, Span, SpanKind, Value},
    trace::{SpanId, TraceId},
};

/// Spans that wait for the collector at most.
pub const SPANS_WAITING_MAX: usize = 4096;
/// Spans of one export.
const BATCH_SPANS_MAX: usize = 512;
/// How long spans are gathered before they are exported.
const GATHER_TIME: Duration = Duration::from_secs(1);
/// How long the collector has for one export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where spans go.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The collector, for example `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// The share of traces beginning here that are exported, from 0 to 1.
    pub share: f64,
}

impl Config {
    /// Every trace, to this collector.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), share: 1.0 }
    }
}

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The endpoint is not one that we speak to.
    #[error("an OTLP endpoint is http://HOST:PORT (gRPC), not {0:?}")]
    Endpoint(String),
    /// The share is none.
    #[error("the share of traces that are exported is from 0 to 1, not {0}")]
    Share(f64),
    /// The thread cannot be started.
    #[error("the thread that exports cannot be started")]
    Thread(#[source] io::Error),
}

/// The queue towards the collector. Clones share it; the thread ends when the last one is gone.
#[derive(Debug, Clone)]
pub struct Export {
    queue: mpsc::Sender<Arc<Span>>,
    counts: Counts,
    /// Traces whose number is below it are exported.
    below: u64,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    exported: Counter,
    dropped: Counter,
}

impl Export {
    /// Starts the thread that exports, in the name of a service.
    ///
    /// # Errors
    /// When the configuration is none, or the thread cannot be started.
    pub fn start(config: &Config, service: &str, version: &str) -> Result<Self, OtlpError> {
        let endpoint = config.endpoint.clone();
        let uri: http::Uri = endpoint.parse().map_err(|_| OtlpError::Endpoint(endpoint.clone()))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
            return Err(OtlpError::Endpoint(endpoint));
        }
        if !(0.0..=1.0).contains(&config.share) {
            return Err(OtlpError::Share(config.share));
        }
        let (queue, waiting) = mpsc::channel(SPANS_WAITING_MAX);
        let counts = Counts::default();
        let counted = counts.clone();
        let named = [("service.name", service.to_owned()), ("service.version", version.to_owned())];
        let resource = Resource::builder_empty()
            .with_attributes(named.map(|(key, value)| KeyValue::new(key, value)))
            .build();
        thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || run(endpoint, &resource, waiting, &counted))
            .map_err(OtlpError::Thread)?;
        // A float that is as large as the largest number saturates there.
        let below = (config.share * u64::MAX as f64) as u64;
        Ok(Self { queue, counts, below })
    }

    /// Registers what is counted.
    pub fn register(&self, registry: &mut Registry) {
        let counts = &self.counts;
        registry.register("strait_otlp_spans", "Spans that a collector took", counts.exported.clone());
        registry.register(
            "strait_otlp_spans_dropped",
            "Spans that no collector took in time",
            counts.dropped.clone(),
        );
    }

    /// Whether a trace is among those that are exported.
    pub fn samples(&self, trace: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace.bytes();
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        self.below == u64::MAX || number < self.below
    }

    /// Hands a span over, or drops and counts it. Never waits.
    pub fn send(&self, span: Arc<Span>) {
        if self.queue.try_send(span).is_err() {
            self.counts.dropped.inc();
        }
    }

    /// Spans that were taken and that were dropped so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.counts.exported.get(), self.counts.dropped.get())
    }
}

fn run(endpoint: String, resource: &Resource, mut waiting: mpsc::Receiver<Arc<Span>>, counts: &Counts) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        tracing::error!("spans are not exported: there is no runtime for it");
        return;
    };
    runtime.block_on(async move {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build();
        let mut exporter = match exporter {
            Ok(exporter) => exporter,
            Err(cause) => {
                tracing::error!(%cause, "spans are not exported");
                return;
            }
        };
        exporter.set_resource(resource);
        let scope = InstrumentationScope::builder("strait").build();
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, BATCH_SPANS_MAX).await > 0 {
            // What comes together goes together.
            let full = async {
                while batch.len() < BATCH_SPANS_MAX {
                    let room = BATCH_SPANS_MAX - batch.len();
                    if waiting.recv_many(&mut batch, room).await == 0 {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout(GATHER_TIME, full).await;
            let spans: Vec<SpanData> = batch.drain(..).map(|span| data(&span, &scope)).collect();
            let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
            let taken = tokio::time::timeout(EXPORT_TIMEOUT, exporter.export(spans)).await;
            match taken {
                Ok(Ok(())) => counts.exported.inc_by(count),
                failed => {
                    tracing::debug!(?failed, count, "spans were not taken");
                    counts.dropped.inc_by(count)
                }
            };
        }
    });
}

fn data(span: &Span, scope: &InstrumentationScope) -> SpanData {
    let start = UNIX_EPOCH.checked_add(Duration::from_micros(span.start)).unwrap_or(SystemTime::UNIX_EPOCH);
    let end = start.checked_add(Duration::from_micros(span.duration.unwrap_or(0))).unwrap_or(start);
    let mut links = SpanLinks::default();
    links.links =
        span.links.iter().map(|link| OtelLink::new(context(link, span.sampled), Vec::new(), 0)).collect();
    let own = Link { trace: span.trace, span: span.id };
    let mut attributes: Vec<KeyValue> = span.attributes.iter().map(attribute).collect();
    attributes.push(KeyValue::new("strait.proxy", span.proxy.to_string()));
    SpanData {
        span_context: context(&own, span.sampled),
        parent_span_id: span.parent.map_or(opentelemetry::trace::SpanId::INVALID, span_id),
        parent_span_is_remote: span.parent.is_some(),
        span_kind: match span.kind {
            SpanKind::Server => OtelKind::Server,
            SpanKind::Client => OtelKind::Client,
        },
        name: span.name.clone().into(),
        start_time: start,
        end_time: end,
        attributes,
        dropped_attributes_count: 0,
        events: Default::default(),
        links,
        status: span.error.as_ref().map_or(Status::Unset, |error| Status::error(error.clone())),
        instrumentation_scope: scope.clone(),
    }
}

fn attribute((key, value): (&str, &Value)) -> KeyValue {
    let key = key.to_owned();
    match value {
        Value::Text(text) => KeyValue::new(key, text.clone()),
        Value::Number(number) => KeyValue::new(key, *number),
        Value::Truth(truth) => KeyValue::new(key, *truth),
    }
}

fn span_id(id: SpanId) -> opentelemetry::trace::SpanId {
    opentelemetry::trace::SpanId::from_bytes(id.bytes())
}

fn context(link: &Link, sampled: bool) -> SpanContext {
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let trace = opentelemetry::trace::TraceId::from_bytes(link.trace.bytes());
    SpanContext::new(trace, span_id(link.span), flags, true, TraceState::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_and_a_share_are_checked() {
        let start = |endpoint: &str, share| {
            Export::start(&Config { endpoint: endpoint.to_owned(), share }, "ztunnel", "1").map(drop)
        };
        for endpoint in ["https://a:4317", "a:4317", "http://", "", "ftp://a"] {
            assert!(matches!(start(endpoint, 1.0), Err(OtlpError::Endpoint(_))), "{endpoint:?}");
        }
        for share in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(start("http://127.0.0.1:1", share), Err(OtlpError::Share(_))), "{share}");
        }
        assert!(start("http://127.0.0.1:1", 0.0).is_ok());
    }

    #[test]
    fn a_share_of_the_traces_is_exported() {
        let export = |share| {
            let config = Config { endpoint: "http://127.0.0.1:1".to_owned(), share };
            Export::start(&config, "ztunnel", "1").unwrap()
        };
        let (low, high) = (TraceId::of_chance(0, 1), TraceId::of_chance(0, u64::MAX));
        for (share, expected) in [(0.0, [false, false]), (0.5, [true, false]), (1.0, [true, true])] {
            let export = export(share);
            assert_eq!([export.samples(low), export.samples(high)], expected, "{share}");
        }
    }
}
