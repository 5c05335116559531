//! Asks when it is time, from the node's own network, and reports what the answers mean.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Probe, TCPSocketAction};
use tokio::net::TcpStream;
use tokio::sync::SetOnce;
use tokio_util::task::AbortOnDropHandle;

use super::state::{Outcome, State, Terms};
use super::{Kind, Report, Reports, Target, Verdict, grpc, http};
use crate::process;

/// The probes of one life of a container. Dropping it ends them.
#[derive(Debug)]
pub struct Probing {
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// Begins to ask a container that has just started what its probes want to know.
///
/// *Flow*: the startup probe goes first; readiness and liveness begin when it has passed, or at once
/// if there is none. Each reports on its own. A report that nobody takes any more ends its probe.
pub fn watch(target: Target, reports: Reports) -> Probing {
    let began = Instant::now();
    let target = Arc::new(target);
    let started = Arc::new(SetOnce::new());
    let container = &target.container;
    if container.startup_probe.is_none() {
        // It is new, so this is the first time.
        let _ = started.set(());
    }
    let probes = [
        (Kind::Startup, container.startup_probe.clone()),
        (Kind::Readiness, container.readiness_probe.clone()),
        (Kind::Liveness, container.liveness_probe.clone()),
    ];
    let tasks = probes.into_iter().filter_map(|(kind, probe)| {
        let worker = Worker {
            kind,
            probe: probe?,
            target: Arc::clone(&target),
            started: Arc::clone(&started),
            reports: reports.clone(),
        };
        Some(AbortOnDropHandle::new(tokio::spawn(worker.run(began))))
    });
    Probing { _tasks: tasks.collect() }
}

struct Worker {
    kind: Kind,
    probe: Probe,
    target: Arc<Target>,
    /// Set when the startup probe has passed.
    started: Arc<SetOnce<()>>,
    reports: Reports,
}

impl Worker {
    async fn run(self, began: Instant) {
        if self.kind != Kind::Startup {
            self.started.wait().await;
        }
        let terms = Terms::of(&self.probe);
        let mut state = State::new(self.kind, terms, began, Instant::now());
        if self.kind == Kind::Readiness && self.target.ready {
            state.resume();
        }
        while let Some(due) = state.due() {
            tokio::time::sleep_until(due.into()).await;
            let asked = Instant::now();
            let outcome = match ask(&self.probe, &self.target, terms.timeout).await {
                Ok(()) => Outcome::Passed,
                Err(why) => Outcome::Failed(why),
            };
            let Some(verdict) = state.outcome(outcome, asked, Instant::now()) else { continue };
            let passed = verdict == Verdict::Passed;
            let report = Report { running: self.target.running.id.clone(), kind: self.kind, verdict };
            if self.reports.send(report).await.is_err() {
                return;
            }
            if self.kind == Kind::Startup && passed {
                // Nobody else sets it.
                let _ = self.started.set(());
            }
        }
    }
}

/// Puts one question.
async fn ask(probe: &Probe, target: &Target, timeout: Duration) -> Result<(), String> {
    let Target { container, running, address, runc, ready: _ } = target;
    if let Some(action) = &probe.http_get {
        return http::get(action, container, *address, timeout).await;
    }
    if let Some(action) = &probe.exec {
        let argv = action.command.clone().unwrap_or_default();
        let executed =
            process::output(runc, running, &argv, timeout).await.map_err(|error| error.to_string())?;
        return if executed.code == 0 { Ok(()) } else { Err(executed.output) };
    }
    let asked = async {
        if let Some(TCPSocketAction { host, port }) = &probe.tcp_socket {
            let port = http::port(port, container)?;
            let host = host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| address.to_string());
            let connected = TcpStream::connect((host.as_str(), port)).await;
            return connected.map(drop).map_err(|cause| format!("dial tcp {host}:{port}: {cause}"));
        }
        match &probe.grpc {
            Some(action) => {
                let port = u16::try_from(action.port).map_err(|_| format!("{} is no port", action.port))?;
                let address = SocketAddr::new(IpAddr::clone(address), port);
                grpc::check(address, action.service.as_deref().unwrap_or_default()).await
            }
            None => Err("the probe says neither exec, httpGet, tcpSocket nor grpc".to_owned()),
        }
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}
