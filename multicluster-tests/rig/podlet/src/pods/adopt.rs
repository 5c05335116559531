//! Takes over what a former podlet left running.
//!
//! Flow: [`find`] reads what is written down of networks and containers, before any pod is led; each
//! pod's loop takes its own, and [`recall`] gives its containers the state they had. What no pod has
//! asked for when all are known is removed with [`Left::clear`].
//! Guarantee: a container that ran under the former podlet is neither stopped nor started again; one
//! that ended meanwhile has the end that its shim wrote down.
//! Caveat: pauses between restarts begin anew.

use std::{collections::HashMap, fs, io, path::Path};

use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    Context, clear,
    member::{Ended, Member, State},
    mounts,
    record::Record,
    sandbox::Sandbox,
};
use crate::{cni::Chain, containers::ContainerId, paths::Paths, runc::Runc};

/// What is left of one pod: its network, and those of its containers that have not been removed.
#[derive(Debug)]
pub(crate) struct Left {
    pub(super) sandbox: Sandbox,
    pub(super) containers: Vec<Record>,
}

/// What a former podlet left, by the uid of the pod.
pub(crate) type Found = HashMap<String, Left>;

/// Finds it, and removes what belongs to nothing: networks that were not finished, containers without
/// a network or a record.
///
/// # Errors
/// When the node's folders cannot be read.
pub(crate) async fn find(paths: &Paths, chain: &Chain, runc: &Runc, cgroup: &str) -> io::Result<Found> {
    let mut found = Found::new();
    for file in names(&paths.sandboxes())? {
        let path = paths.sandboxes().join(file);
        let sandbox = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Sandbox>(&text).ok());
        match sandbox {
            Some(sandbox) if sandbox.finished() => {
                found.insert(sandbox.uid.clone(), Left { sandbox, containers: Vec::new() });
            }
            Some(sandbox) => sandbox.destroy(chain, paths).await,
            None => fs::remove_file(path)?,
        }
    }
    for id in names(&paths.containers())? {
        let Some(id) = ContainerId::known(&id) else { continue };
        let folder = paths.container(&id);
        let record = Record::read(&folder);
        match record.and_then(|record| Some((found.get_mut(&record.pod)?, record))) {
            Some((left, record)) => left.containers.push(record),
            None => clear::container(runc, cgroup, &id, &folder).await,
        }
    }
    Ok(found)
}

impl Left {
    /// Removes it: containers, network, volumes.
    pub(super) async fn clear(self, context: &Context) {
        for record in self.containers {
            let folder = context.paths.container(&record.id);
            clear::container(&context.runc, &context.config.cgroup, &record.id, &folder).await;
        }
        self.sandbox.destroy(&context.chain, &context.paths).await;
        if let Err(error) = mounts::remove(&context.paths.pod(&self.sandbox.uid)) {
            tracing::warn!(uid = self.sandbox.uid, %error, "a pod left something behind");
        }
    }
}

/// Gives containers the state they had: those that run by their records, the others as the pod's
/// status has it. Gives back the place of each that runs with its record, and former lives, which
/// are to be removed.
pub(super) fn recall(
    pod: &Pod,
    members: &mut [Member],
    mut records: Vec<Record>,
) -> (Vec<(usize, Record)>, Vec<Record>) {
    // The newest life comes first.
    records.sort_by_key(|record| std::cmp::Reverse(record.attempt));
    let (mut running, mut former) = (Vec::new(), Vec::new());
    for record in records {
        let at = members.iter().position(|member| member.name() == record.container);
        match at.filter(|at| running.iter().all(|(taken, _)| taken != at)) {
            Some(at) => running.push((at, record)),
            None => former.push(record),
        }
    }
    let status = pod.status.as_ref();
    let lists = status.map(|status| {
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses]
    });
    let told: Vec<&ContainerStatus> = lists.into_iter().flatten().flatten().flatten().collect();
    for (at, member) in members.iter_mut().enumerate() {
        let old = told.iter().find(|old| old.name == member.name()).copied();
        match running.iter().find(|(taken, _)| *taken == at) {
            Some((_, record)) => runs(member, record, old),
            None => rests(member, old),
        }
    }
    (running, former)
}

fn runs(member: &mut Member, record: &Record, old: Option<&ContainerStatus>) {
    member.state = State::Running { id: record.id.clone(), started: record.since };
    member.next_attempt = record.attempt + 1;
    member.begin();
    if member.hooked() {
        // Nobody knows whether the hook had ended, unless the status says more: then it runs again.
        (member.hooking, member.started, member.ready) = (true, false, false);
    }
    let Some(old) = old else { return };
    let known = old.container_id.as_deref() == Some(record.id.status().as_str());
    // A life that was not told yet begins as every life does, after the one that was.
    let ended = if known { &old.last_state } else { &old.state };
    member.last = ended.as_ref().and_then(ended_of).or_else(|| old.last_state.as_ref().and_then(ended_of));
    if known && old.state.as_ref().is_some_and(|state| state.running.is_some()) {
        member.hooking = false;
        (member.started, member.ready) = (old.started == Some(true), old.ready);
    }
}

