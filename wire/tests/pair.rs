//! Publisher and subscriber, with the messages between them in the test's hands.
#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mesh::{
    names::ObjectName,
    resource::{
        AuthScheme, Backend, BackendKind, BackendTarget, Hidden, Key, Kind, Resource, Secret, Service,
        Traffic, UpstreamAuth,
    },
};
use proto::{
    envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource as Sent},
    strait::v1::Any,
};
use support::*;
use wire::{
    encode::{RESOURCE_BYTES_MAX, encode},
    publish::{Edit, Publisher, Silent},
};

/// One workload on n1, with its set, policy and placement.
fn world() -> Vec<Resource> {
    vec![
        ranges(),
        policy("grants", "r1"),
        set("s1", &["grants"]),
        workload("a", Shape { node: "n1", set: "s1", address: Some([10, 0, 0, 1]), ..Shape::default() }),
        placement("a"),
    ]
}

fn connected(publisher: &Publisher) -> Pair {
    let mut pair = Pair::new();
    pair.connect(publisher, node("n1"));
    pair.settle();
    pair
}

#[test]
fn a_checkpoint_is_whole() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let pair = connected(&publisher);
    let seen = pair.seen.lock();
    assert_eq!(seen.batches.len(), 1);
    assert_eq!(seen.held.len(), 5);
    assert_eq!(seen.missing(), []);
    let checkpoint = seen.checkpoint.clone().unwrap();
    assert_eq!((checkpoint.epoch.as_str(), checkpoint.generation), ("e1", 1));
}

#[test]
fn a_publisher_that_was_not_told_yet_says_nothing() {
    let publisher = publisher("e1");
    let mut pair = connected(&publisher);
    assert!(pair.seen.lock().batches.is_empty());
    publisher.update(Vec::new(), None);
    pair.settle();
    assert_eq!(pair.seen.lock().batches.len(), 1, "an empty world is an answer, too");
}

#[test]
fn of_a_thousand_workloads_one_edit_sends_one_resource() {
    let publisher = publisher("e1");
    let mut resources = vec![ranges(), policy("grants", "r1"), set("s1", &["grants"])];
    resources.push(service("tools", "s1", None));
    let shape = Shape { node: "n1", set: "s1", serves: &["tools"], ..Shape::default() };
    resources.extend((0..1000).map(|n| workload(&format!("w{n}"), shape.clone())));
    publisher.update(edits(resources), None);
    let mut pair = connected(&publisher);
    assert_eq!(pair.sent, 1003, "the service was not asked for");
    pair.ask("tools.shop.svc.cluster.local");
    pair.settle();
    assert_eq!(pair.sent, 1004);
    publisher.update(edits([workload("w7", Shape { capacity: 9, ..shape })]), None);
    pair.settle();
    assert_eq!(pair.sent, 1005);
    publisher.update(edits([policy("grants", "r2")]), None);
    pair.settle();
    assert_eq!(pair.sent, 1007, "the policy and the set that names its version");
}

#[test]
fn the_same_again_sends_nothing() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    let generation = publisher.generation();
    publisher.update(edits(world()), None);
    pair.settle();
    assert_eq!((pair.seen.lock().batches.len(), publisher.generation()), (1, generation));
}

#[test]
fn another_nodes_edit_is_not_told() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    publisher.update(edits([workload("b", Shape { node: "n2", set: "s1", ..Shape::default() })]), None);
    pair.settle();
    assert_eq!(pair.seen.lock().batches.len(), 1);
    assert!(!pair.holds(Kind::Workload, &uid("b")));
}

#[test]
fn a_set_names_the_versions_of_its_members() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let pair = connected(&publisher);
    let seen = pair.seen.lock();
    let version = &seen.held[&Key::new(Kind::Policy, object("grants"))].0;
    let Resource::PolicySet(set) = &seen.held[&Key::new(Kind::PolicySet, "s1")].1 else { panic!("a set") };
    assert_eq!(set.stages[0].policies[0].version.as_ref(), Some(version));
}

#[test]
fn what_nobody_refers_to_any_more_is_taken_away() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    publisher.update(vec![Edit::Remove(Key::new(Kind::Workload, uid("a")))], None);
    pair.settle();
    let held: Vec<Kind> = pair.seen.lock().held.keys().map(|key| key.kind).collect();
    assert_eq!(held, [Kind::Ranges]);
}

