//! Istio's standard metrics, as a waypoint reports them.

use std::{collections::HashMap, sync::Arc};

use mesh::{
    Identity,
    names::{ServiceKey, WorkloadUid},
};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, histogram::Histogram},
    registry::Registry,
};
use runtime::metrics::{Bounded, LabelText, OTHER, Series};

use super::agents::SERIES_MAX;

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

impl Bounded for Labels {
    fn other(&self) -> Self {
        let other = || LabelText::from(OTHER);
        Self {
            reporter: self.reporter,
            source_workload: other(),
            source_workload_namespace: other(),
            source_principal: other(),
            source_app: other(),
            source_version: other(),
            source_cluster: other(),
            destination_workload: other(),
            destination_workload_namespace: other(),
            destination_principal: other(),
            destination_app: other(),
            destination_version: other(),
            destination_service: other(),
            destination_service_name: other(),
            destination_service_namespace: other(),
            destination_cluster: other(),
            request_protocol: self.request_protocol,
            response_code: other(),
            grpc_response_status: other(),
            response_flags: self.response_flags,
            connection_security_policy: self.connection_security_policy,
        }
    }
}

/// What labels are made of: with the same of all this they are the same, as long as nothing new is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Of {
    pub(super) source: Option<Identity>,
    pub(super) upstream: Option<WorkloadUid>,
    pub(super) service: Option<ServiceKey>,
    pub(super) protocol: &'static str,
    pub(super) code: u16,
    pub(super) grpc: Option<String>,
    pub(super) flags: &'static str,
}

/// The metrics of requests with the same labels.
#[derive(Debug, Clone)]
struct Handles {
    count: Counter,
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

/// Request metrics. Clones are the same.
#[derive(Debug, Clone)]
pub struct Requests {
    count: Series<Labels, Counter>,
    duration: Series<Labels, Histogram>,
    request_bytes: Series<Labels, Histogram>,
    response_bytes: Series<Labels, Histogram>,
    tcp_opened: Series<Labels, Counter>,
    tcp_closed: Series<Labels, Counter>,
    tcp_sent: Series<Labels, Counter>,
    tcp_received: Series<Labels, Counter>,
    known: Arc<Mutex<Known>>,
}

/// The handles that were looked up, under one generation of what was told.
#[derive(Debug, Default)]
struct Known {
    generation: u64,
    handles: HashMap<Of, Handles>,
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
        let counters = || Series::new(SERIES_MAX, Counter::default as fn() -> Counter);
        Self {
            count: counters(),
            duration: Series::new(SERIES_MAX, milliseconds),
            request_bytes: Series::new(SERIES_MAX, bytes),
            response_bytes: Series::new(SERIES_MAX, bytes),
            tcp_opened: counters(),
            tcp_closed: counters(),
            tcp_sent: counters(),
            tcp_received: counters(),
            known: Arc::default(),
        }
    }
}

impl Requests {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        self.count.register("istio_requests", "Requests", registry);
        self.duration.register("istio_request_duration_milliseconds", "Duration of requests", registry);
        self.request_bytes.register("istio_request_bytes", "Bytes of request bodies", registry);
        self.response_bytes.register("istio_response_bytes", "Bytes of response bodies", registry);
        self.tcp_opened.register("istio_tcp_connections_opened", "Relays begun", registry);
        self.tcp_closed.register("istio_tcp_connections_closed", "Relays ended", registry);
        self.tcp_sent.register("istio_tcp_sent_bytes", "Bytes sent to callers", registry);
        self.tcp_received.register("istio_tcp_received_bytes", "Bytes received from callers", registry);
    }

    /// A request ended. Labels are made only when these were not seen in this generation.
    pub(super) fn request(
        &self,
        generation: u64,
        of: Of,
        labels: impl FnOnce() -> Labels,
        duration: f64,
        (request, response): (u64, u64),
    ) {
        let handles = self.handles(generation, of, labels);
        handles.count.inc();
        handles.duration.observe(duration);
        handles.request_bytes.observe(request as f64);
        handles.response_bytes.observe(response as f64);
    }

    fn handles(&self, generation: u64, of: Of, labels: impl FnOnce() -> Labels) -> Handles {
        let mut known = self.known.lock();
        if known.generation != generation || known.handles.len() >= SERIES_MAX {
            *known = Known { generation, handles: HashMap::new() };
        }
        if let Some(handles) = known.handles.get(&of) {
            return handles.clone();
        }
        let labels = labels();
        let handles = Handles {
            count: self.count.get(&labels),
            duration: self.duration.get(&labels),
            request_bytes: self.request_bytes.get(&labels),
            response_bytes: self.response_bytes.get(&labels),
        };
        known.handles.insert(of, handles.clone());
        handles
    }

    /// A relay begins; what counts the bytes that are sent to its caller and received from it.
    pub(super) fn opened(&self, labels: &Labels) -> (Counter, Counter) {
        self.tcp_opened.get(labels).inc();
        (self.tcp_sent.get(labels), self.tcp_received.get(labels))
    }

    /// A relay that was opened has ended.
    pub(super) fn closed(&self, labels: &Labels) {
        self.tcp_closed.get(labels).inc();
    }
}
