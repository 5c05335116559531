//! Begins a life of a container, or says why it cannot.

use std::{net::IpAddr, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{Live, RETRY, Signal, Worker};
use crate::{
    bundle::PidNamespace,
    containers::ContainerId,
    pods::{
        hooks,
        launch::{self, Launch, StartError},
        member::{Ended, State},
        record::{Record, Shim},
    },
    probes,
};

/// How long a postStart hook may take.
const HOOK_MAX: Duration = Duration::from_secs(3600);

impl Worker {
    pub(super) async fn start(&mut self, at: usize) {
        let context = self.context.clone();
        let (Some(sandbox), Some(volumes)) = (self.sandbox.clone(), self.volumes.clone()) else { return };
        let facts = self.facts();
        let (container, attempt) = (self.members[at].container.clone(), self.members[at].next_attempt);
        let image = container.image.clone().unwrap_or_default();
        let launch = Launch {
            pod: &self.pod,
            container: &container,
            attempt,
            sandbox: &sandbox,
            volumes: &volumes,
            logs: &self.entry.logs,
            pid: self.pid_namespace(&container),
            facts: &facts,
        };
        let started = {
            let _permit = context.starting.acquire().await;
            launch::start(&context, &launch).await
        };
        let name = Some(container.name.as_str());
        match started {
            Ok((record, shim)) => {
                let events = &context.events;
                let message = format!("Container image {image:?} already present on machine");
                events.normal(&self.pod, name, "Pulled", message);
                events.normal(&self.pod, name, "Created", format!("Container created: {}", container.name));
                events.normal(&self.pod, name, "Started", format!("Container started: {}", container.name));
                self.begun(at, &record, shim);
            }
            Err(StartError::Image(error)) => {
                let pause = self.members[at].backoff.pause();
                let member = &mut self.members[at];
                let again = matches!(
                    &member.state,
                    State::Waiting { reason: "ErrImagePull" | "ImagePullBackOff", .. }
                );
                let reason = if again { "ImagePullBackOff" } else { "ErrImagePull" };
                member.state = State::Waiting { reason, message: Some(error.to_string()) };
                member.not_before = Some(Instant::now() + if again { pause } else { RETRY });
                context.events.warning(
                    &self.pod,
                    name,
                    "Failed",
                    format!("Failed to pull image {image:?}: {error}"),
                );
            }
            Err(StartError::Config(why)) => {
                let member = &mut self.members[at];
                member.state =
                    State::Waiting { reason: "CreateContainerConfigError", message: Some(why.clone()) };
                member.not_before = Some(Instant::now() + RETRY);
                context.events.warning(&self.pod, name, "Failed", format!("Error: {why}"));
            }
            Err(StartError::Run(why)) => {
                context.events.warning(&self.pod, name, "Failed", format!("Error: {why}"));
                self.members[at].next_attempt += 1;
                let now = jiff::Timestamp::now();
                let ended = Ended {
                    id: ContainerId::fresh().ok(),
                    code: 128,
                    signal: None,
                    reason: "StartError".to_owned(),
                    message: Some(why),
                    started: None,
                    finished: now,
                };
                self.ended(at, ended);
            }
        }
    }

    fn begun(&mut self, at: usize, record: &Record, shim: Shim) {
        let member = &mut self.members[at];
        if let State::Ended(ended) = &member.state {
            member.last = Some(ended.clone());
        }
        member.state = State::Running { id: record.id.clone(), started: record.since };
        member.next_attempt += 1;
        member.not_before = None;
        member.stopping = false;
        member.begin();
        if member.hooked() {
            (member.hooking, member.started, member.ready) = (true, false, false);
        }
        self.follow(at, record, shim);
    }

    /// Waits for the end of a container that runs, and asks its probes.
    pub(super) fn follow(&mut self, at: usize, record: &Record, shim: Shim) {
        let running = record.running(&self.context.paths);
        let (signals, folder, id) = (self.signals.0.clone(), running.folder.clone(), record.id.clone());
        self.tasks.spawn(async move {
            let exit = shim.ended(&folder).await;
            let _ = signals.send(Signal::Ended(id, exit)).await;
        });
        let live = Live { running, ended: watch::channel(false).0, probing: None };
        self.lives.insert(record.id.clone(), live);
        if self.members[at].hooking {
            self.hook(at, &record.id);
        } else {
            self.probe(at);
        }
    }

    /// Begins to ask the probes of a container that runs.
    pub(super) fn probe(&mut self, at: usize) {
        let (member, address) = (&self.members[at], self.address());
        let Some(live) = member.running().and_then(|id| self.lives.get_mut(id)) else { return };
        let mut container = member.container.clone();
        if member.started {
            container.startup_probe = None;
        }
        let (running, ready) = (live.running.clone(), member.ready);
        live.probing = address.map(|address| {
            let runc = self.context.runc.clone();
            let target = probes::Target { container, running, address, ready, runc };
            probes::watch(target, self.reports.0.clone())
        });
    }

    fn address(&self) -> Option<IpAddr> {
        self.sandbox.as_ref().and_then(|sandbox| sandbox.ips.first().copied())
    }

    /// Runs a container's postStart hook, as long as the container does.
    fn hook(&mut self, at: usize, id: &ContainerId) {
        let (container, address) = (self.members[at].container.clone(), self.address());
        let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone());
        let (Some(hook), Some(live)) = (hook, self.lives.get(id)) else { return };
        let (signals, runc, id) = (self.signals.0.clone(), self.context.runc.clone(), id.clone());
        let (running, mut ended) = (live.running.clone(), live.ended.subscribe());
        self.tasks.spawn(async move {
            tokio::select! {
                done = hooks::run(&hook, &container, &running, address, &runc, HOOK_MAX) => {
                    let _ = signals.send(Signal::Hooked(id, done)).await;
                }
                () = async { let _ = ended.wait_for(|ended| *ended).await; } => {}
            }
        });
    }

    /// Whose processes a container sees: an ephemeral one those of its target; with a shared
    /// namespace the pod's first container leads.
    pub(super) fn pid_namespace(&self, container: &k8s_openapi::api::core::v1::Container) -> PidNamespace {
        let spec = self.pod.spec.as_ref();
        if spec.and_then(|spec| spec.host_pid) == Some(true) {
            return PidNamespace::Host;
        }
        let pid = |name: &str| {
            let member = self.members.iter().find(|member| member.name() == name)?;
            Some(self.lives.get(member.running()?)?.running.pid)
        };
        let ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_ref()).into_iter().flatten();
        let target = ephemeral
            .filter(|one| one.name == container.name)
            .find_map(|one| one.target_container_name.clone());
        let shared = spec.and_then(|spec| spec.share_process_namespace) == Some(true);
        let leader = || self.members.iter().filter(|_| shared).find_map(|member| pid(member.name()));
        let found = target.and_then(|target| pid(&target)).or_else(leader);
        found.map_or(PidNamespace::Own, PidNamespace::Of)
    }
}
