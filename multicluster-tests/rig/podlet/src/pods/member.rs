//! One container of a pod, as the pod loop knows it. Pure.

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::time::Instant;

use crate::{backoff::Backoff, containers::ContainerId};

/// What a container is for its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before others begin.
    Init,
    /// Begins among the init containers and runs as long as the pod.
    Sidecar,
    /// What the pod is for.
    Main,
    /// Added by a person to look around; never started again.
    Ephemeral,
}

/// The end of one life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which life; `None` if nothing ever ran.
    pub id: Option<ContainerId>,
    /// Exit code.
    pub code: i32,
    /// Signal, if one killed it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `StartError`, …
    pub reason: String,
    /// What it left as its last words.
    pub message: Option<String>,
    /// When it began.
    pub started: Option<jiff::Timestamp>,
    /// When it ended.
    pub finished: jiff::Timestamp,
}

/// What it does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not running, and not at its end.
    Waiting {
        /// As the status has it.
        reason: &'static str,
        /// For a person.
        message: Option<String>,
    },
    /// Running.
    Running {
        /// Which life.
        id: ContainerId,
        /// Since when.
        started: jiff::Timestamp,
    },
    /// Ended.
    Ended(Ended),
}

/// One container.
#[derive(Debug, Clone)]
pub struct Member {
    /// As the pod has it.
    pub container: Container,
    /// What for.
    pub role: Role,
    /// What now.
    pub state: State,
    /// The end before.
    pub last: Option<Ended>,
    /// Which life the next is, from 0.
    pub next_attempt: u32,
    /// Whether startup is over.
    pub started: bool,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Whether its postStart hook is still to end: until then it counts as waiting.
    pub hooking: bool,
    /// Why it waits before its first life, as the status has it.
    pub first_wait: &'static str,
    /// Whether somebody is stopping it.
    pub stopping: bool,
    /// Not before this it is tried again.
    pub not_before: Option<Instant>,
    /// How long the next pause is.
    pub backoff: Backoff,
}

impl Member {
    /// The containers of a pod, in their order: init, main, ephemeral.
    pub fn of(pod: &Pod, backoff: &Backoff) -> Vec<Self> {
        let Some(spec) = &pod.spec else { return Vec::new() };
        let inits = spec.init_containers.iter().flatten().map(|container| {
            let always = container.restart_policy.as_deref() == Some("Always");
            (container.clone(), if always { Role::Sidecar } else { Role::Init })
        });
        let mains = spec.containers.iter().map(|container| (container.clone(), Role::Main));
        let all = inits.chain(mains).chain(ephemeral(pod).into_iter().map(|one| (one, Role::Ephemeral)));
        let reason = if spec.init_containers.iter().flatten().next().is_some() {
            "PodInitializing"
        } else {
            "ContainerCreating"
        };
        all.map(|(container, role)| Self::new(container, role, reason, backoff.clone())).collect()
    }

    /// One that waits.
    pub fn new(container: Container, role: Role, reason: &'static str, backoff: Backoff) -> Self {
        Self {
            container,
            role,
            state: State::Waiting { reason, message: None },
            last: None,
            next_attempt: 0,
            started: false,
            ready: false,
            hooking: false,
            first_wait: reason,
            stopping: false,
            not_before: None,
            backoff,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.container.name
    }

    /// The life that runs.
    pub fn running(&self) -> Option<&ContainerId> {
        match &self.state {
            State::Running { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Whether it has a postStart hook.
    pub fn hooked(&self) -> bool {
        self.container.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some())
    }

    /// Takes note that a life begins to count: at once, or when its hook has ended.
    pub fn begin(&mut self) {
        self.hooking = false;
        self.started = self.container.startup_probe.is_none();
        self.ready = self.started && self.container.readiness_probe.is_none();
    }

    /// The last end that counts: of now, or before it waited again.
    pub fn end(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            State::Waiting { .. } => self.last.as_ref(),
            State::Running { .. } => None,
        }
    }

    /// How often it was started again.
    pub fn restarts(&self) -> i32 {
        i32::try_from(self.next_attempt.saturating_sub(1)).unwrap_or(i32::MAX)
    }
}

/// The ephemeral containers as ordinary ones: they have the same fields.
pub fn ephemeral(pod: &Pod) -> Vec<Container> {
    let all = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let values = all.filter_map(|one| serde_json::to_value(one).ok());
    values.filter_map(|value| serde_json::from_value(value).ok()).collect()
}
