//! Istio's standard metrics, as a waypoint reports them.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use runtime::metrics::LabelText;

/// The labels of Istio's HTTP and TCP metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    pub(super) reporter: &'static str,
    pub(super) source_workload: LabelText,
    pub(super) source_workload_namespace: LabelText,
    pub(super) source_principal: LabelText,
    pub(super) source_app: LabelText,
    pub(super) source_version: LabelText,
    pub(super) source_cluster: LabelText,
    pub(super) destination_workload: LabelText,
    pub(super) destination_workload_namespace: LabelText,
    pub(super) destination_principal: LabelText,
    pub(super) destination_app: LabelText,
    pub(super) destination_version: LabelText,
    pub(super) destination_service: LabelText,
    pub(super) destination_service_name: LabelText,
    pub(super) destination_service_namespace: LabelText,
    pub(super) destination_cluster: LabelText,
    pub(super) request_protocol: &'static str,
    pub(super) response_code: LabelText,
    pub(super) grpc_response_status: LabelText,
    pub(super) response_flags: &'static str,
    pub(super) connection_security_policy: &'static str,
}

/// Request metrics. Clones are the same.
#[derive(Debug, Clone)]
pub struct Requests {
    count: Family<Labels, Counter>,
    duration: Family<Labels, Histogram, fn() -> Histogram>,
    request_bytes: Family<Labels, Histogram, fn() -> Histogram>,
    response_bytes: Family<Labels, Histogram, fn() -> Histogram>,
    tcp_opened: Family<Labels, Counter>,
    tcp_closed: Family<Labels, Counter>,
    tcp_sent: Family<Labels, Counter>,
    tcp_received: Family<Labels, Counter>,
}

// Istio's buckets, in milliseconds and bytes.
fn milliseconds() -> Histogram {
    Histogram::new([
        0.5,
        1.0,
        5.0,
        10.0,
        25.0,
        50.0,
        100.0,
        250.0,
        500.0,
        1000.0,
        2500.0,
        5000.0,
        10_000.0,
        30_000.0,
        60_000.0,
        300_000.0,
        600_000.0,
        1_800_000.0,
        3_600_000.0,
    ])
}

fn bytes() -> Histogram {
    Histogram::new([1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0])
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            count: Family::default(),
            duration: Family::new_with_constructor(milliseconds),
            request_bytes: Family::new_with_constructor(bytes),
            response_bytes: Family::new_with_constructor(bytes),
            tcp_opened: Family::default(),
            tcp_closed: Family::default(),
            tcp_sent: Family::default(),
            tcp_received: Family::default(),
        }
    }
}

impl Requests {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("istio_requests", "Requests", self.count.clone());
        registry.register(
            "istio_request_duration_milliseconds",
            "Duration of requests",
            self.duration.clone(),
        );
        registry.register("istio_request_bytes", "Bytes of request bodies", self.request_bytes.clone());
        registry.register("istio_response_bytes", "Bytes of response bodies", self.response_bytes.clone());
        registry.register("istio_tcp_connections_opened", "Relays begun", self.tcp_opened.clone());
        registry.register("istio_tcp_connections_closed", "Relays ended", self.tcp_closed.clone());
        registry.register("istio_tcp_sent_bytes", "Bytes sent to callers", self.tcp_sent.clone());
        registry.register(
            "istio_tcp_received_bytes",
            "Bytes received from callers",
            self.tcp_received.clone(),
        );
    }

    pub(super) fn request(&self, labels: &Labels, duration: f64, request: u64, response: u64) {
        self.count.get_or_create(labels).inc();
        self.duration.get_or_create(labels).observe(duration);
        self.request_bytes.get_or_create(labels).observe(request as f64);
        self.response_bytes.get_or_create(labels).observe(response as f64);
    }

    pub(super) fn relay(&self, labels: &Labels, received: u64, sent: u64) {
        self.tcp_opened.get_or_create(labels).inc();
        self.tcp_closed.get_or_create(labels).inc();
        self.tcp_sent.get_or_create(labels).inc_by(sent);
        self.tcp_received.get_or_create(labels).inc_by(received);
    }
}
