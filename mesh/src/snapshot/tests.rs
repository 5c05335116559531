use proptest::prelude::*;

use super::*;
use crate::{
    access::{Verdict, judge},
    denial::Reason,
    fixtures::*,
    names::NetworkAddress,
    resource::{Absence, Action, DefaultAccess, Health, Kind, Policy, PolicyRef, StageKind},
};

const TOOLS: &str = "shop/tools.shop.svc.cluster.local";

fn version(text: &str, resource: impl Into<Resource>) -> Change {
    Change::Set(text.into(), resource.into())
}

fn gone(kind: Kind, name: impl std::fmt::Display) -> Change {
    Change::Remove(Key::new(kind, name))
}

fn set_of(deny: &str, allow: &str) -> PolicySet {
    let mut set = set("set", &[(StageKind::Target, &["deny", "allow"])], DefaultAccess::None);
    for (member, version) in set.stages[0].policies.iter_mut().zip([deny, allow]) {
        member.version = Some(version.into());
    }
    set
}

fn allow(who: &str) -> Policy {
    policy("allow", Action::Allow, vec![rule("r", principal(who))])
}

fn deny(who: &str) -> Policy {
    policy("deny", Action::Deny, vec![rule("r", principal(who))])
}

/// What happened to each resource, in its order. First `intern` gets nothing and nobody is denied; then `intern`
/// is among those granted, and denied. Whoever mixes both lets `intern` in.
fn histories() -> Vec<Vec<Change>> {
    let tools = |last| workload("tools-1", last).serving(TOOLS, 80, 8080);
    let any_planner = policy("allow", Action::Allow, vec![rule("r", principal("shop/planner"))]);
    let anybody = policy("allow", Action::Allow, vec![rule("r", anyone())]);
    let absent = Absence::Address(NetworkAddress { network: "east".into(), address: [10, 20, 0, 11].into() });
    vec![
        vec![version("1", any_planner), version("2", anybody)],
        vec![version("1", deny("shop/nobody")), version("2", deny("shop/intern"))],
        vec![version("1", set_of("1", "1")), version("2", set_of("2", "2"))],
        vec![
            version("1", tools(11)),
            version("2", crate::resource::Workload { health: Health::Unhealthy, ..tools(12) }),
            version("3", tools(13)),
        ],
        vec![
            version("1", workload("tools-2", 14).serving(TOOLS, 80, 80)),
            gone(Kind::Workload, uid("tools-2")),
        ],
        vec![version("1", workload("tools-3", 14).serving(TOOLS, 80, 80))],
        vec![version("1", service(TOOLS, 1, 80)), version("2", service(TOOLS, 2, 80))],
        vec![version("1", absent.clone()), gone(Kind::Absence, &absent)],
        vec![version("1", bundle("east.example"))],
        ranges().into_iter().map(|it| version("1", it)).collect(),
    ]
}

/// Everything that can be seen of a snapshot by what looks things up in it.
fn seen(snapshot: &Snapshot) -> String {
    let mut lines: Vec<String> = Vec::new();
    lines.extend(snapshot.workloads().map(|it| format!("{it:?}")));
    lines.extend(snapshot.services().map(|it| format!("{it:?}")));
    lines.extend(snapshot.bundles().map(|it| format!("{it:?}")));
    lines.extend(snapshot.ranges().map(|it| format!("{it:?}")));
    lines.extend((0..20).map(|last| {
        let address = [10, 20, 0, last].into();
        let owner = snapshot.workload_at(&"east".into(), address).map(|it| it.uid.clone());
        format!("{last} {owner:?} {}", snapshot.is_absent_address(&"east".into(), address))
    }));
    lines.extend((0..3).map(|vip| {
        let service = snapshot.service_at([10, 20, 255, vip].into(), "shop");
        format!("{vip} {:?}", service.map(|it| &it.key))
    }));
    lines.push(format!("{:?}", snapshot.endpoints(&key(TOOLS)).map(|it| &it.uid).collect::<Vec<_>>()));
    lines.push(format!("{:?}", snapshot.set(&"set".into())));
    lines.sort();
    lines.join("\n")
}

