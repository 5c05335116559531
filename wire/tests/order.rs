//! Order does not matter: edits, deliveries, losses, restarts and replicas in any order end in the same state, and
//! pass through none that a control plane never published.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use mesh::{
    access::{self, Verdict},
    facts::{Caller as Source, Fact, Facts, Peer},
    names::SetName,
    resource::*,
    snapshot::{NoExpressions, Snapshot},
};
use parking_lot::Mutex;
use proptest::{collection, prelude::*, sample::subsequence};
use support::*;
use wire::{
    Change, Rejected, Want,
    publish::{Edit, Publisher},
    subscribe::{Batch, Receiver},
};

const POLICIES: [&str; 3] = ["p0", "p1", "p2"];
const SETS: [&str; 3] = ["s0", "s1", "s2"];
const SERVICES: [&str; 3] = ["v0", "v1", "v2"];
const WORKLOADS: [&str; 4] = ["w0", "w1", "w2", "w3"];
const WANTS: [&str; 4] =
    ["v0.shop.svc.cluster.local", "v1.shop.svc.cluster.local", "east/10.0.0.2", "nobody"];

/// What can happen.
#[derive(Debug, Clone)]
enum Event {
    Edit(Vec<Act>),
    /// A replica reads some of what it has not read yet.
    Read {
        replica: usize,
        edits: usize,
    },
    /// A replica begins anew, from what it had read, in another order.
    RestartReplica {
        replica: usize,
        reversed: bool,
    },
    Up(usize),
    Down(usize),
    Cut,
    Connect {
        replica: usize,
    },
    /// The proxy begins anew, with or without its disk, which is told at once or not.
    RestartProxy {
        disk: bool,
        told: bool,
    },
    Ask(&'static str),
    GiveUp,
}

/// One part of an edit; what would leave a set without one of its policies does nothing.
#[derive(Debug, Clone)]
enum Act {
    Policy {
        name: &'static str,
        deny: bool,
        rule: u8,
    },
    Set {
        name: &'static str,
        policies: Vec<&'static str>,
    },
    Service {
        name: &'static str,
        set: &'static str,
        through: Option<&'static str>,
    },
    Workload {
        name: &'static str,
        node: bool,
        set: &'static str,
        serves: Vec<&'static str>,
        dial: Option<&'static str>,
        address: u8,
    },
    Placement(&'static str),
    Remove(Kind, &'static str),
}

fn one<const N: usize>(of: [&'static str; N]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(of.to_vec())
}

fn some<const N: usize>(of: [&'static str; N]) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(of.to_vec(), 0..=N)
}

fn act() -> impl Strategy<Value = Act> {
    let maybe = || proptest::option::of(one(SERVICES));
    prop_oneof![
        3 => (one(POLICIES), any::<bool>(), 0u8..3).prop_map(|(name, deny, rule)| Act::Policy { name, deny, rule }),
        3 => (one(SETS), some(POLICIES)).prop_map(|(name, policies)| Act::Set { name, policies }),
        2 => (one(SERVICES), one(SETS), maybe()).prop_map(|(name, set, through)| Act::Service { name, set, through }),
        4 => (one(WORKLOADS), any::<bool>(), one(SETS), some(SERVICES), maybe(), 0u8..4).prop_map(
            |(name, node, set, serves, dial, address)| Act::Workload { name, node, set, serves, dial, address }
        ),
        1 => one(WORKLOADS).prop_map(Act::Placement),
        1 => one(POLICIES).prop_map(|name| Act::Remove(Kind::Policy, name)),
        1 => one(SETS).prop_map(|name| Act::Remove(Kind::PolicySet, name)),
        1 => one(SERVICES).prop_map(|name| Act::Remove(Kind::Service, name)),
        2 => one(WORKLOADS).prop_map(|name| Act::Remove(Kind::Workload, name)),
        1 => one(WORKLOADS).prop_map(|name| Act::Remove(Kind::Placement, name)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => collection::vec(act(), 1..4).prop_map(Event::Edit),
        6 => (0usize..2, 1usize..4).prop_map(|(replica, edits)| Event::Read { replica, edits }),
        1 => (0usize..2, any::<bool>()).prop_map(|(replica, reversed)| Event::RestartReplica { replica, reversed }),
        6 => (1usize..20).prop_map(Event::Up),
        6 => (1usize..20).prop_map(Event::Down),
        1 => Just(Event::Cut),
        3 => (0usize..2).prop_map(|replica| Event::Connect { replica }),
        1 => any::<(bool, bool)>().prop_map(|(disk, told)| Event::RestartProxy { disk, told }),
        2 => one(WANTS).prop_map(Event::Ask),
        1 => Just(Event::GiveUp),
    ]
}

type World = BTreeMap<Key, Resource>;

fn members(world: &World) -> BTreeSet<Key> {
    let mut named = BTreeSet::new();
    for resource in world.values() {
        if let Resource::PolicySet(set) = resource {
            let policies = set.stages.iter().flat_map(|stage| &stage.policies);
            named.extend(policies.map(|it| Key::new(Kind::Policy, &it.name)));
        }
    }
    named
}

impl Act {
    fn edit(&self, world: &World) -> Option<Edit> {
        Some(Edit::Set(match self {
            Self::Policy { name, deny, rule } => {
                let Resource::Policy(policy) = policy(name, &format!("r{rule}")) else { return None };
                let action = if *deny { Action::Deny } else { Action::Allow };
                Resource::Policy(Arc::new(Policy { action, ..(*policy).clone() }))
            }
            Self::Set { name, policies } => {
                let there = |name: &&&str| world.contains_key(&Key::new(Kind::Policy, object(name)));
                let policies: Vec<&str> = policies.iter().filter(there).copied().collect();
                set(name, &policies)
            }
            Self::Service { name, set, through } => service(name, set, *through),
            Self::Workload { name, node, set, serves, dial, address } => {
                let node = if *node { "n1" } else { "n2" };
                let address = Some([10, 0, 0, *address]);
                workload(name, Shape { node, set, serves, dial: *dial, address, capacity: 1 })
            }
            Self::Placement(name) => placement(name),
            Self::Remove(kind, name) => {
                let key = match kind {
                    Kind::Policy => Key::new(*kind, object(name)),
                    Kind::Service => Key::new(*kind, service_key(name)),
                    Kind::PolicySet => Key::new(*kind, name),
                    _ => Key::new(*kind, uid(name)),
                };
                let named = *kind == Kind::Policy && members(world).contains(&key);
                return (!named).then_some(Edit::Remove(key));
            }
        }))
    }
}

/// A control plane: what it read of the common source.
struct Replica {
    publisher: Publisher,
    read: usize,
    world: World,
    runs: usize,
}

impl Replica {
    fn read(&mut self, source: &[Vec<Edit>], edits: usize) {
        for edits in source[self.read..].iter().take(edits) {
            self.read += 1;
            apply(&mut self.world, edits);
            let rejected = self.publisher.update(edits.clone(), Some(self.read as u64));
            assert!(rejected.is_empty());
        }
    }

    fn restart(&mut self, name: usize, reversed: bool) {
        self.runs += 1;
        self.publisher = publisher(&format!("{name}/{}", self.runs));
        if self.read > 0 {
            let mut edits = edits(self.world.values().cloned());
            if reversed {
                edits.reverse();
            }
            self.publisher.update(edits, Some(self.read as u64));
        }
    }
}

fn apply(world: &mut World, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Set(resource) => drop(world.insert(resource.key(), resource.clone())),
            Edit::Remove(key) => drop(world.remove(key)),
        }
    }
}

/// A program that decides by a snapshot, and records what it was told.
struct Program {
    recorder: Recorder,
    snapshot: Arc<Mutex<Snapshot>>,
}

impl Receiver for Program {
    fn apply(&mut self, batch: Batch) -> Vec<Rejected> {
        let mut snapshot = self.snapshot.lock();
        let applied = snapshot.apply(batch.changes.clone(), &NoExpressions);
        assert_eq!(applied.rejected, []);
        *snapshot = applied.snapshot;
        self.recorder.apply(batch)
    }

    fn in_use(&self, _: &Want) -> bool {
        false
    }
}

/// Everything together.
struct Story {
    source: Vec<Vec<Edit>>,
    world: World,
    replicas: [Replica; 2],
    pair: Pair,
    snapshot: Arc<Mutex<Snapshot>>,
    wanted: BTreeSet<&'static str>,
}

fn proxy() -> (Pair, Arc<Mutex<Snapshot>>) {
    let recorder = Recorder::default();
    let seen = Arc::clone(&recorder.0);
    let snapshot = Arc::new(Mutex::new(Snapshot::default()));
    let program = Program { recorder, snapshot: Arc::clone(&snapshot) };
    (Pair::with(Box::new(program), seen), snapshot)
}

impl Story {
    fn new() -> Self {
        let replica = |name: usize| Replica {
            publisher: publisher(&format!("{name}/0")),
            read: 0,
            world: World::new(),
            runs: 0,
        };
        let (pair, snapshot) = proxy();
        let first = edits([ranges()]);
        let world = World::from([(ranges().key(), ranges())]);
        let replicas = [replica(0), replica(1)];
        Self { source: vec![first], world, replicas, pair, snapshot, wanted: BTreeSet::new() }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Edit(acts) => {
                let mut made = Vec::new();
                for act in acts {
                    if let Some(edit) = act.edit(&self.world) {
                        apply(&mut self.world, std::slice::from_ref(&edit));
                        made.push(edit);
                    }
                }
                self.source.push(made);
            }
            Event::Read { replica, edits } => self.replicas[replica].read(&self.source, edits),
            Event::RestartReplica { replica, reversed } => {
                // Its connections go with it.
                self.pair.disconnect();
                self.replicas[replica].restart(replica, reversed);
            }
            Event::Up(count) => (0..count).for_each(|_| self.up()),
            Event::Down(count) => (0..count).for_each(|_| self.down()),
            Event::Cut => self.pair.disconnect(),
            Event::Connect { replica } => self.pair.connect(&self.replicas[replica].publisher, node("n1")),
            Event::RestartProxy { disk, told } => {
                let stored = self.pair.state.stored(SystemTime::UNIX_EPOCH).filter(|_| disk);
                (self.pair, self.snapshot) = proxy();
                self.wanted.clear();
                if let Some(stored) = stored {
                    self.pair.state.restore(stored);
                    if told {
                        self.pair.state.tell_from_disk(std::time::Duration::ZERO);
                        self.judge();
                    }
                }
            }
            Event::Ask(want) => {
                self.wanted.insert(want);
                drop(self.pair.ask(want));
            }
            Event::GiveUp => {
                self.wanted.clear();
                self.pair.sweep(std::time::Duration::from_secs(1 << 20));
            }
        }
    }

    fn up(&mut self) {
        self.pair.step_up();
    }

    fn down(&mut self) {
        let before = self.pair.seen.lock().batches.len();
        self.pair.step_down().unwrap();
        if self.pair.seen.lock().batches.len() > before {
            self.is_what_was_published();
            self.judge();
        }
    }

    /// After a checkpoint: one generation, nothing of another, and whole.
    fn is_what_was_published(&self) {
        let seen = self.pair.seen.lock();
        for (key, version) in seen.versions() {
            if key.kind != Kind::Absence {
                assert_eq!(self.pair.published.get(&key), Some(&version), "{key} is of another generation");
            }
        }
        for key in seen.missing() {
            assert!(
                !self.pair.published.contains_key(&key),
                "{key} was published, is needed, and is not held"
            );
        }
    }

    /// The decisions are those of what is held, and of nothing that was before.
    fn judge(&self) {
        let seen = self.pair.seen.lock();
        let snapshot = self.snapshot.lock();
        for name in SETS {
            let granted = grants(&snapshot, name);
            let expected = match seen.held.get(&Key::new(Kind::PolicySet, name)) {
                Some((_, Resource::PolicySet(set))) => expected(set, &seen.held),
                _ => false,
            };
            assert_eq!(granted, expected, "{name}");
        }
    }

    /// Everything is read and delivered; then the state is that of a proxy that begins now.
    fn end(mut self) {
        for replica in &mut self.replicas {
            replica.read(&self.source, usize::MAX);
        }
        if !self.pair.is_connected() {
            self.pair.connect(&self.replicas[0].publisher, node("n1"));
        }
        self.pair.settle();
        self.is_what_was_published();
        self.judge();

        let fresh = publisher("fresh");
        fresh.update(edits(self.world.values().cloned()), None);
        let (mut other, snapshot) = proxy();
        for want in &self.wanted {
            drop(other.ask(want));
        }
        other.connect(&fresh, node("n1"));
        other.settle();
        assert_eq!(self.pair.seen.lock().held, other.seen.lock().held);
        for name in SETS {
            assert_eq!(grants(&self.snapshot.lock(), name), grants(&snapshot.lock(), name), "{name}");
        }
        let held = self.pair.seen.lock().held.clone();
        let at_once = held.into_values().map(|(version, resource)| Change::Set(version, resource)).collect();
        let at_once = Snapshot::default().apply(at_once, &NoExpressions).snapshot;
        assert_eq!(at_once.counts(), self.snapshot.lock().counts());
    }
}

fn grants(snapshot: &Snapshot, set: &str) -> bool {
    let facts = Facts {
        caller: Source { workload: Peer::Unknown, by: None },
        source_address: None,
        port: 80,
        http: Fact::NotApplicable,
        mcp: Fact::NotApplicable,
        a2a: Fact::NotApplicable,
        llm: Fact::NotApplicable,
        user: None,
    };
    let judgement = access::judge(snapshot, &SetName::from(set), &facts);
    matches!(judgement.verdict, Verdict::Granted(_))
}

/// The rules of these policies match anyone: an Allow grants unless there is a Deny.
fn expected(set: &PolicySet, held: &BTreeMap<Key, (mesh::names::Version, Resource)>) -> bool {
    let actions: Vec<Action> = set
        .stages
        .iter()
        .flat_map(|stage| &stage.policies)
        .map(|member| match &held[&Key::new(Kind::Policy, &member.name)].1 {
            Resource::Policy(policy) => policy.action,
            _ => panic!("a policy"),
        })
        .collect();
    actions.contains(&Action::Allow) && !actions.contains(&Action::Deny)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_ends_in_the_same_state_and_passes_through_no_other(
        events in collection::vec(event(), 1..120),
    ) {
        let mut story = Story::new();
        for event in events {
            story.tell(event);
        }
        story.end();
    }
}
