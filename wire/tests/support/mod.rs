//! What the tests share: small resources, a scope by node, a receiver that records, and a pair without a transport.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, missing_docs)] // Each test file uses a part of it.

pub mod line;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use mesh::{names::*, resource::*};
use parking_lot::Mutex;
use proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tokio::sync::oneshot;
use wire::{
    Caller, Change, Rejected, Want,
    publish::{
        Announcement, Changed, Edit, Feedback, Link, Publisher, Scopes, Silent, SubscriberInfo, Table,
    },
    subscribe::{Batch, Checkpoint, Config, Origin, Receiver, State, StreamError, WantError},
};

pub fn node(name: &str) -> Caller {
    Caller::Node { name: name.into() }
}

pub fn object(name: &str) -> ObjectName {
    ObjectName::new("AccessPolicy", "shop", name)
}

pub fn policy(name: &str, rule: &str) -> Resource {
    let source = Source { anyone: true, ..Source::default() };
    let rule = Rule { name: rule.into(), from: vec![source], to: None, when: None };
    Resource::Policy(Arc::new(Policy {
        authorizer: None,
        name: object(name),
        action: Action::Allow,
        mode: Mode::Enforce,
        broken: None,
        rules: vec![rule],
    }))
}

pub fn set(name: &str, policies: &[&str]) -> Resource {
    let policies = policies.iter().map(|name| PolicyRef { name: object(name), version: None }).collect();
    Resource::PolicySet(Arc::new(PolicySet {
        guards: Vec::new(),
        quotas: Vec::new(),
        name: name.into(),
        stages: vec![Stage { kind: StageKind::Target, policies }],
        default_access: DefaultAccess::None,
    }))
}

pub fn service_key(name: &str) -> ServiceKey {
    ServiceKey { namespace: "shop".into(), hostname: format!("{name}.shop.svc.cluster.local").into() }
}

pub fn service(name: &str, set: &str, through: Option<&str>) -> Resource {
    let port = ServicePort {
        name: "http".into(),
        protocol: Protocol::Http,
        set: set.into(),
        traffic: Traffic::default(),
        backend: None,
    };
    Resource::Service(Arc::new(Service {
        key: service_key(name),
        name: name.into(),
        aliases: Vec::new(),
        addresses: vec![vip(name)],
        ports: BTreeMap::from([(80, port)]),
        binding: through.map_or(Binding::None, |name| Binding::Through(service_key(name))),
        balancing: Balancing::default(),
        exported_to: BTreeSet::new(),
        identities: Vec::new(),
    }))
}

fn vip(name: &str) -> std::net::IpAddr {
    let number = name.bytes().fold(7u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    std::net::IpAddr::from([10, 99, 0, number])
}

#[derive(Clone, Default)]
pub struct Shape<'a> {
    pub node: &'a str,
    pub set: &'a str,
    pub serves: &'a [&'a str],
    pub dial: Option<&'a str>,
    pub address: Option<[u8; 4]>,
    pub capacity: u32,
}

pub fn uid(name: &str) -> String {
    format!("east/MeshWorkload/shop/{name}")
}

pub fn workload(name: &str, shape: Shape<'_>) -> Resource {
    let admission = match shape.dial {
        Some(waypoint) => Admission::Through { waypoints: Vec::new(), dial: Some(service_key(waypoint)) },
        None => Admission::Direct,
    };
    let serves = shape.serves.iter().map(|name| {
        let key: Arc<str> = service_key(name).to_string().into();
        (key, vec![PortMapping { service: 80, target: 8080 }])
    });
    Resource::Workload(Arc::new(Workload {
        uid: uid(name).into(),
        name: name.into(),
        namespace: "shop".into(),
        cluster: "east".into(),
        network: "east".into(),
        identity: format!("spiffe://east.example/ns/shop/sa/{name}").parse().unwrap(),
        node: shape.node.into(),
        locality: Locality::default(),
        addresses: shape.address.map(Into::into).into_iter().collect(),
        reach: Reach::Tunnel("127.20.0.5:15008".parse().unwrap()),
        ports: BTreeMap::new(),
        other_ports: WorkloadPort { admission, vouchers: Vec::new(), set: shape.set.into() },
        services: serves.collect(),
        capacity: shape.capacity.max(1),
        health: Health::Healthy,
        egress: Egress::Allow,
        vouchers: Vec::new(),
        labels: Labels::default(),
    }))
}

pub fn placement(name: &str) -> Resource {
    Resource::Placement(Arc::new(Placement {
        workload: uid(name).into(),
        delivery: Delivery::None,
        port_deliveries: BTreeMap::new(),
        proxy: None,
    }))
}

