//! What a pod needs next. Pure: it reads what is, and says what to do.

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use super::member::{Member, Role, State};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Start the container at this place in the list.
    Start(usize),
    /// Nothing before this time.
    WaitUntil(Instant),
    /// Nothing before something happens.
    Wait,
    /// The pod is at its end; stop what still runs (sidecars).
    Finish,
}

/// The next step for a pod that nobody wants to stop.
pub fn next(pod: &Pod, members: &[Member], now: Instant) -> Step {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    if over(policy, members) {
        return Step::Finish;
    }
    let mut due: Option<Instant> = None;
    // Once the pod's own containers have begun, init containers are history.
    let begun = members.iter().any(|member| member.role == Role::Main && member.next_attempt > 0);
    for (at, member) in members.iter().enumerate() {
        let wanted = match member.role {
            Role::Init => !begun && !done(member),
            Role::Sidecar => true,
            Role::Main => again(policy, member),
            Role::Ephemeral => member.next_attempt == 0 && begun,
        };
        let runs = member.running().is_some();
        if wanted && !runs {
            match member.not_before.filter(|&time| time > now) {
                None => return Step::Start(at),
                Some(time) => due = Some(due.map_or(time, |due| due.min(time))),
            }
        }
        let holds_up = match member.role {
            Role::Init => wanted,
            Role::Sidecar => !begun && !member.started,
            Role::Main | Role::Ephemeral => false,
        };
        // As with Kubernetes, nothing else begins before a postStart hook has ended.
        if holds_up || member.hooking {
            break;
        }
    }
    due.map_or(Step::Wait, Step::WaitUntil)
}

fn done(member: &Member) -> bool {
    matches!(&member.state, State::Ended(ended) if ended.code == 0)
}

/// Whether a main container is to be (re)started.
fn again(policy: &str, member: &Member) -> bool {
    match member.end() {
        None => true,
        Some(ended) => match policy {
            "Never" => false,
            "OnFailure" => ended.code != 0,
            _ => true,
        },
    }
}

/// Whether the pod has come to its end by itself.
pub fn over(policy: &str, members: &[Member]) -> bool {
    let failed_init = members.iter().any(|member| {
        let ended = member.end().filter(|ended| ended.code != 0);
        member.role == Role::Init && policy == "Never" && ended.is_some()
    });
    let mut mains = members.iter().filter(|member| member.role == Role::Main);
    failed_init || mains.all(|member| member.end().is_some() && !again(policy, member))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::{backoff::Backoff, containers::ContainerId, pods::member::Ended};

    pub(crate) fn pod(policy: &str, inits: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"restartPolicy": policy,
            "initContainers": inits, "containers": [{"name": "a"}, {"name": "b"}]}}))
        .unwrap()
    }

    pub(crate) fn members(pod: &Pod) -> Vec<Member> {
        Member::of(pod, &Backoff::new(Duration::from_secs(10), Duration::from_secs(300)))
    }

    pub(crate) fn run(member: &mut Member) {
        let id = ContainerId::known("0123456789abcdef0123456789abcdef").unwrap();
        member.state = State::Running { id, started: jiff::Timestamp::UNIX_EPOCH };
        member.next_attempt += 1;
        (member.started, member.ready) = (true, true);
    }

    pub(crate) fn end(member: &mut Member, code: i32) {
        member.state = State::Ended(Ended {
            id: None,
            code,
            signal: None,
            reason: if code == 0 { "Completed" } else { "Error" }.into(),
            message: None,
            started: None,
            finished: jiff::Timestamp::UNIX_EPOCH,
        });
        (member.started, member.ready) = (false, false);
    }

    #[test]
    fn init_containers_run_one_after_the_other_and_sidecars_stay() {
        let pod =
            pod("Always", json!([{"name": "i"}, {"name": "s", "restartPolicy": "Always"}, {"name": "j"}]));
        let mut all = members(&pod);
        let now = Instant::now();
        assert_eq!(next(&pod, &all, now), Step::Start(0));
        run(&mut all[0]);
        assert_eq!(next(&pod, &all, now), Step::Wait);
        end(&mut all[0], 1);
        assert_eq!(next(&pod, &all, now), Step::Start(0), "a failed one again");
        run(&mut all[0]);
        end(&mut all[0], 0);
        assert_eq!(next(&pod, &all, now), Step::Start(1));
        run(&mut all[1]);
        all[1].started = false;
        assert_eq!(next(&pod, &all, now), Step::Wait, "a sidecar must have started");
        all[1].started = true;
        assert_eq!(next(&pod, &all, now), Step::Start(2));
        run(&mut all[2]);
        end(&mut all[2], 0);
        assert_eq!(next(&pod, &all, now), Step::Start(3));
        run(&mut all[3]);
        run(&mut all[4]);
        assert_eq!(next(&pod, &all, now), Step::Wait);
        end(&mut all[1], 0);
        assert_eq!(next(&pod, &all, now), Step::Start(1), "a sidecar always again");
    }

    #[test]
    fn the_restart_policy_says_what_an_end_means() {
        let now = Instant::now();
        for (policy, code, expected) in [
            ("Always", 0, Step::Start(0)),
            ("OnFailure", 1, Step::Start(0)),
            ("OnFailure", 0, Step::Finish),
            ("Never", 1, Step::Finish),
        ] {
            let pod = pod(policy, json!([]));
            let mut all = members(&pod);
            run(&mut all[0]);
            run(&mut all[1]);
            end(&mut all[0], code);
            end(&mut all[1], 0);
            assert_eq!(next(&pod, &all, now), expected, "{policy} {code}");
        }
        let pod = pod("Never", json!([{"name": "i"}]));
        let mut all = members(&pod);
        run(&mut all[0]);
        end(&mut all[0], 1);
        assert_eq!(next(&pod, &all, now), Step::Finish, "a failed init container");
    }

    #[test]
    fn a_pause_is_kept_and_others_are_not_held_up_by_it() {
        let pod = pod("Always", json!([]));
        let mut all = members(&pod);
        let now = Instant::now();
        all[0].not_before = Some(now + Duration::from_secs(10));
        assert_eq!(next(&pod, &all, now), Step::Start(1));
        run(&mut all[1]);
        assert_eq!(next(&pod, &all, now), Step::WaitUntil(now + Duration::from_secs(10)));
        assert_eq!(next(&pod, &all, now + Duration::from_secs(10)), Step::Start(0));
    }
}
