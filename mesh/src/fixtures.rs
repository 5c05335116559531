//! What the tables of the decisions are written with: small worlds in few words.

use std::collections::BTreeMap;

use crate::{
    facts::{Caller, Fact, Facts, HttpFacts, McpFacts, Peer},
    names::{ObjectName, ServiceKey, SetName, WorkloadUid},
    resource::*,
    snapshot::{Change, NoExpressions, Snapshot},
};

pub(crate) const TRUST_DOMAIN: &str = "east.example";

pub(crate) fn identity(text: &str) -> crate::Identity {
    let text = match text.split_once('/') {
        Some((namespace, account)) if !text.starts_with("spiffe:") => {
            format!("spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{account}")
        }
        _ => text.to_owned(),
    };
    text.parse().expect("tables hold identities")
}

pub(crate) fn key(text: &str) -> ServiceKey {
    text.parse().expect("tables hold service keys")
}

pub(crate) fn uid(name: &str) -> WorkloadUid {
    format!("east//Pod/shop/{name}").into()
}

pub(crate) fn direct(set: &str) -> WorkloadPort {
    WorkloadPort { admission: Admission::Direct, vouchers: Vec::new(), set: set.into() }
}

/// A workload `name` of `shop`, whose service account has its name, at `10.20.0.<last>`.
pub(crate) fn workload(name: &str, last: u8) -> Workload {
    Workload {
        uid: uid(name),
        name: name.into(),
        namespace: "shop".into(),
        cluster: "east".into(),
        network: "east".into(),
        identity: identity(&format!("shop/{name}")),
        node: "node-1".into(),
        locality: Locality::default(),
        addresses: vec![[10, 20, 0, last].into()],
        reach: Reach::Tunnel(([127, 20, 0, last], 15008).into()),
        ports: BTreeMap::new(),
        other_ports: direct("open"),
        services: BTreeMap::new(),
        capacity: 1,
        health: Health::Healthy,
        egress: Egress::Allow,
        vouchers: Vec::new(),
        labels: Labels::default(),
    }
}

impl Workload {
    pub(crate) fn serving(mut self, service: &str, port: u16, target: u16) -> Self {
        self.services.entry(service.into()).or_default().push(PortMapping { service: port, target });
        self
    }
}

/// A workload that stands for a service of the other cluster.
pub(crate) fn remote(name: &str, service: &str, port: u16) -> Workload {
    let gateway = GatewayAddress {
        address: ([127, 30, 0, 9], 15008).into(),
        identity: identity("spiffe://west.example/ns/strait-system/sa/east-west"),
    };
    Workload {
        cluster: "west".into(),
        network: "west".into(),
        node: "".into(),
        addresses: Vec::new(),
        reach: Reach::Gateway {
            gateways: vec![gateway],
            authority: "tools.shop.svc.clusterset.local".into(),
            peers: vec![identity("spiffe://west.example/ns/shop/sa/tools")],
        },
        capacity: 3,
        ..workload(name, 0)
    }
    .serving(service, port, port)
}

pub(crate) fn service(text: &str, vip: u8, port: u16) -> Service {
    let key = key(text);
    let port_of = ServicePort {
        name: "".into(),
        protocol: Protocol::Tcp,
        set: "open".into(),
        traffic: Traffic::default(),
        backend: None,
    };
    Service {
        name: key.hostname.as_str().split('.').next().unwrap_or_default().into(),
        key,
        aliases: Vec::new(),
        addresses: vec![[10, 20, 255, vip].into()],
        ports: [(port, port_of)].into(),
        binding: Binding::None,
        balancing: Balancing::default(),
        exported_to: Default::default(),
        identities: Vec::new(),
    }
}

pub(crate) fn ranges() -> [MeshRanges; 2] {
    let of = |network: &str, block: &str, local| MeshRanges {
        network: network.into(),
        local,
        addresses: vec![block.parse().expect("tables hold blocks")],
        suffixes: vec!["cluster.local".into(), "mesh".into()],
    };
    [of("east", "10.20.0.0/16", true), of("west", "10.30.0.0/16", false)]
}

pub(crate) fn bundle(trust_domain: &str) -> TrustBundle {
    let trust_domain = trust_domain.parse().expect("tables hold trust domains");
    TrustBundle { trust_domain, sequence: 1, roots: Vec::new() }
}

pub(crate) fn policy(name: &str, action: Action, rules: Vec<Rule>) -> Policy {
    let name = ObjectName::new("AccessPolicy", "shop", name);
    Policy { name, action, mode: Mode::Enforce, broken: None, rules, authorizer: None }
}

pub(crate) fn rule(name: &str, from: Source) -> Rule {
    Rule { name: name.into(), from: vec![from], to: None, when: None }
}

pub(crate) fn anyone() -> Source {
    Source { anyone: true, ..Source::default() }
}

pub(crate) fn principal(text: &str) -> Source {
    let any_of = vec![(&identity(text)).into()];
    Source { principals: vec![Principals { field: "serviceAccounts".into(), any_of }], ..Source::default() }
}

/// Names each policy by its object name; the version is `1`.
pub(crate) fn set(name: &str, stages: &[(StageKind, &[&str])], default_access: DefaultAccess) -> PolicySet {
    let member = |name: &&str| PolicyRef {
        name: ObjectName::new("AccessPolicy", "shop", name),
        version: Some("1".into()),
    };
    let stages = stages
        .iter()
        .map(|(kind, policies)| Stage { kind: *kind, policies: policies.iter().map(member).collect() })
        .collect();
    let (guards, quotas) = (Vec::new(), Vec::new());
    PolicySet { name: SetName::from(name), stages, default_access, guards, quotas }
}

pub(crate) fn put(resource: Resource) -> Change {
    Change::Set("1".into(), resource)
}

macro_rules! resources {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Resource {
            fn from(it: $kind) -> Self {
                Self::$kind(std::sync::Arc::new(it))
            }
        }
    )*};
}
resources!(
    Workload, Placement, Service, Absence, Policy, PolicySet, Revocation, Listener, Route, Backend, Guard,
    Quota
);

impl From<MeshRanges> for Resource {
    fn from(it: MeshRanges) -> Self {
        Self::Ranges(it.into())
    }
}

impl From<TrustBundle> for Resource {
    fn from(it: TrustBundle) -> Self {
        Self::Bundle(it.into())
    }
}

pub(crate) fn snapshot(resources: impl IntoIterator<Item = Resource>) -> Snapshot {
    let applied =
        Snapshot::default().apply(resources.into_iter().map(put).collect::<Vec<_>>(), &NoExpressions);
    assert_eq!(applied.rejected, [], "tables hold good resources");
    applied.snapshot
}

/// Facts of a TCP connection, as a node has them.
pub(crate) fn facts(peer: Peer) -> Facts {
    Facts {
        caller: Caller { workload: peer, by: None },
        source_address: None,
        port: 80,
        http: Fact::Missing("not read at layer 4"),
        mcp: Fact::Missing("not read at layer 4"),
        a2a: Fact::Missing("not read at layer 4"),
        llm: Fact::Missing("not read at layer 4"),
        user: None,
    }
}

pub(crate) fn http(method: &str, path: &str) -> Fact<HttpFacts> {
    Fact::Known(HttpFacts {
        method: method.into(),
        path: path.into(),
        host: "tools".into(),
        headers: BTreeMap::new(),
    })
}

pub(crate) fn mcp(method: &str, object: crate::facts::McpObject) -> Fact<McpFacts> {
    Fact::Known(McpFacts { method: method.into(), object })
}

pub(crate) fn verified(text: &str) -> Peer {
    Peer::Verified(identity(text))
}