pub fn ranges() -> Resource {
    Resource::Ranges(Arc::new(MeshRanges {
        network: "east".into(),
        local: true,
        addresses: vec!["10.0.0.0/8".parse().unwrap()],
        suffixes: vec!["cluster.local".into()],
    }))
}

/// A node gets ranges, bundles and revocations, and what is placed on it.
pub struct ByNode;

impl Scopes for ByNode {
    fn roots(&self, table: &Table, caller: &Caller) -> BTreeSet<Key> {
        let mut roots: BTreeSet<Key> = [Kind::Ranges, Kind::Bundle, Kind::Revocation]
            .into_iter()
            .flat_map(|kind| table.of_kind(kind))
            .cloned()
            .collect();
        if let Caller::Node { name } = caller {
            for key in table.on_node(name) {
                roots.insert(key.clone());
                roots.insert(Key::new(Kind::Placement, &key.name));
            }
        }
        roots
    }

    fn affected(&self, changed: &Changed, caller: &Caller) -> bool {
        changed.forms().any(|form| match (form, caller) {
            (Resource::Workload(it), Caller::Node { name }) => it.node == *name,
            (Resource::Ranges(_) | Resource::Bundle(_) | Resource::Revocation(_), _) => true,
            _ => false,
        })
    }
}

/// What a program saw.
#[derive(Default)]
pub struct Seen {
    pub held: BTreeMap<Key, (Version, Resource)>,
    /// Of each batch: how many changes, and where they came from.
    pub batches: Vec<(usize, Origin)>,
    pub checkpoint: Option<Checkpoint>,
    /// Rejected from now on, if the resource is this one.
    pub reject: Vec<(Resource, String)>,
    pub in_use: bool,
}

impl Seen {
    /// What is referred to and not there.
    pub fn missing(&self) -> Vec<Key> {
        let mut missing = Vec::new();
        let mut need = |kind, name: &dyn std::fmt::Display| {
            let key = Key::new(kind, name);
            if !self.held.contains_key(&key) {
                missing.push(key);
            }
        };
        for (_, resource) in self.held.values() {
            match resource {
                Resource::Workload(it) => {
                    need(Kind::PolicySet, &it.other_ports.set);
                    if let Admission::Through { dial: Some(service), .. } = &it.other_ports.admission {
                        need(Kind::Service, service);
                    }
                }
                Resource::Service(it) => {
                    it.ports.values().for_each(|port| need(Kind::PolicySet, &port.set));
                    if let Binding::Through(service) = &it.binding {
                        need(Kind::Service, service);
                    }
                }
                Resource::PolicySet(it) => {
                    for member in it.stages.iter().flat_map(|stage| &stage.policies) {
                        need(Kind::Policy, &member.name);
                    }
                }
                Resource::Placement(it) => need(Kind::Workload, &it.workload),
                _ => {}
            }
        }
        missing
    }

    pub fn versions(&self) -> BTreeMap<Key, Version> {
        self.held.iter().map(|(key, (version, _))| (key.clone(), version.clone())).collect()
    }
}

#[derive(Clone, Default)]
pub struct Recorder(pub Arc<Mutex<Seen>>, pub Arc<tokio::sync::watch::Sender<()>>);

impl Recorder {
    /// Waits until what was seen is as it should be.
    pub async fn until(&self, enough: impl Fn(&Seen) -> bool) {
        let mut changes = self.1.subscribe();
        while !enough(&self.0.lock()) {
            changes.changed().await.unwrap();
        }
    }
}

impl Receiver for Recorder {
    fn apply(&mut self, batch: Batch) -> Vec<Rejected> {
        let mut locked = self.0.lock();
        let seen = &mut *locked;
        seen.batches.push((batch.changes.len(), batch.origin));
        seen.checkpoint = Some(batch.checkpoint);
        let mut rejected = Vec::new();
        for change in batch.changes {
            match change {
                Change::Set(version, resource) => {
                    let key = resource.key();
                    match seen.reject.iter().find(|(bad, _)| *bad == resource) {
                        Some((_, reason)) => rejected.push(Rejected { key, reason: reason.clone() }),
                        None => drop(seen.held.insert(key, (version, resource))),
                    }
                }
                Change::Remove(key) => drop(seen.held.remove(&key)),
            }
        }
        drop(locked);
        self.1.send_replace(());
        rejected
    }

    fn in_use(&self, _: &Want) -> bool {
        self.0.lock().in_use
    }
}

/// What subscribers answered.
#[derive(Default)]
pub struct Answers(pub Mutex<Vec<String>>);