#[test]
fn a_circle_that_nothing_refers_to_any_more_is_taken_away() {
    let publisher = publisher("e1");
    // The waypoint's own workload is dialled through the waypoint: nonsense, and still no reason to keep it.
    let circle = Shape { node: "n2", set: "s1", serves: &["wp"], dial: Some("wp"), ..Shape::default() };
    let mut resources = world();
    resources.extend([
        service("wp", "s1", None),
        workload("wp", circle),
        workload("b", Shape { node: "n1", set: "s1", dial: Some("wp"), ..Shape::default() }),
    ]);
    publisher.update(edits(resources), None);
    let mut pair = connected(&publisher);
    assert!(pair.holds(Kind::Workload, &uid("wp")));
    publisher.update(vec![Edit::Remove(Key::new(Kind::Workload, uid("b")))], None);
    pair.settle();
    assert!(!pair.holds(Kind::Workload, &uid("wp")));
    assert!(!pair.holds(Kind::Service, &service_key("wp").to_string()));
}

#[test]
fn after_a_reconnect_only_what_changed_is_sent() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    assert_eq!(pair.sent, 5);
    pair.connect(&publisher, node("n1"));
    pair.settle();
    assert_eq!(pair.sent, 5, "nothing is sent again");
    pair.disconnect();
    publisher.update(edits([policy("grants", "r2")]), None);
    publisher.update(vec![Edit::Remove(Key::new(Kind::Placement, uid("a")))], None);
    pair.connect(&publisher, node("n1"));
    pair.settle();
    assert_eq!(pair.sent, 8, "a policy, its set, and a removal");
    assert!(!pair.holds(Kind::Placement, &uid("a")));
}

#[test]
fn after_a_restart_of_the_publisher_nothing_is_sent_again() {
    let first = publisher("e1");
    first.update(edits(world()), None);
    let mut pair = connected(&first);
    let second = publisher("e2");
    let mut reversed = world();
    reversed.reverse();
    second.update(edits(reversed), None);
    pair.connect(&second, node("n1"));
    pair.settle();
    assert_eq!(pair.sent, 5, "versions are equal on every replica");
    assert_eq!(pair.state.checkpoint().map(|it| it.epoch.as_str()), Some("e2"));
}

#[test]
fn after_a_restart_of_the_subscriber_what_the_disk_has_is_not_sent_again() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let pair = connected(&publisher);
    let stored = pair.state.stored(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let before = pair.seen.lock().versions();
    drop(pair);
    publisher.update(edits([policy("grants", "r2")]), None);

    let mut again = Pair::new();
    again.state.restore(stored);
    again.connect(&publisher, node("n1"));
    assert!(again.seen.lock().batches.is_empty(), "the disk is not told before its time");
    again.settle();
    assert_eq!(again.sent, 2, "the policy and its set");
    let seen = again.seen.lock();
    assert_eq!(seen.batches.len(), 1, "one whole, of both");
    assert_eq!(seen.held.len(), before.len());
    assert_ne!(seen.versions(), before);
    assert_eq!(seen.missing(), []);
}

#[test]
fn the_disk_is_told_once_and_only_when_nothing_better_is_known() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    assert!(!pair.state.tell_from_disk(Duration::ZERO));
    let stored = pair.state.stored(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let mut again = Pair::new();
    assert!(!again.state.tell_from_disk(Duration::ZERO), "nothing was read");
    again.state.restore(stored);
    assert!(again.state.tell_from_disk(Duration::from_secs(40)));
    assert!(!again.state.tell_from_disk(Duration::ZERO));
    assert_eq!(again.seen.lock().versions(), pair.seen.lock().versions());
    again.connect(&publisher, node("n1"));
    again.settle();
    assert_eq!((again.sent, again.seen.lock().batches.len()), (0, 2));
}

#[test]
fn a_slow_subscriber_gets_the_latest_once() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    publisher.update(edits([policy("grants", "r2")]), None);
    while pair.step_down().unwrap() {}
    // The push is not acknowledged: nothing more comes, however much happens.
    for round in 0..100 {
        publisher.update(edits([policy("grants", &format!("round {round}"))]), None);
    }
    assert!(!pair.step_down().unwrap());
    let state = &publisher.subscribers()[0];
    assert!(state.in_flight);
    assert_eq!(state.pending, 2, "the policy and its set, not a hundred of each");
    let sent = pair.sent;
    pair.settle();
    assert_eq!(pair.sent, sent + 2);
    let Resource::Policy(policy) = pair.seen.lock().held[&Key::new(Kind::Policy, object("grants"))].1.clone()
    else {
        panic!("a policy")
    };
    assert_eq!(&*policy.rules[0].name, "round 99");
}

