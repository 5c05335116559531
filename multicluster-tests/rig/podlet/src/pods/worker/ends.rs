//! The ends: of containers, by themselves or by order, and of the pod.

use std::time::Duration;

use tokio::time::Instant;

use super::{Signal, Worker};
use crate::{
    containers::{ContainerId, Running},
    pods::{
        clear, launch,
        member::{Ended, Role, State},
        mounts, stop,
    },
};

/// A container that ran so long begins again with a short pause.
const RAN_WELL: Duration = Duration::from_secs(600);
/// How much of a container's last words is told.
const LAST_WORDS_MAX: usize = 4096;

impl Worker {
    pub(super) fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Ended(id, exit) => {
                let Some(live) = self.lives.remove(&id) else { return };
                live.ended.send_replace(true);
                let Some(at) = self.members.iter().position(|member| member.running() == Some(&id)) else {
                    return;
                };
                let started = match &self.members[at].state {
                    State::Running { started, .. } => Some(*started),
                    _ => None,
                };
                let reason = if exit.code == 0 { "Completed" } else { "Error" };
                let ended = Ended {
                    id: Some(id.clone()),
                    code: exit.code,
                    signal: exit.signal,
                    reason: reason.to_owned(),
                    message: last_words(&live.running, exit.code, &self.members[at].container),
                    started,
                    finished: exit.at,
                };
                let (context, folder) = (self.context.clone(), live.running.folder.clone());
                self.tasks.spawn(async move {
                    clear::container(&context.runc, &context.config.cgroup, &id, &folder).await;
                });
                self.ended(at, ended);
            }
            Signal::Hooked(id, done) => self.hooked(&id, done),
        }
    }

    fn hooked(&mut self, id: &ContainerId, done: Result<(), String>) {
        let Some(at) = self.members.iter().position(|member| member.running() == Some(id)) else { return };
        let member = &mut self.members[at];
        match done {
            Ok(()) => {
                member.begin();
                self.probe(at);
            }
            Err(why) => {
                member.hooking = false;
                let (name, message) = (member.name().to_owned(), format!("PostStartHook failed: {why}"));
                self.context.events.warning(&self.pod, Some(&name), "FailedPostStartHook", message);
                self.stop(&name, "FailedPostStartHook", self.grace());
            }
        }
    }

    /// Takes note of an end, and of the pause before the next life.
    pub(super) fn ended(&mut self, at: usize, ended: Ended) {
        let policy = self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.clone()).unwrap_or_default();
        let stopping = self.deleting() || self.failed.is_some();
        let member = &mut self.members[at];
        (member.started, member.ready, member.stopping) = (false, false, false);
        member.hooking = false;
        let well = ended.started.is_some_and(|started| {
            Duration::try_from(ended.finished.duration_since(started)).is_ok_and(|ran| ran > RAN_WELL)
        });
        if well {
            member.backoff.reset();
        }
        let again = match (member.role, policy.as_str()) {
            (Role::Ephemeral, _) => false,
            (Role::Sidecar, _) | (Role::Main, "Always" | "") => true,
            (Role::Init, "Never") | (Role::Main, "Never") => false,
            (Role::Init | Role::Main, _) => ended.code != 0,
        };
        if let State::Ended(before) = &member.state {
            member.last = Some(before.clone());
        }
        // The first time it is started again at once.
        if again && !stopping && member.next_attempt > 1 && !well {
            let pause = member.backoff.pause();
            member.not_before = Some(Instant::now() + pause);
            let message = format!(
                "back-off {}s restarting failed container={} pod={}_{}",
                pause.as_secs_f32(),
                member.name(),
                self.pod.metadata.name.as_deref().unwrap_or_default(),
                self.pod.metadata.namespace.as_deref().unwrap_or_default()
            );
            let name = member.name().to_owned();
            self.context.events.warning(&self.pod, Some(&name), "BackOff", message.clone());
            member.last = Some(ended);
            member.state = State::Waiting { reason: "CrashLoopBackOff", message: Some(message) };
        } else {
            member.state = State::Ended(ended);
        }
    }

    /// Stops what runs: sidecars after the others. When nothing does, gives everything back.
    pub(super) async fn end(&mut self) -> Option<Instant> {
        let others =
            self.members.iter().any(|member| member.role != Role::Sidecar && member.running().is_some());
        let now: Vec<String> = self
            .members
            .iter()
            .filter(|member| member.running().is_some() && !member.stopping)
            .filter(|member| !others || member.role != Role::Sidecar)
            .map(|member| member.name().to_owned())
            .collect();
        for name in now {
            self.stop(&name, "", self.grace());
        }
        if !self.lives.is_empty() {
            return None;
        }
        for member in &mut self.members {
            if let (State::Waiting { .. }, Some(last)) = (&member.state, member.last.clone()) {
                member.state = State::Ended(last);
            }
        }
        self.release().await;
        if self.deleting() {
            self.over = true;
        }
        None
    }

    pub(super) fn stop(&mut self, name: &str, why: &str, grace: Duration) {
        let Some(member) = self.members.iter_mut().find(|member| member.name() == name) else { return };
        let Some(live) = member.running().and_then(|id| self.lives.get(id)) else { return };
        if member.stopping {
            return;
        }
        member.stopping = true;
        let message = match why {
            "" => format!("Stopping container {name}"),
            why => format!("Container {name} {why}"),
        };
        self.context.events.normal(&self.pod, Some(name), "Killing", message);
        let order = stop::Order {
            pod: self.pod.clone(),
            container: member.container.clone(),
            running: live.running.clone(),
            address: self.sandbox.as_ref().and_then(|sandbox| sandbox.ips.first().copied()),
            grace,
            ended: live.ended.subscribe(),
        };
        self.tasks.spawn(stop::stop(self.context.clone(), order));
    }

    /// Gives back network and volumes; nothing runs any more.
    pub(super) async fn release(&mut self) {
        self.keepers.shutdown().await;
        while self.tasks.join_next().await.is_some() {}
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.destroy(&self.context.chain, &self.context.paths).await;
        }
        self.volumes = None;
        if let Err(error) = mounts::remove(&self.context.paths.pod(&self.entry.uid)) {
            tracing::warn!(uid = self.entry.uid, %error, "a pod left something behind");
        }
    }

    /// Takes the pod out of everybody's sight.
    pub(super) async fn leave(&mut self) {
        self.release().await;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let meta = &self.pod.metadata;
        self.context.registry.remove(&text(&meta.namespace), &text(&meta.name), &self.entry.uid);
        let links = std::fs::read_dir(self.context.paths.log_links()).into_iter().flatten().flatten();
        let own = format!("{}_{}_", text(&meta.name), text(&meta.namespace));
        for link in links.filter(|link| link.file_name().to_string_lossy().starts_with(&own)) {
            let _ = std::fs::remove_file(link.path());
        }
        let _ = std::fs::remove_dir_all(&self.entry.logs);
    }
}

/// What a container left as its last words, or the end of its log if it asks for that.
fn last_words(
    running: &Running,
    code: i32,
    container: &k8s_openapi::api::core::v1::Container,
) -> Option<String> {
    let text = std::fs::read(running.folder.join(launch::LAST_WORDS_FILE)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..text.len().min(LAST_WORDS_MAX)]).into_owned();
    if !text.is_empty() {
        return Some(text);
    }
    let falls_back = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if !falls_back || code == 0 {
        return None;
    }
    let log = std::fs::read_to_string(&running.log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let from = lines.len().saturating_sub(80);
    let mut text = lines[from..].join("\n");
    while text.len() > LAST_WORDS_MAX / 2 {
        text.remove(0);
    }
    (!text.is_empty()).then_some(text)
}
