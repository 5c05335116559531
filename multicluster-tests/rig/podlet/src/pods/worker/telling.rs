//! What probes say, and what is told to others.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::PodStatus;

use super::Worker;
use crate::{
    pods::{
        member::State,
        status::{self, Around},
    },
    probes::{self, Kind, Verdict},
    registry::ContainerEntry,
};

impl Worker {
    pub(super) fn report(&mut self, report: probes::Report) {
        let running = Some(&report.running);
        let Some(member) = self.members.iter_mut().find(|member| member.running() == running) else { return };
        let (name, kind) = (member.name().to_owned(), report.kind);
        let word = match kind {
            Kind::Startup => "Startup",
            Kind::Readiness => "Readiness",
            Kind::Liveness => "Liveness",
        };
        match (report.verdict, kind) {
            (Verdict::Passed, Kind::Startup) => {
                member.started = true;
                member.ready = member.container.readiness_probe.is_none();
            }
            (Verdict::Passed, Kind::Readiness) => member.ready = member.started,
            (Verdict::Passed, Kind::Liveness) => {}
            (Verdict::Missed(why), _) => {
                let message = format!("{word} probe failed: {why}");
                self.context.events.warning(&self.pod, Some(&name), "Unhealthy", message);
            }
            (Verdict::Failed(why), _) => {
                let probe = match kind {
                    Kind::Startup => member.container.startup_probe.as_ref(),
                    Kind::Readiness => None,
                    Kind::Liveness => member.container.liveness_probe.as_ref(),
                };
                let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
                member.ready = false;
                let message = format!("{word} probe failed: {why}");
                self.context.events.warning(&self.pod, Some(&name), "Unhealthy", message);
                if kind != Kind::Readiness {
                    let grace =
                        own.map_or_else(|| self.grace(), |own| Duration::from_secs(own.unsigned_abs()));
                    let word = word.to_lowercase();
                    self.stop(&name, &format!("failed {word} probe, will be restarted"), grace);
                }
            }
        }
    }

    /// Shows what is: to the kubelet's API and, by the publisher, to the API server.
    pub(super) fn tell(&mut self) {
        let around = Around {
            host_ip: self.context.config.node_address,
            ips: self.sandbox.as_ref().map(|sandbox| sandbox.ips.clone()).unwrap_or_default(),
            sandbox: self.sandbox.is_some(),
            since: self.since,
            failed: self.failed.clone(),
            now: jiff::Timestamp::now(),
        };
        let status = status::status(&self.pod, &self.members, &around, &self.conditions);
        self.conditions = status.conditions.clone().unwrap_or_default();
        self.show(Some(&status));
        let status = Some(status);
        self.told.send_if_modified(|told| {
            let new = told.status != status;
            told.status = status;
            new
        });
    }

    /// Shows what is to the kubelet's API, with a status if there is a new one.
    pub(super) fn show(&self, status: Option<&PodStatus>) {
        let mut pod = (*self.pod).clone();
        if let Some(status) = status {
            pod.status = Some(status.clone());
        }
        let containers = self.members.iter().map(|member| {
            let live = member.running().and_then(|id| self.lives.get(id));
            let waiting = match &member.state {
                State::Waiting { reason, .. } => Some((*reason).to_owned()),
                _ => None,
            };
            let attempt = member.next_attempt.checked_sub(1);
            let running = live.map(|live| live.running.clone());
            (member.name().to_owned(), ContainerEntry { running, attempt, waiting })
        });
        let (containers, sandbox) = (containers.collect(), self.sandbox.as_ref());
        self.entry.update(|state| {
            state.pod = Arc::new(pod);
            state.netns = sandbox.and_then(|sandbox| sandbox.own.as_ref()).map(|own| own.netns.clone());
            state.networked = sandbox.is_some();
            state.containers = containers;
        });
    }
}