#[test]
fn what_comes_back_to_what_is_held_is_not_sent() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    publisher.update(edits([placement("nobody's")]), None);
    publisher.update(edits([policy("grants", "r2")]), None);
    publisher.update(edits([policy("grants", "r1")]), None);
    pair.settle();
    assert_eq!((pair.sent, pair.seen.lock().batches.len()), (5, 1));
}

#[test]
fn what_the_program_rejects_is_refused_by_name_and_the_former_stays() {
    let answers = Arc::new(Answers::default());
    let publisher = Publisher::new("e1", Arc::new(ByNode), Arc::clone(&answers) as _);
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    let key = Key::new(Kind::Policy, object("grants"));
    let bad = policy("grants", "bad");
    pair.seen.lock().reject.push((bad.clone(), "no; really: not".to_owned()));
    let good = workload("a", Shape { node: "n1", set: "s1", capacity: 5, ..Shape::default() });
    publisher.update(edits([bad, good]), None);
    pair.settle();
    let standing = publisher.standing(&key);
    assert_eq!((standing.wanted, standing.applied), (1, 0));
    assert_eq!(standing.refused, [(node("n1"), "no, really: not".to_owned())]);
    assert_eq!(publisher.standing(&Key::new(Kind::Workload, uid("a"))).applied, 1, "the rest is applied");
    assert!(matches!(&pair.seen.lock().held[&key].1, Resource::Policy(it) if &*it.rules[0].name == "r1"));
    assert_eq!(
        *answers.0.lock(),
        [
            "connected node n1 n".to_owned(),
            "node n1 applied 1".to_owned(),
            format!("node n1 refused {key}: no, really: not"),
            format!(
                "node n1 refused PolicySet s1: its member {} is not held in the version that it names",
                object("grants")
            ),
            "node n1 applied 2".to_owned(),
        ]
    );
    // The older version is presented, so the newer one comes again, and is refused again.
    pair.connect(&publisher, node("n1"));
    pair.settle();
    assert_eq!(publisher.standing(&key).refused.len(), 1);
    publisher.update(edits([policy("grants", "better")]), None);
    pair.settle();
    let standing = publisher.standing(&key);
    assert_eq!((standing.applied, standing.refused.len()), (1, 0));
}

#[test]
fn a_set_stays_with_the_policy_that_it_names_also_on_the_disk() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    let good = pair.state.stored(std::time::SystemTime::UNIX_EPOCH).unwrap().resources;
    let bad = policy("grants", "bad");
    pair.seen.lock().reject.push((bad.clone(), "no".to_owned()));
    publisher.update(edits([bad]), None);
    pair.settle();
    assert_eq!(pair.state.stored(std::time::SystemTime::UNIX_EPOCH).unwrap().resources, good);
    let refused = publisher.standing(&Key::new(Kind::PolicySet, "s1")).refused;
    assert_eq!(refused.len(), 1, "the set is not in force either, and says so");
    assert!(refused[0].1.contains("AccessPolicy/shop/grants"));
}

#[test]
fn what_was_asked_for_before_the_beginning_follows_changes() {
    let publisher = publisher("e1");
    let link = publisher.subscribe(node("n1"));
    let recorder = Recorder::default();
    let mut state = wire::subscribe::State::new(config(None), Box::new(recorder.clone()));
    drop(state.ask(
        "tools.shop.svc.cluster.local".parse().unwrap(),
        tokio::sync::oneshot::channel().0,
        std::time::Instant::now(),
    ));
    let requests = state.open();
    let (begin, types) = requests.split_last().unwrap();
    types.iter().for_each(|request| link.take(request.clone()).unwrap());
    // Between the name and the beginning.
    publisher.update(edits([service("tools", "s1", None)]), None);
    link.take(begin.clone()).unwrap();
    for response in link.push().unwrap() {
        state.take(response).unwrap();
    }
    let held: Vec<Kind> = recorder.0.lock().held.keys().map(|key| key.kind).collect();
    assert_eq!(held, [Kind::Service]);
}

#[test]
fn what_replaces_the_disks_and_is_rejected_leaves_the_disks() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let stored = connected(&publisher).state.stored(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let bad = policy("grants", "bad");
    publisher.update(edits([bad.clone()]), None);
    let mut again = Pair::new();
    again.seen.lock().reject.push((bad, "no".to_owned()));
    again.state.restore(stored);
    again.connect(&publisher, node("n1"));
    again.settle();
    let key = Key::new(Kind::Policy, object("grants"));
    assert!(matches!(&again.seen.lock().held[&key].1, Resource::Policy(it) if &*it.rules[0].name == "r1"));
}