/// Takes the histories apart: each number chooses whose turn it is, so that each keeps its own order.
fn interleave(mut histories: Vec<Vec<Change>>, turns: &[usize]) -> Vec<Change> {
    let mut all = Vec::new();
    for turn in turns.iter().copied().chain(std::iter::repeat(0)) {
        histories.retain(|history| !history.is_empty());
        if histories.is_empty() {
            break;
        }
        let chosen = turn % histories.len();
        all.push(histories[chosen].remove(0));
    }
    all
}

fn is_granted(snapshot: &Snapshot, who: &str) -> bool {
    matches!(judge(snapshot, &"set".into(), &facts(verified(who))).verdict, Verdict::Granted(_))
}

proptest! {
    #[test]
    fn every_order_ends_in_the_same_state_and_none_is_open_on_the_way(
        turns in proptest::collection::vec(0..1000usize, 0..40),
        cuts in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let wanted = {
            let all = histories().into_iter().flatten().collect();
            seen(&Snapshot::default().apply(all, &NoExpressions).snapshot)
        };
        let mut snapshot = Snapshot::default();
        let mut batch = Vec::new();
        for (index, change) in interleave(histories(), &turns).into_iter().enumerate() {
            batch.push(change);
            if cuts[index % cuts.len()] {
                snapshot = snapshot.apply(std::mem::take(&mut batch), &NoExpressions).snapshot;
                // Neither complete set lets `intern` in, and no mixture may.
                prop_assert!(!is_granted(&snapshot, "shop/intern"));
            }
        }
        snapshot = snapshot.apply(batch, &NoExpressions).snapshot;
        prop_assert_eq!(seen(&snapshot), wanted);
        prop_assert!(is_granted(&snapshot, "shop/planner") && !is_granted(&snapshot, "shop/intern"));
    }

    #[test]
    fn a_table_is_a_map(writes in proptest::collection::vec((0..500u32, proptest::option::of(0..9u32)), 0..1500)) {
        let mut table = Table::default();
        let mut map = std::collections::HashMap::new();
        let mut earlier = Vec::new();
        for (index, (key, value)) in writes.into_iter().enumerate() {
            let (ours, theirs) = match value {
                Some(value) => (table.insert(key, value), map.insert(key, value)),
                None => (table.remove(&key), map.remove(&key)),
            };
            prop_assert_eq!(ours, theirs);
            if index % 100 == 0 {
                earlier.push((table.clone(), map.clone()));
            }
        }
        earlier.push((table, map));
        for (table, map) in earlier {
            prop_assert_eq!(table.len(), map.len());
            let content: std::collections::HashMap<_, _> = table.iter().map(|(key, value)| (*key, *value)).collect();
            prop_assert_eq!(content, map);
        }
    }
}

#[test]
fn a_set_rules_only_when_it_is_complete() {
    let start = snapshot([allow("shop/planner").into(), set_of("1", "1").into()]);
    assert!(start.set(&"set".into()).is_none(), "a member is not held");
    let judged = judge(&start, &"set".into(), &facts(verified("shop/planner"))).verdict;
    assert!(matches!(judged, Verdict::Refused(denial) if denial.reason == Reason::PolicyMissing));

    let whole = start.apply(vec![version("1", deny("shop/nobody"))], &NoExpressions);
    assert!(is_granted(&whole.snapshot, "shop/planner"));
    assert_eq!(whole.touched.sets, ["set".into()].into());

    // A member in a version that the set does not name changes nothing, until a set names it.
    let edited = whole.snapshot.apply(vec![version("2", deny("shop/planner"))], &NoExpressions);
    assert!(is_granted(&edited.snapshot, "shop/planner"));
    assert_eq!(edited.touched, Touched::default());
    let named = edited.snapshot.apply(vec![version("2", set_of("2", "1"))], &NoExpressions);
    assert!(!is_granted(&named.snapshot, "shop/planner"));
    assert_eq!(named.touched.sets, ["set".into()].into());

    // A member that goes away takes nothing with it.
    let less = named.snapshot.apply(vec![gone(Kind::Policy, &deny("shop/x").name)], &NoExpressions);
    assert!(!is_granted(&less.snapshot, "shop/planner"));
    let none = less.snapshot.apply(vec![gone(Kind::PolicySet, "set")], &NoExpressions);
    assert_eq!(none.touched.sets, ["set".into()].into());
    assert!(none.snapshot.set(&"set".into()).is_none());
}