impl Feedback for Answers {
    fn connected(&self, subscriber: &SubscriberInfo) {
        self.0.lock().push(format!("connected {} {}", subscriber.caller, subscriber.node_id));
    }
    fn disconnected(&self, subscriber: &SubscriberInfo) {
        self.0.lock().push(format!("disconnected {}", subscriber.caller));
    }
    fn applied(&self, caller: &Caller, generation: u64) {
        self.0.lock().push(format!("{caller} applied {generation}"));
    }
    fn refused(&self, caller: &Caller, key: &Key, _: &Version, reason: &str) {
        self.0.lock().push(format!("{caller} refused {key}: {reason}"));
    }
}

pub fn publisher(epoch: &str) -> Publisher {
    Publisher::new(epoch, Arc::new(ByNode), Arc::new(Silent))
}

pub fn edits(resources: impl IntoIterator<Item = Resource>) -> Vec<Edit> {
    resources.into_iter().map(Edit::Set).collect()
}

pub fn config(store: Option<std::path::PathBuf>) -> Config {
    let announcement = Announcement {
        node_id: "n".to_owned(),
        version: "1".to_owned(),
        capabilities: BTreeSet::from(["l4".to_owned()]),
        ..Announcement::default()
    };
    Config::new(announcement, store, || 0)
}

/// Two ends, and the messages between them in their hands.
pub struct Pair {
    pub state: State,
    pub seen: Arc<Mutex<Seen>>,
    link: Option<(Link, Publisher)>,
    /// Everything that was published when the latest push was made.
    pub published: BTreeMap<Key, Version>,
    up: VecDeque<DeltaDiscoveryRequest>,
    down: VecDeque<DeltaDiscoveryResponse>,
    /// Resources and removals that came down so far.
    pub sent: usize,
}

impl Pair {
    pub fn new() -> Self {
        let recorder = Recorder::default();
        let seen = Arc::clone(&recorder.0);
        Self::with(Box::new(recorder), seen)
    }

    /// With another program, which keeps `seen`.
    pub fn with(receiver: Box<dyn Receiver>, seen: Arc<Mutex<Seen>>) -> Self {
        Self {
            state: State::new(config(None), receiver),
            seen,
            link: None,
            published: BTreeMap::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            sent: 0,
        }
    }

    /// A new stream; what was under way on the old one is lost.
    pub fn connect(&mut self, publisher: &Publisher, caller: Caller) {
        self.disconnect();
        self.link = Some((publisher.subscribe(caller), publisher.clone()));
        self.up = self.state.open().into();
    }

    pub fn disconnect(&mut self) {
        self.link = None;
        self.up.clear();
        self.down.clear();
    }

    pub fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Carries at most one message up. True if there was one.
    pub fn step_up(&mut self) -> bool {
        match (self.up.pop_front(), &self.link) {
            (Some(request), Some((link, _))) => {
                link.take(request).expect("the publisher takes what our subscriber sends");
                true
            }
            _ => false,
        }
    }

    /// Carries at most one message down. True if there was one.
    pub fn step_down(&mut self) -> Result<bool, StreamError> {
        let Some((link, publisher)) = &self.link else { return Ok(false) };
        let pushed = link.push().expect("the stream goes on");
        if !pushed.is_empty() {
            self.published = publisher.read(versions);
            self.down.extend(pushed);
        }
        let Some(response) = self.down.pop_front() else { return Ok(false) };
        if !response.type_url.ends_with("Checkpoint") {
            self.sent += response.resources.len() + response.removed_resources.len();
        }
        self.up.extend(self.state.take(response)?.requests);
        Ok(true)
    }

    /// Carries everything, until both are quiet.
    pub fn settle(&mut self) {
        loop {
            let up = self.step_up();
            let down = self.step_down().expect("the subscriber takes what our publisher sends");
            if !up && !down {
                return;
            }
        }
    }

    pub fn ask(&mut self, want: &str) -> oneshot::Receiver<Result<(), WantError>> {
        let (waiter, answer) = oneshot::channel();
        self.up.extend(self.state.ask(want.parse().unwrap(), waiter, Instant::now()));
        answer
    }

    pub fn sweep(&mut self, later: Duration) {
        self.up.extend(self.state.sweep(Instant::now() + later));
    }

    pub fn holds(&self, kind: Kind, name: &str) -> bool {
        self.seen.lock().held.contains_key(&Key::new(kind, name))
    }
}

/// Everything that is in a table.
pub fn versions(table: &Table) -> BTreeMap<Key, Version> {
    let keys = Kind::ALL.into_iter().flat_map(|kind| table.of_kind(kind));
    keys.map(|key| (key.clone(), table.version(key).unwrap().clone())).collect()
}