fn rests(member: &mut Member, old: Option<&ContainerStatus>) {
    let Some(old) = old.filter(|old| old.container_id.is_some()) else { return };
    member.next_attempt = u32::try_from(old.restart_count).unwrap_or(0) + 1;
    member.last = old.last_state.as_ref().and_then(ended_of);
    let Some(state) = &old.state else { return };
    if let Some(ended) = ended_of(state) {
        member.state = State::Ended(ended);
    } else if let Some(running) = &state.running {
        member.state = State::Ended(Ended {
            id: old.container_id.as_deref().and_then(ContainerId::told),
            code: 137,
            signal: None,
            reason: "ContainerStatusUnknown".to_owned(),
            message: Some("The container was gone when podlet began anew".to_owned()),
            started: running.started_at.as_ref().map(|time| time.0),
            finished: jiff::Timestamp::now(),
        });
    }
}

fn ended_of(state: &ContainerState) -> Option<Ended> {
    let ContainerStateTerminated {
        container_id,
        exit_code,
        signal,
        reason,
        message,
        started_at,
        finished_at,
    } = state.terminated.clone()?;
    let time = |time: Option<Time>| time.map(|time| time.0);
    Some(Ended {
        id: container_id.as_deref().and_then(ContainerId::told),
        code: exit_code,
        signal,
        reason: reason.unwrap_or_default(),
        message,
        started: time(started_at),
        finished: time(finished_at).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
    })
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pods::decide::tests::{members, pod};

    fn id(digit: char) -> ContainerId {
        ContainerId::known(&digit.to_string().repeat(32)).unwrap()
    }

    fn record(container: &str, attempt: u32, digit: char) -> Record {
        Record {
            pod: "u".to_owned(),
            container: container.to_owned(),
            id: id(digit),
            pid: 7,
            log: "/log".into(),
            attempt,
            tty: false,
            stdin: false,
            since: jiff::Timestamp::UNIX_EPOCH,
            shim: (8, 9),
        }
    }

    #[test]
    fn what_runs_is_taken_over_and_the_rest_is_as_it_was_told() {
        let mut pod = pod("Always", json!([{"name": "i"}]));
        let ended = |digit: char, code: i32| {
            json!({"terminated": {"containerID": id(digit).status(), "exitCode": code, "reason": "Error",
                "finishedAt": "1970-01-01T00:00:01Z"}})
        };
        let one = |name: &str,
                   digit: char,
                   restarts: i32,
                   state: serde_json::Value,
                   last: serde_json::Value| {
            json!({"name": name, "containerID": id(digit).status(), "restartCount": restarts, "state": state,
                "lastState": last, "started": true, "ready": true, "image": "x", "imageID": "x"})
        };
        let runs = json!({"running": {"startedAt": "1970-01-01T00:00:00Z"}});
        pod.status = serde_json::from_value(json!({
            "initContainerStatuses": [one("i", '1', 0, ended('1', 0), json!({}))],
            "containerStatuses": [
                one("a", '3', 1, runs.clone(), ended('2', 5)), one("b", '4', 2, runs, json!({}))],
        }))
        .unwrap();
        let mut all = members(&pod);
        let records = vec![record("a", 0, '2'), record("a", 1, '3'), record("nobody", 0, '9')];
        let (running, former) = recall(&pod, &mut all, records);
        assert_eq!(running, [(1, record("a", 1, '3'))]);
        assert_eq!(former, [record("a", 0, '2'), record("nobody", 0, '9')]);
        assert!(matches!(&all[0].state, State::Ended(ended) if ended.code == 0));
        assert_eq!(all[1].running(), Some(&id('3')));
        assert_eq!((all[1].restarts(), all[1].started, all[1].ready), (1, true, true));
        assert_eq!(
            all[1].last.as_ref().map(|ended| (ended.code, ended.id.clone())),
            Some((5, Some(id('2'))))
        );
        // It was told to run, and does not.
        assert!(matches!(&all[2].state, State::Ended(ended) if ended.reason == "ContainerStatusUnknown"));
        assert_eq!(all[2].restarts(), 2);
    }

    #[test]
    fn a_life_that_was_not_told_is_not_ready_before_its_probe_says_so() {
        let mut pod = pod("Always", json!([]));
        pod.spec.as_mut().unwrap().containers[0].readiness_probe =
            Some(k8s_openapi::api::core::v1::Probe::default());
        let mut all = members(&pod);
        let (running, _) = recall(&pod, &mut all, vec![record("a", 0, '1'), record("b", 0, '2')]);
        assert_eq!(running.len(), 2);
        assert_eq!((all[0].started, all[0].ready), (true, false));
        assert_eq!((all[1].started, all[1].ready), (true, true));
    }
}
