//! Istio's standard TCP metrics, and decisions.
//!
//! Labels name what configuration names; how many different series there can be is bounded all the same, since
//! proven callers of linked trust domains are many.

use std::sync::Arc;

use mesh::{
    Denial,
    access::{Grant, Judgement, Shadow, Verdict},
    resource::Labels as AppLabels,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, LabelSetEncoder},
    metrics::counter::Counter,
    registry::Registry,
};
use runtime::metrics::{Bounded, OTHER, Series};

use super::{Party, Record};
use crate::connections::Direction;

/// Most series of each metric.
const SERIES_MAX: usize = 4096;

/// The labels of a connection, with Istio's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ConnectionLabels([(&'static str, Arc<str>); 20]);

/// The labels of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct DecisionLabels([(&'static str, Arc<str>); 8]);

macro_rules! label_sets {
    ($($kind:ident),*) => {$(
        impl EncodeLabelSet for $kind {
            fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
                for (name, value) in &self.0 {
                    (*name, &**value).encode(encoder.encode_label())?;
                }
                Ok(())
            }
        }
        impl Bounded for $kind {
            fn other(&self) -> Self {
                let other: Arc<str> = OTHER.into();
                Self(self.0.clone().map(|(name, _)| (name, other.clone())))
            }
        }
    )*};
}
use prometheus_client::encoding::EncodeLabel as _;
label_sets!(ConnectionLabels, DecisionLabels);

/// The counters. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    opened: Series<ConnectionLabels, Counter>,
    closed: Series<ConnectionLabels, Counter>,
    sent: Series<ConnectionLabels, Counter>,
    received: Series<ConnectionLabels, Counter>,
    decisions: Series<DecisionLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let connections = || Series::new(SERIES_MAX, Counter::default as fn() -> Counter);
        Self {
            opened: connections(),
            closed: connections(),
            sent: connections(),
            received: connections(),
            decisions: Series::new(SERIES_MAX, Counter::default),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        for (name, help, series) in [
            ("istio_tcp_connections_opened", "TCP connections opened", &self.opened),
            ("istio_tcp_connections_closed", "TCP connections closed", &self.closed),
            ("istio_tcp_sent_bytes", "Bytes that the destination sent", &self.sent),
            ("istio_tcp_received_bytes", "Bytes that the destination received", &self.received),
        ] {
            series.register(name, help, registry);
        }
        self.decisions.register("strait_decisions", "Decisions about who may do what", registry);
    }

    /// Counts an opening; what counts the bytes that its destination sends and receives.
    pub(super) fn opened(&self, record: &Record) -> (Counter, Counter) {
        let labels = connection(record);
        self.opened.get(&labels).inc();
        (self.sent.get(&labels), self.received.get(&labels))
    }

    pub(super) fn closed(&self, record: &Record) {
        self.closed.get(&connection(record)).inc();
    }

    pub(super) fn judged(&self, record: &Record, judgement: &Judgement) {
        if let Verdict::Granted(grant) = &judgement.verdict {
            self.granted(record, grant);
        }
        judgement.shadows.iter().for_each(|shadow| self.shadowed(record, shadow));
    }

    pub(super) fn refused(&self, record: &Record, denial: &Denial) {
        let policy = denial.policy.as_ref().map(|(policy, _)| policy.to_string());
        self.decided(record, "refused", "enforce", denial.reason.name(), policy, denial.rule.as_ref());
    }

    fn granted(&self, record: &Record, grant: &Grant) {
        let (policy, rule) = match grant {
            Grant::Rule { policy, rule, .. } => (Some(policy.to_string()), Some(rule)),
            Grant::Default => (None, None),
        };
        self.decided(record, "granted", "enforce", "", policy, rule);
    }

    fn shadowed(&self, record: &Record, shadow: &Shadow) {
        let (verdict, reason) = match &shadow.denial {
            Some(denial) => ("refused", denial.reason.name()),
            None => ("granted", ""),
        };
        self.decided(record, verdict, "audit", reason, Some(shadow.policy.to_string()), shadow.rule.as_ref());
    }

    fn decided(
        &self,
        record: &Record,
        verdict: &str,
        mode: &str,
        reason: &str,
        policy: Option<String>,
        rule: Option<&Arc<str>>,
    ) {
        let source = record.source.workload.as_ref().map_or("unknown".into(), |it| it.name.clone());
        let labels = DecisionLabels([
            ("verdict", verdict.into()),
            ("mode", mode.into()),
            ("reason", reason.into()),
            ("policy", policy.unwrap_or_default().into()),
            ("rule", rule.cloned().unwrap_or_else(|| "".into())),
            ("source_workload", source),
            ("destination_service", service(record).0),
            ("protocol", "tcp".into()),
        ]);
        self.decisions.get(&labels).inc();
    }
}

