//! Resources in few words.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mesh::{Identity, names::*, resource::*};

use super::Cluster;

/// The token of every workload.
pub const TOKEN: &str = "a-token";

/// What a workload is.
#[derive(Clone, Default)]
pub struct Shape<'a> {
    pub node: &'a str,
    pub last: u8,
    /// The services that it serves, at port 80.
    pub serves: &'a [&'a str],
    /// The policy set of port 80.
    pub set: &'a str,
    pub port: Option<u16>,
    pub proxy: bool,
    pub uid: Option<u32>,
}

impl Cluster {
    pub fn identity(&self, account: &str) -> Identity {
        Identity::of_service_account(&self.trust_domain, "shop", account).unwrap()
    }

    pub fn uid(&self, name: &str) -> WorkloadUid {
        format!("{}/MeshWorkload/shop/{name}", self.trust_domain).into()
    }

    pub fn network(&self) -> Network {
        self.trust_domain.as_str().into()
    }

    pub fn key(&self, name: &str) -> ServiceKey {
        ServiceKey { namespace: "shop".into(), hostname: format!("{name}.shop.svc.cluster.local").into() }
    }

    /// Ranges and roots: what a cluster always has.
    pub fn base(&self) -> Vec<Resource> {
        let range = format!("10.{}.0.0/16", self.number);
        let ranges = MeshRanges {
            network: self.network(),
            local: true,
            addresses: vec![range.parse().unwrap()],
            suffixes: vec!["cluster.local".into()],
        };
        let roots =
            self.bundles[&self.trust_domain].iter().map(|root| STANDARD.encode(root).into()).collect();
        let bundle = TrustBundle { trust_domain: self.trust_domain.clone(), sequence: 1, roots };
        vec![
            Resource::Ranges(ranges.into()),
            Resource::Bundle(bundle.into()),
            self.set("open", &[], DefaultAccess::Open),
        ]
    }

    /// A workload and its placement.
    pub fn workload(&self, name: &str, shape: Shape<'_>) -> Vec<Resource> {
        let port =
            |set: &str| WorkloadPort { admission: Admission::Direct, vouchers: Vec::new(), set: set.into() };
        let services = shape.serves.iter().map(|service| {
            let key: Arc<str> = self.key(service).to_string().into();
            (key, vec![PortMapping { service: 80, target: 80 }])
        });
        let workload = Workload {
            uid: self.uid(name),
            name: name.into(),
            namespace: "shop".into(),
            cluster: self.trust_domain.as_str().into(),
            network: self.network(),
            identity: self.identity(name.split('-').next().unwrap()),
            node: shape.node.into(),
            locality: Locality::default(),
            addresses: vec![self.mesh(shape.last).into()],
            reach: Reach::Tunnel((self.machine(shape.last), 15008).into()),
            ports: match shape.set {
                "" => BTreeMap::new(),
                set => BTreeMap::from([(80, port(set))]),
            },
            other_ports: port("open"),
            services: services.collect(),
            capacity: 1,
            health: Health::Healthy,
            egress: Egress::Allow,
            vouchers: Vec::new(),
            labels: Labels { app: name.into(), version: "latest".into() },
        };
        let token_sha256 = wire::encode::digest(TOKEN.as_bytes());
        let token_sha256: String = token_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let proxy = shape.proxy.then(|| ExplicitProxy {
            listen: self.proxy(shape.last),
            token_sha256: token_sha256.into(),
            uid: shape.uid,
        });
        let placement = Placement {
            workload: self.uid(name),
            delivery: shape.port.map_or(Delivery::None, Delivery::LoopbackPort),
            port_deliveries: BTreeMap::new(),
            proxy,
        };
        vec![Resource::Workload(workload.into()), Resource::Placement(placement.into())]
    }

    /// Where the explicit proxy of a workload listens.
    pub fn proxy(&self, last: u8) -> std::net::SocketAddr {
        (self.machine(last), 15080).into()
    }

    pub fn service(&self, name: &str, last: u8) -> Resource {
        let port = ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            set: "open".into(),
            traffic: Traffic::default(),
            backend: None,
        };
        Resource::Service(Arc::new(Service {
            key: self.key(name),
            name: name.into(),
            aliases: Vec::new(),
            addresses: vec![self.mesh(last).into()],
            ports: [(80, port)].into(),
            binding: Binding::None,
            balancing: Balancing::default(),
            exported_to: Default::default(),
            identities: Vec::new(),
        }))
    }

    /// A set of one policy or none, by its members' names.
    pub fn set(&self, name: &str, members: &[&str], default_access: DefaultAccess) -> Resource {
        let member = |name: &&str| PolicyRef { name: object(name), version: None };
        let stage = Stage { kind: StageKind::Target, policies: members.iter().map(member).collect() };
        let stages = if members.is_empty() { Vec::new() } else { vec![stage] };
        Resource::PolicySet(
            PolicySet { name: name.into(), stages, default_access, guards: Vec::new(), quotas: Vec::new() }
                .into(),
        )
    }

    /// Grants to these service accounts.
    pub fn allow(&self, name: &str, who: &[&str]) -> Resource {
        let any_of = who.iter().map(|who| (&self.identity(who)).into()).collect();
        let principals = vec![Principals { field: "serviceAccounts".into(), any_of }];
        let from = vec![Source { principals, ..Source::default() }];
        let rules = vec![Rule { name: "callers".into(), from, to: None, when: None }];
        let policy = Policy {
            name: object(name),
            action: Action::Allow,
            mode: Mode::Enforce,
            broken: None,
            rules,
            authorizer: None,
        };
        Resource::Policy(policy.into())
    }

    pub fn revocation(&self, who: &str, issued_before: u64) -> Resource {
        let reason = "a test".into();
        Resource::Revocation(Revocation { identity: self.identity(who), issued_before, reason }.into())
    }
}

pub fn object(name: &str) -> ObjectName {
    ObjectName::new("AccessPolicy", "shop", name)
}