#[test]
fn a_bad_resource_rejects_only_itself_and_the_last_good_stays() {
    let good = snapshot([allow("shop/planner").into(), deny("shop/x").into(), set_of("1", "1").into()]);
    let mut bad = allow("shop/intern");
    bad.rules[0].to = Some(vec![crate::resource::Operation {
        ports: Some(Vec::new()),
        ..crate::resource::Operation::default()
    }]);
    let heavy = crate::resource::Workload { capacity: 0, ..workload("planner", 1) };
    let changes = vec![
        version("2", bad),
        version("2", set_of("1", "2")),
        version("1", heavy),
        version("1", workload("x", 2)),
    ];
    let applied = good.apply(changes, &NoExpressions);
    let keys: Vec<String> = applied.rejected.iter().map(|it| it.key.to_string()).collect();
    assert_eq!(keys, ["Policy AccessPolicy/shop/allow", "Workload east//Pod/shop/planner"]);
    assert!(is_granted(&applied.snapshot, "shop/planner"));
    assert!(!is_granted(&applied.snapshot, "shop/intern"));
    assert!(
        applied.snapshot.workload(&uid("x")).is_some()
            && applied.snapshot.workload(&uid("planner")).is_none()
    );
}

#[test]
fn revocations_only_grow() {
    let of = |issued_before| Revocation { identity: identity("shop/x"), issued_before, reason: "".into() };
    let held = |snapshot: &Snapshot| snapshot.revocation(&identity("shop/x")).map(|it| it.issued_before);
    let start = snapshot([of(10).into()]);
    let less =
        start.apply(vec![version("2", of(5)), gone(Kind::Revocation, identity("shop/x"))], &NoExpressions);
    assert_eq!((held(&less.snapshot), less.touched), (Some(10), Touched::default()));
    let more = start.apply(vec![version("2", of(11))], &NoExpressions);
    assert_eq!(held(&more.snapshot), Some(11));
    assert_eq!(more.touched.identities, [identity("shop/x")].into());
}

#[test]
fn touched_names_what_changed_and_nothing_else() {
    let start = snapshot([
        workload("a", 1).serving(TOOLS, 80, 80).into(),
        workload("b", 2).into(),
        service(TOOLS, 1, 80).into(),
    ]);
    let same = start.apply(
        vec![
            version("1", workload("b", 2)),
            version("1", service(TOOLS, 1, 80)),
            gone(Kind::Workload, uid("c")),
        ],
        &NoExpressions,
    );
    assert!(same.touched.is_empty());
    let moved =
        start.apply(vec![version("2", workload("a", 3).serving(TOOLS, 80, 80))], &NoExpressions).touched;
    assert_eq!((moved.workloads, moved.services), ([uid("a")].into(), [key(TOOLS)].into()));
    let joined = start.apply(vec![version("2", workload("b", 2).serving(TOOLS, 80, 80))], &NoExpressions);
    assert_eq!(joined.snapshot.endpoints(&key(TOOLS)).count(), 2);
    assert_eq!(joined.touched.services, [key(TOOLS)].into());
}

#[test]
fn a_member_without_version_is_meant_in_any() {
    let mut loose = set_of("1", "1");
    for PolicyRef { version, .. } in &mut loose.stages[0].policies {
        *version = None;
    }
    let start = snapshot([allow("shop/planner").into(), deny("shop/x").into(), loose.into()]);
    let edited = start.apply(vec![version("2", deny("shop/planner"))], &NoExpressions);
    assert!(!is_granted(&edited.snapshot, "shop/planner"));
}

#[test]
fn a_swap_copies_what_changed_and_shares_the_rest() {
    let many = |number: u32| {
        let [_, _, c, d] = number.to_be_bytes();
        let uid = uid(&format!("w{number}"));
        Resource::from(crate::resource::Workload {
            uid,
            addresses: vec![[10, 20, c, d].into()],
            ..workload("w", 1)
        })
    };
    let before = snapshot((0..10_000).map(many));
    let after = before.apply(vec![version("2", workload("w7", 250))], &NoExpressions).snapshot;
    let (all, copied) = before.workloads.copied(&after.workloads);
    assert!((64..=256).contains(&all), "{all} buckets");
    assert_eq!(copied, 1);
    assert!(after.by_address.copied(&before.by_address).1 <= 2);
    assert_eq!(before.policies.copied(&after.policies), (0, 0));
}