#[test]
fn a_malformed_resource_rejects_only_itself() {
    let mut pair = Pair::new();
    pair.state.open();
    let good = encode(&policy("good", "r")).unwrap();
    let sent = |name: &str, value: &[u8]| Sent {
        version: "v".to_owned(),
        resource: Some(Any {
            type_url: good.type_url().to_owned(),
            value: bytes::Bytes::copy_from_slice(value),
        }),
        name: name.to_owned(),
        aliases: Vec::new(),
    };
    let response = DeltaDiscoveryResponse {
        type_url: good.type_url().to_owned(),
        nonce: "1".to_owned(),
        resources: vec![
            sent("AccessPolicy/shop/garbage", b"\xff\xff"),
            sent(&good.key.name, &good.value),
            sent("AccessPolicy/shop/misnamed", &good.value),
            sent("AccessPolicy/shop/large", &vec![0; RESOURCE_BYTES_MAX + 1]),
            Sent { resource: None, ..sent("AccessPolicy/shop/nothing", b"") },
        ],
        ..DeltaDiscoveryResponse::default()
    };
    assert!(pair.state.take(response).unwrap().requests.is_empty(), "nothing counts before the checkpoint");
    let checkpoint = wire::encode::CHECKPOINT_TYPE;
    let end = DeltaDiscoveryResponse {
        type_url: checkpoint.to_owned(),
        nonce: "2".to_owned(),
        resources: vec![Sent {
            resource: Some(Any { type_url: checkpoint.to_owned(), value: bytes::Bytes::new() }),
            ..Sent::default()
        }],
        ..DeltaDiscoveryResponse::default()
    };
    let reply = pair.state.take(end).unwrap();
    assert_eq!(reply.requests.len(), 2);
    let message = &reply.requests[0].error_detail.as_ref().unwrap().message;
    for name in ["garbage", "misnamed", "large", "nothing"] {
        assert!(message.contains(&format!("AccessPolicy/shop/{name}: ")), "{name} in {message}");
    }
    assert!(reply.requests[1].error_detail.is_none());
    assert_eq!(pair.seen.lock().held.len(), 1);
}

#[test]
fn a_name_is_answered_with_all_that_it_needs() {
    let publisher = publisher("e1");
    let mut resources = world();
    resources.extend([
        set("s2", &[]),
        service("wp", "s2", None),
        workload("wp", Shape { node: "n3", set: "s2", serves: &["wp"], ..Shape::default() }),
        service("tools", "s2", Some("wp")),
        workload(
            "t",
            Shape { node: "n2", set: "s2", serves: &["tools"], dial: Some("wp"), ..Shape::default() },
        ),
    ]);
    publisher.update(edits(resources), None);
    let mut pair = connected(&publisher);
    assert!(!pair.holds(Kind::Service, &service_key("tools").to_string()));
    let mut answer = pair.ask("tools.shop.svc.cluster.local");
    assert!(answer.try_recv().is_err());
    pair.settle();
    assert_eq!(answer.try_recv(), Ok(Ok(())));
    assert_eq!(pair.seen.lock().missing(), []);
    for workload in ["t", "wp"] {
        assert!(pair.holds(Kind::Workload, &uid(workload)), "{workload}");
    }
    // An endpoint that comes later comes too.
    let shape = Shape { node: "n4", set: "s2", serves: &["tools"], ..Shape::default() };
    publisher.update(edits([workload("late", shape)]), None);
    pair.settle();
    assert!(pair.holds(Kind::Workload, &uid("late")));
}

#[test]
fn who_only_asks_for_a_name_is_told_no_secret() {
    let publisher = publisher("e1");
    let secret = |name: &str| {
        let data = BTreeMap::from([("token".into(), Hidden("canary".into()))]);
        Resource::Secret(Arc::new(Secret { name: ObjectName::new("Secret", "shop", name), data }))
    };
    let backend = |name: &str| {
        let auth = UpstreamAuth {
            secret: ObjectName::new("Secret", "shop", name),
            key: "token".into(),
            scheme: AuthScheme::Bearer,
        };
        Resource::Backend(Arc::new(Backend {
            name: ObjectName::new("AgentBackend", "shop", name),
            hostnames: Vec::new(),
            kind: BackendKind::Host { target: BackendTarget::Broken("a test".into()), auth: Some(auth) },
            set: "s2".into(),
            traffic: Traffic::default(),
            catalogue: None,
            broken: None,
        }))
    };
    let fronted = |name: &str| {
        let Resource::Service(made) = service(name, "s2", None) else { unreachable!("it makes services") };
        let mut made = Service::clone(&made);
        for port in made.ports.values_mut() {
            port.backend = Some(ObjectName::new("AgentBackend", "shop", name));
        }
        Resource::Service(Arc::new(made))
    };
    let mut resources = world();
    resources.push(set("s2", &[]));
    for name in ["own", "other"] {
        resources.extend([secret(name), backend(name), fronted(name)]);
    }
    resources.push(workload("b", Shape { node: "n1", set: "s1", dial: Some("own"), ..Shape::default() }));
    publisher.update(edits(resources), None);
    let mut pair = connected(&publisher);
    let mut answer = pair.ask("other.shop.svc.cluster.local");
    pair.settle();
    assert_eq!(answer.try_recv(), Ok(Ok(())));
    assert!(pair.holds(Kind::Backend, "AgentBackend/shop/other"));
    assert!(pair.holds(Kind::Secret, "Secret/shop/own"));
    assert!(!pair.holds(Kind::Secret, "Secret/shop/other"));
}

