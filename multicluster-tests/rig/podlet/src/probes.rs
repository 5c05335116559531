//! Asks containers whether they are well: startup, readiness, liveness.
//!
//! It counts thresholds itself and reports changes; what follows from them is for the pod loop.

mod grpc;
mod http;
mod run;
mod state;
mod tls;

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Container;
use tokio::sync::mpsc;

use crate::{containers::Running, runc::Runc};

pub use http::get as http_get;
pub use run::{Probing, watch};

/// Who is asked.
#[derive(Debug, Clone)]
pub struct Target {
    /// The container as the pod has it: probes and named ports.
    pub container: Container,
    /// The container that runs.
    pub running: Running,
    /// The pod's address, which http, tcp and grpc probes go to unless they name a host.
    pub address: IpAddr,
    /// Whether it takes traffic already: a new container that has a readiness probe does not.
    pub ready: bool,
    /// For exec probes.
    pub runc: Runc,
}

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Until it passes, the others wait; when it fails, the container is started again.
    Startup,
    /// Whether it takes traffic.
    Readiness,
    /// When it fails, the container is started again.
    Liveness,
}

/// What a probe has to say.
#[derive(Debug, Clone)]
pub struct Report {
    /// The life of the container it speaks of: a report of a former life is dropped.
    pub running: crate::containers::ContainerId,
    /// Which probe.
    pub kind: Kind,
    /// What.
    pub verdict: Verdict,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passed `successThreshold` times, after it had not (sent on the change only).
    Passed,
    /// It failed `failureThreshold` times in a row, after it had not (readiness), or at all
    /// (startup, liveness: the container will be stopped). The text is for the event.
    Failed(String),
    /// It failed once and the threshold is not reached. The text is for an event of type Warning,
    /// reason Unhealthy.
    Missed(String),
}

/// Where reports go.
pub type Reports = mpsc::Sender<Report>;
