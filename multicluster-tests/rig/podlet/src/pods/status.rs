//! The status of a pod from what its containers do. Pure.

use std::net::IpAddr;

use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    decide,
    member::{Ended, Member, Role, State},
};

/// What the containers do not say.
#[derive(Debug, Clone)]
pub struct Around {
    /// The node's address.
    pub host_ip: IpAddr,
    /// The pod's addresses.
    pub ips: Vec<IpAddr>,
    /// Whether its network is there.
    pub sandbox: bool,
    /// When podlet took it on.
    pub since: jiff::Timestamp,
    /// Why it failed as a whole: reason and message.
    pub failed: Option<(String, String)>,
    /// Now.
    pub now: jiff::Timestamp,
}

/// The status of a pod. `before` are the conditions it had, for the times of their changes.
pub fn status(pod: &Pod, members: &[Member], around: &Around, before: &[PodCondition]) -> PodStatus {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    let phase = phase(policy, members, around.failed.is_some());
    let of = |role: fn(Role) -> bool| -> Option<Vec<ContainerStatus>> {
        let all: Vec<_> = members.iter().filter(|member| role(member.role)).map(container).collect();
        (!all.is_empty()).then_some(all)
    };
    let (reason, message) = around.failed.clone().unzip();
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions(pod, members, around, before, phase)),
        init_container_statuses: of(|role| matches!(role, Role::Init | Role::Sidecar)),
        container_statuses: of(|role| role == Role::Main),
        ephemeral_container_statuses: of(|role| role == Role::Ephemeral),
        host_ip: Some(around.host_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: around.host_ip.to_string() }]),
        pod_ip: around.ips.first().map(IpAddr::to_string),
        pod_ips: (!around.ips.is_empty())
            .then(|| around.ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect()),
        start_time: Some(Time(around.since)),
        observed_generation: pod.metadata.generation,
        reason,
        message,
        ..PodStatus::default()
    }
}

/// The phase: a pod runs once its own containers have begun.
pub fn phase(policy: &str, members: &[Member], failed: bool) -> &'static str {
    let mains = || members.iter().filter(|member| member.role == Role::Main);
    let running = members.iter().any(|member| member.role != Role::Ephemeral && member.running().is_some());
    if failed || decide::over(policy, members) {
        if running {
            return "Running";
        }
        let clean = mains().all(|member| member.end().is_some_and(|ended| ended.code == 0));
        return if clean && !failed { "Succeeded" } else { "Failed" };
    }
    let begun = mains().any(|member| member.next_attempt > u32::from(member.hooking));
    if begun { "Running" } else { "Pending" }
}

fn container(member: &Member) -> ContainerStatus {
    let id = match &member.state {
        State::Running { id, .. } if !member.hooking => Some(id),
        State::Running { .. } => member.last.as_ref().and_then(|ended| ended.id.as_ref()),
        _ => member.end().and_then(|ended| ended.id.as_ref()),
    };
    let image = member.container.image.clone().unwrap_or_default();
    ContainerStatus {
        name: member.container.name.clone(),
        container_id: id.map(crate::containers::ContainerId::status),
        image_id: if id.is_some() {
            format!("podlet://{}", crate::images::name(&image))
        } else {
            String::new()
        },
        image,
        ready: member.ready,
        started: Some(member.started),
        restart_count: member.restarts(),
        state: Some(state(member)),
        last_state: member
            .last
            .as_ref()
            .map(|ended| ContainerState { terminated: Some(terminated(ended)), ..ContainerState::default() }),
        ..ContainerStatus::default()
    }
}

fn state(member: &Member) -> ContainerState {
    match &member.state {
        State::Running { .. } if member.hooking => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(member.first_wait.to_owned()),
                message: None,
            }),
            ..ContainerState::default()
        },
        State::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).to_owned()),
                message: message.clone(),
            }),
            ..ContainerState::default()
        },
        State::Running { started, .. } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(*started)) }),
            ..ContainerState::default()
        },
        State::Ended(ended) => {
            ContainerState { terminated: Some(terminated(ended)), ..ContainerState::default() }
        }
    }
}

fn terminated(ended: &Ended) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: ended.id.as_ref().map(crate::containers::ContainerId::status),
        exit_code: ended.code,
        signal: ended.signal,
        reason: Some(ended.reason.clone()),
        message: ended.message.clone(),
        started_at: ended.started.map(Time),
        finished_at: Some(Time(ended.finished)),
    }
}

fn conditions(
    pod: &Pod,
    members: &[Member],
    around: &Around,
    before: &[PodCondition],
    phase: &str,
) -> Vec<PodCondition> {
    let completed = matches!(phase, "Succeeded" | "Failed");
    let uninit: Vec<&str> = names(members, |member| match member.role {
        Role::Init => !matches!(&member.state, State::Ended(ended) if ended.code == 0),
        Role::Sidecar => !member.started,
        Role::Main | Role::Ephemeral => false,
    });
    let begun = members.iter().any(|member| member.role == Role::Main && member.next_attempt > 0);
    let unready = names(members, |member| matches!(member.role, Role::Main | Role::Sidecar) && !member.ready);
    let not_init = if uninit.is_empty() || begun || phase == "Succeeded" {
        None
    } else {
        Some((
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{}]", uninit.join(" ")),
        ))
    };
    let not_ready = if completed {
        Some(("PodCompleted", String::new()))
    } else if unready.is_empty() {
        None
    } else {
        Some(("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))))
    };
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let theirs = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let closed = gates
        .map(|gate| gate.condition_type.as_str())
        .find(|gate| !theirs.clone().any(|condition| condition.type_ == *gate && condition.status == "True"));
    let shut = || {
        let gate = closed?;
        Some((
            "ReadinessGatesNotReady",
            format!("corresponding condition of pod readiness gate \"{gate}\" is not True"),
        ))
    };
    let no_sandbox = (!around.sandbox).then(|| ("", String::new()));
    [
        ("PodReadyToStartContainers", no_sandbox),
        ("Initialized", not_init),
        ("Ready", not_ready.clone().or_else(shut)),
        ("ContainersReady", not_ready),
        ("PodScheduled", None),
    ]
    .map(|(kind, not)| condition(pod, kind, not, before, around.now))
    .into()
}

fn names(members: &[Member], which: impl Fn(&Member) -> bool) -> Vec<&str> {
    members.iter().filter(|member| which(member)).map(Member::name).collect()
}

fn condition(
    pod: &Pod,
    kind: &str,
    not: Option<(&str, String)>,
    before: &[PodCondition],
    now: jiff::Timestamp,
) -> PodCondition {
    let status = if not.is_none() { "True" } else { "False" };
    let old = before.iter().find(|old| old.type_ == kind && old.status == status);
    let (reason, message) = not.unzip();
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.filter(|text| !text.is_empty()).map(str::to_owned),
        message: message.filter(|text| !text.is_empty()),
        last_transition_time: old.and_then(|old| old.last_transition_time.clone()).or(Some(Time(now))),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    }
}

#[cfg(test)]
mod tests;