#[test]
fn what_is_not_in_the_mesh_is_an_answer_that_enrolment_withdraws() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    let mut answer = pair.ask("east/10.0.0.9");
    pair.settle();
    assert_eq!(answer.try_recv(), Ok(Ok(())));
    assert!(pair.holds(Kind::Absence, "east/10.0.0.9"));
    let shape = Shape { node: "n2", set: "s1", address: Some([10, 0, 0, 9]), ..Shape::default() };
    publisher.update(edits([workload("nine", shape)]), None);
    pair.settle();
    assert!(!pair.holds(Kind::Absence, "east/10.0.0.9"));
    assert!(pair.holds(Kind::Workload, &uid("nine")));
    publisher.update(vec![Edit::Remove(Key::new(Kind::Workload, uid("nine")))], None);
    pair.settle();
    assert!(pair.holds(Kind::Absence, "east/10.0.0.9"));
}

#[test]
fn what_was_asked_for_before_is_asked_for_again_on_a_new_stream() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    pair.disconnect();
    let mut answer = pair.ask("east/10.0.0.9");
    pair.connect(&publisher, node("n1"));
    pair.settle();
    assert_eq!(answer.try_recv(), Ok(Ok(())));
    pair.connect(&publisher, node("n1"));
    pair.settle();
    assert!(pair.holds(Kind::Absence, "east/10.0.0.9"));
}

#[test]
fn what_nobody_uses_is_given_up() {
    let publisher = publisher("e1");
    publisher.update(edits(world()), None);
    let mut pair = connected(&publisher);
    drop(pair.ask("east/10.0.0.9"));
    pair.settle();
    pair.seen.lock().in_use = true;
    pair.sweep(Duration::from_secs(3600));
    pair.settle();
    assert!(pair.holds(Kind::Absence, "east/10.0.0.9"));
    pair.seen.lock().in_use = false;
    pair.sweep(Duration::from_secs(7200));
    pair.settle();
    assert!(!pair.holds(Kind::Absence, "east/10.0.0.9"));
}

#[test]
fn a_replica_that_is_behind_what_was_seen_waits() {
    let ahead = publisher("e1");
    ahead.update(edits(world()), Some(10));
    let mut pair = connected(&ahead);
    let behind = publisher("e2");
    behind.update(edits([ranges()]), Some(9));
    pair.connect(&behind, node("n1"));
    pair.settle();
    assert_eq!(pair.seen.lock().batches.len(), 1, "the older world is not told");
    behind.update(edits(world()), Some(10));
    pair.settle();
    assert_eq!(pair.seen.lock().batches.len(), 2);
    assert_eq!(pair.seen.lock().held.len(), 5);
}

#[test]
fn what_cannot_be_encoded_rejects_only_itself() {
    let publisher = publisher("e1");
    let mut resources = world();
    resources.push(policy("large", &"x".repeat(RESOURCE_BYTES_MAX)));
    let rejected = publisher.update(edits(resources), None);
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].key, Key::new(Kind::Policy, object("large")));
    assert_eq!(publisher.read(wire::publish::Table::len), 5);
}

#[test]
fn a_caller_can_be_cut_off() {
    let publisher = Publisher::new("e1", Arc::new(ByNode), Arc::new(Silent));
    publisher.update(edits(world()), None);
    let link = publisher.subscribe(node("n1"));
    assert!(link.push().is_ok());
    publisher.disconnect(&node("n2"));
    assert!(link.push().is_ok());
    publisher.disconnect(&node("n1"));
    assert!(link.push().is_err());
}
