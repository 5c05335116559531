use serde_json::json;

use super::*;
use crate::pods::decide::tests::{end, members, pod, run};

fn around() -> Around {
    Around {
        host_ip: [10, 51, 0, 11].into(),
        ips: vec![[10, 11, 1, 7].into()],
        sandbox: true,
        since: jiff::Timestamp::UNIX_EPOCH,
        failed: None,
        now: jiff::Timestamp::UNIX_EPOCH,
    }
}

fn check(policy: &str, change: impl Fn(&mut [Member]), phase: &str, ready: &str) {
    let pod = pod(policy, json!([{"name": "i"}]));
    let mut all = members(&pod);
    change(&mut all);
    let status = status(&pod, &all, &around(), &[]);
    assert_eq!(status.phase.as_deref(), Some(phase));
    let conditions = status.conditions.unwrap();
    let found = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(found.status, ready);
}

#[test]
fn phase_and_readiness_follow_the_containers() {
    check("Always", |_| {}, "Pending", "False");
    check("Always", |all| run(&mut all[0]), "Pending", "False");
    let begin = |all: &mut [Member]| {
        run(&mut all[0]);
        end(&mut all[0], 0);
        run(&mut all[1]);
        run(&mut all[2]);
    };
    check("Always", begin, "Running", "True");
    let one_not_ready = |all: &mut [Member]| {
        begin(all);
        all[2].ready = false;
    };
    check("Always", one_not_ready, "Running", "False");
    let both_end = |code: i32| {
        move |all: &mut [Member]| {
            begin(all);
            end(&mut all[1], code);
            end(&mut all[2], 0);
        }
    };
    check("Always", both_end(0), "Running", "False");
    check("Never", both_end(0), "Succeeded", "False");
    check("Never", both_end(1), "Failed", "False");
    check("OnFailure", both_end(0), "Succeeded", "False");
    check("OnFailure", both_end(1), "Running", "False");
    let init_failed = |all: &mut [Member]| {
        run(&mut all[0]);
        end(&mut all[0], 3);
    };
    check("Never", init_failed, "Failed", "False");
}

#[test]
fn a_container_waits_until_its_hook_has_ended_and_so_do_those_after_it() {
    let pod = pod("Always", json!([]));
    let mut all = members(&pod);
    run(&mut all[0]);
    all[0].hooking = true;
    let told = status(&pod, &all, &around(), &[]);
    let first = &told.container_statuses.unwrap()[0];
    assert_eq!(told.phase.as_deref(), Some("Pending"));
    let waiting = first.state.as_ref().unwrap().waiting.as_ref().unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("ContainerCreating"));
    assert_eq!(first.container_id, None);
    let now = tokio::time::Instant::now();
    assert_eq!(decide::next(&pod, &all, now), decide::Step::Wait);
    all[0].begin();
    assert_eq!(decide::next(&pod, &all, now), decide::Step::Start(1));
    assert_eq!(status(&pod, &all, &around(), &[]).phase.as_deref(), Some("Running"));
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let pod = pod("Always", json!([]));
    let all = members(&pod);
    let first = status(&pod, &all, &around(), &[]).conditions.unwrap();
    let later = Around { now: jiff::Timestamp::from_second(100).unwrap(), ..around() };
    assert_eq!(status(&pod, &all, &later, &first).conditions.unwrap(), first);
    let lost = Around { sandbox: false, ..later };
    let changed = status(&pod, &all, &lost, &first).conditions.unwrap();
    assert_ne!(changed[0].last_transition_time, first[0].last_transition_time);
    assert_eq!(changed[1], first[1]);
}

#[test]
fn a_gate_holds_readiness_back() {
    let mut pod = pod("Always", json!([]));
    pod.spec.as_mut().unwrap().readiness_gates =
        serde_json::from_value(json!([{"conditionType": "mesh/ready"}])).unwrap();
    let mut all = members(&pod);
    run(&mut all[0]);
    run(&mut all[1]);
    let ready = |pod: &Pod| status(pod, &all, &around(), &[]).conditions.unwrap()[2].status.clone();
    assert_eq!(ready(&pod), "False");
    pod.status =
        serde_json::from_value(json!({"conditions": [{"type": "mesh/ready", "status": "True"}]})).unwrap();
    assert_eq!(ready(&pod), "True");
}