fn connection(record: &Record) -> ConnectionLabels {
    let unknown = || Arc::<str>::from("unknown");
    let name = |party: &Party| party.workload.as_ref().map_or_else(unknown, |it| it.name.clone());
    let namespace = |party: &Party| party.workload.as_ref().map_or_else(unknown, |it| it.namespace.clone());
    let cluster =
        |party: &Party| party.workload.as_ref().map_or_else(unknown, |it| it.cluster.as_str().into());
    let principal = |party: &Party| party.identity.as_ref().map_or_else(unknown, |it| it.to_string().into());
    let labels = |party: &Party| -> AppLabels {
        party
            .workload
            .as_ref()
            .map_or_else(|| AppLabels { app: unknown(), version: unknown() }, |it| it.labels.clone())
    };
    let (source, destination) = (&record.source, &record.destination);
    let (source_labels, destination_labels) = (labels(source), labels(destination));
    let (service, service_name, service_namespace) = service(record);
    let reporter = match record.direction {
        Direction::Inbound => "destination",
        Direction::Outbound => "source",
    };
    ConnectionLabels([
        ("reporter", reporter.into()),
        ("source_workload", name(source)),
        ("source_workload_namespace", namespace(source)),
        ("source_principal", principal(source)),
        ("source_app", source_labels.app.clone()),
        ("source_version", source_labels.version),
        ("source_cluster", cluster(source)),
        ("source_canonical_service", source_labels.app),
        ("destination_service", service),
        ("destination_service_name", service_name),
        ("destination_service_namespace", service_namespace),
        ("destination_workload", name(destination)),
        ("destination_workload_namespace", namespace(destination)),
        ("destination_principal", principal(destination)),
        ("destination_app", destination_labels.app.clone()),
        ("destination_version", destination_labels.version),
        ("destination_cluster", cluster(destination)),
        ("destination_canonical_service", destination_labels.app),
        ("request_protocol", "tcp".into()),
        ("connection_security_policy", if record.mutual_tls { "mutual_tls" } else { "none" }.into()),
    ])
}

/// Full name, short name and namespace of the service, if it was one.
fn service(record: &Record) -> (Arc<str>, Arc<str>, Arc<str>) {
    match &record.service {
        Some((service, _)) => {
            let full = service.hostname.as_str();
            let short = full.split('.').next().unwrap_or_default();
            (full.into(), short.into(), service.namespace.clone())
        }
        None => ("unknown".into(), "unknown".into(), "unknown".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    #[test]
    fn a_hostile_caller_makes_no_more_series_than_there_is_room_for() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        for number in 0..SERIES_MAX + 3 {
            let mut record = testing::record(Direction::Inbound, "x:1");
            let identity = format!("spiffe://elsewhere.example/made-up/{number}");
            record.source.identity = Some(identity.parse().expect("it is an identity"));
            metrics.opened(&record);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it is written");
        assert_eq!(text.matches("istio_tcp_connections_opened_total{").count(), SERIES_MAX + 1);
        assert!(text.contains("strait_series_overflow_istio_tcp_connections_opened_total 3"));
    }

    #[test]
    fn labels_are_written() {
        let (metrics, mut registry) = (Metrics::default(), Registry::default());
        metrics.register(&mut registry);
        let record = testing::record(Direction::Outbound, "x:1");
        metrics.opened(&record);
        metrics.refused(&record, &Denial::plain(mesh::Reason::Loop, "x"));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("it is written");
        assert!(
            text.contains(
                r#"istio_tcp_connections_opened_total{reporter="source",source_workload="unknown""#
            )
        );
        assert!(text.contains(r#"strait_decisions_total{verdict="refused",mode="enforce",reason="Loop""#));
    }
}
