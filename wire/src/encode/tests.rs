use std::collections::BTreeMap;

use mesh::{names::*, resource::*};
use proptest::{collection, option, prelude::*};
use prost::Message;
use proto::{
    istio::workload::{Address, Extension, address::Type},
    strait::v1::Document,
};

use super::*;

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,8}"
}

fn text() -> impl Strategy<Value = String> {
    "[ -~äß]{0,12}"
}

fn identity() -> impl Strategy<Value = mesh::Identity> {
    prop_oneof![
        (name(), name(), name()).prop_map(|(td, ns, sa)| format!("spiffe://{td}/ns/{ns}/sa/{sa}")),
        (name(), name()).prop_map(|(td, path)| format!("spiffe://{td}/{path}")),
    ]
    .prop_map(|text| text.parse().expect("the strategy makes identities"))
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    (name(), name()).prop_map(|(namespace, name)| ServiceKey {
        hostname: format!("{name}.{namespace}.svc.cluster.local").into(),
        namespace: namespace.into(),
    })
}

fn port() -> impl Strategy<Value = WorkloadPort> {
    let admission = prop_oneof![
        Just(Admission::Direct),
        (collection::vec(identity(), 0..3), option::of(service_key()))
            .prop_map(|(waypoints, dial)| Admission::Through { waypoints, dial }),
    ];
    (admission, collection::vec(identity(), 0..2), text())
        .prop_map(|(admission, vouchers, set)| WorkloadPort { admission, vouchers, set: set.into() })
}

/// Without flow label, which the text of an address has no place for.
fn socket() -> impl Strategy<Value = std::net::SocketAddr> {
    any::<(std::net::IpAddr, u16)>().prop_map(Into::into)
}

fn reach() -> impl Strategy<Value = Reach> {
    let gateway = (socket(), identity()).prop_map(|(address, identity)| GatewayAddress { address, identity });
    prop_oneof![
        socket().prop_map(Reach::Tunnel),
        Just(Reach::Plain),
        (collection::vec(gateway, 0..3), name(), collection::vec(identity(), 0..3)).prop_map(
            |(gateways, authority, peers)| Reach::Gateway { gateways, authority: authority.into(), peers }
        ),
    ]
}

prop_compose! {
    fn workload()(
        names in (name(), name(), name(), name(), text()),
        identity in identity(),
        addresses in collection::vec(any::<std::net::IpAddr>(), 0..3),
        reach in reach(),
        ports in collection::btree_map(any::<u16>(), port(), 0..3),
        other_ports in port(),
        services in collection::btree_map(service_key().prop_map(|key| key.to_string().into()),
            collection::vec((any::<u16>(), any::<u16>()), 0..3), 0..3),
        capacity: u32,
        flags in (any::<bool>(), any::<bool>()),
        vouchers in collection::vec(identity(), 0..2),
        places in (text(), text(), text()),
    ) -> Workload {
        let (cluster, namespace, name, network, label) = names;
        let mapping = |(service, target)| PortMapping { service, target };
        Workload {
            uid: format!("{cluster}/MeshWorkload/{namespace}/{name}").into(),
            name: name.clone().into(),
            namespace: namespace.into(),
            cluster: cluster.into(),
            network: network.into(),
            identity,
            node: label.clone().into(),
            locality: Locality { region: places.0.into(), zone: places.1.into(), subzone: places.2.into() },
            addresses,
            reach,
            ports,
            other_ports,
            services: services.into_iter().map(|(key, ports): (_, Vec<_>)| {
                (key, ports.into_iter().map(mapping).collect())
            }).collect(),
            capacity,
            health: if flags.0 { Health::Healthy } else { Health::Unhealthy },
            egress: if flags.1 { Egress::Allow } else { Egress::Deny },
            vouchers,
            labels: Labels { app: label.into(), version: name.into() },
        }
    }
}

fn service_port() -> impl Strategy<Value = ServicePort> {
    let protocol =
        prop_oneof![Just(Protocol::Tcp), Just(Protocol::Http), Just(Protocol::Http2), Just(Protocol::Mcp)];
    (text(), protocol, text(), option::of(any::<u64>()), option::of(name())).prop_map(
        |(name, protocol, set, timeout, backend)| ServicePort {
            name: name.into(),
            protocol,
            set: set.into(),
            traffic: Traffic { request_timeout: timeout.map(Millis), ..Traffic::default() },
            backend: backend.map(|name| ObjectName::new("AgentBackend", "a", &name)),
        },
    )
}

prop_compose! {
    fn service()(
        key in service_key(),
        name in name(),
        aliases in collection::vec(name(), 0..3),
        addresses in collection::vec(any::<std::net::IpAddr>(), 0..3),
        ports in collection::btree_map(any::<u16>(), service_port(), 0..3),
        binding in prop_oneof![
            Just(Binding::None),
            service_key().prop_map(Binding::Through),
            text().prop_map(|why| Binding::Missing(why.into())),
        ],
        scopes in collection::vec(0usize..6, 0..4),
        strict: bool,
        exported_to in collection::btree_set(name(), 0..2),
        identities in collection::vec(identity(), 0..3),
    ) -> Service {
        let all = [Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node, Scope::Cluster];
        Service {
            key,
            name: name.into(),
            aliases: aliases.iter().map(Hostname::from).collect(),
            addresses,
            ports,
            binding,
            balancing: Balancing { prefer: scopes.into_iter().map(|at| all[at]).collect(), strict },
            exported_to: exported_to.iter().map(|it| it.parse().expect("a trust domain")).collect(),
            identities,
        }
    }
}

#[track_caller]
fn is_read_as_written(resource: Resource) {
    let encoded = encode(&resource).expect("it can be encoded");
    let again = decode(encoded.type_url(), &encoded.key.name, &encoded.value).expect("it can be decoded");
    assert_eq!(again, resource);
    assert_eq!(encode(&again).expect("it can be encoded"), encoded);
}

proptest! {
    #[test]
    fn a_workload_is_read_as_it_was_written(workload in workload()) {
        is_read_as_written(Resource::Workload(workload.into()));
    }

    #[test]
    fn a_service_is_read_as_it_was_written(service in service()) {
        is_read_as_written(Resource::Service(service.into()));
    }

    #[test]
    fn no_bytes_panic(bytes in collection::vec(any::<u8>(), 0..256), at in 0usize..12) {
        let url = type_urls().nth(at).unwrap_or(CHECKPOINT_TYPE);
        for name in ["a", "a/b", "a/b/c/d"] {
            let _ = decode(url, name, &bytes);
        }
    }

    #[test]
    fn a_changed_byte_never_passes_for_what_was_written(workload in workload(), at: usize, bit in 0u8..8) {
        let encoded = encode(&Resource::Workload(workload.clone().into())).expect("it can be encoded");
        let mut bytes = encoded.value.to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(read) = decode(encoded.type_url(), &encoded.key.name, &bytes) {
            prop_assert_ne!(read, Resource::Workload(workload.into()));
        }
    }
}

fn sample() -> Workload {
    Workload {
        uid: "east/MeshWorkload/shop/tools".into(),
        name: "tools".into(),
        namespace: "shop".into(),
        cluster: "east".into(),
        network: "east".into(),
        identity: "spiffe://east.example/ns/shop/sa/tools".parse().expect("an identity"),
        node: "n1".into(),
        locality: Locality::default(),
        addresses: vec!["10.20.0.5".parse().expect("an address")],
        reach: Reach::Tunnel("127.20.0.5:15008".parse().expect("an address")),
        ports: BTreeMap::new(),
        other_ports: WorkloadPort { admission: Admission::Direct, vouchers: Vec::new(), set: "s".into() },
        services: BTreeMap::new(),
        capacity: 1,
        health: Health::Healthy,
        egress: Egress::Allow,
        vouchers: Vec::new(),
        labels: Labels::default(),
    }
}

#[test]
fn every_kind_has_a_type_and_comes_back() {
    let object = |kind: &str| ObjectName::new(kind, "shop", "a");
    let identity: mesh::Identity = "spiffe://east.example/x".parse().expect("an identity");
    let arguments = vec![
        ArgumentTerm { path: "/a".into(), test: ArgumentTest::Min(0.1) },
        ArgumentTerm {
            path: "/b".into(),
            test: ArgumentTest::In(vec![serde_json::json!({"b": 1, "a": [null]})]),
        },
    ];
    let tools = vec![ToolTerm {
        names: vec![TextMatch::Exact("t".into())],
        access: Some(ToolAccess::Read),
        arguments,
    }];
    let operation =
        Operation { mcp: Some(McpTerm { tools: Some(tools), ..McpTerm::default() }), ..Operation::default() };
    let all = [
        Resource::Ranges(
            MeshRanges {
                network: "east".into(),
                local: true,
                addresses: vec!["10.0.0.0/8".parse().expect("a range")],
                suffixes: vec!["cluster.local".into()],
            }
            .into(),
        ),
        Resource::Bundle(
            TrustBundle {
                trust_domain: "east.example".parse().expect("a trust domain"),
                sequence: u64::MAX,
                roots: vec!["AAAA".into()],
            }
            .into(),
        ),
        Resource::Revocation(
            Revocation { identity: identity.clone(), issued_before: 1, reason: "".into() }.into(),
        ),
        Resource::Placement(
            Placement {
                workload: "e/MeshWorkload/shop/a".into(),
                delivery: Delivery::Unix("/run/a".into()),
                port_deliveries: BTreeMap::new(),
                proxy: None,
            }
            .into(),
        ),
        Resource::Absence(Absence::Name("a.b".into()).into()),
        Resource::Absence(
            Absence::Address(NetworkAddress {
                network: "east".into(),
                address: "10.0.0.1".parse().expect("an address"),
            })
            .into(),
        ),
        Resource::Policy(
            Policy {
                name: object("AccessPolicy"),
                action: Action::Allow,
                mode: Mode::Enforce,
                broken: None,
                rules: vec![Rule {
                    name: "r".into(),
                    from: vec![Source { anyone: true, ..Source::default() }],
                    to: Some(vec![operation]),
                    when: Some("true".into()),
                }],
                authorizer: None,
            }
            .into(),
        ),
        Resource::PolicySet(
            PolicySet {
                name: "Service/shop/a:80".into(),
                stages: vec![Stage {
                    kind: StageKind::Target,
                    policies: vec![PolicyRef { name: object("AccessPolicy"), version: Some("v".into()) }],
                }],
                default_access: DefaultAccess::None,
                guards: vec![object("GuardPolicy")],
                quotas: vec![object("QuotaPolicy")],
            }
            .into(),
        ),
        Resource::Guard(
            Guard {
                name: object("GuardPolicy"),
                mode: Mode::Audit,
                broken: None,
                patterns: vec![GuardPattern {
                    name: "mail".into(),
                    finds: Finds::Email,
                    direction: Direction::Both,
                    action: GuardAction::Mask,
                }],
                sizes: GuardSizes { request: Some(1), response: None },
                origins: Some(Vec::new()),
                external: None,
            }
            .into(),
        ),
        Resource::Quota(
            Quota {
                name: object("QuotaPolicy"),
                mode: Mode::Enforce,
                broken: None,
                limits: vec![QuotaLimit {
                    name: "minute".into(),
                    per: QuotaKey::Label {
                        label: "team".into(),
                        values: BTreeMap::from([(identity.clone(), "red".into())]),
                    },
                    window: Millis(60_000),
                    most: Allowance::Tokens { most: 1000, margin: 20, default_output: 100 },
                    models: None,
                }],
            }
            .into(),
        ),
        Resource::Catalogue(
            Catalogue {
                name: object("ToolCatalog"),
                tools: BTreeMap::from([(
                    "t".into(),
                    ApprovedTool { pin: None, access: Some(ToolAccess::Write) },
                )]),
                unlisted: Unlisted::Hold,
            }
            .into(),
        ),
        Resource::Issuer(
            Issuer {
                name: ObjectName::new("TokenIssuer", "", "acme"),
                broken: None,
                kind: IssuerKind::Jwt {
                    issuer: "https://acme.example".into(),
                    audiences: vec!["shop".into()],
                    keys: JwtKeys::Inline("{}".into()),
                    authorization_server: None,
                },
            }
            .into(),
        ),
        Resource::Secret(
            Secret { name: object("Secret"), data: BTreeMap::from([("token".into(), Hidden("s".into()))]) }
                .into(),
        ),
        Resource::Listener(
            Listener {
                gateway: object("Gateway"),
                name: "l".into(),
                port: 80,
                role: ListenerRole::Http,
                hostname: None,
                set: "s".into(),
                traffic: Traffic::default(),
            }
            .into(),
        ),
        Resource::Route(
            Route {
                name: object("HTTPRoute"),
                created: None,
                parents: Vec::new(),
                hostnames: Vec::new(),
                rules: Vec::new(),
                set: "s".into(),
            }
            .into(),
        ),
        Resource::Backend(
            Backend {
                name: object("AgentBackend"),
                hostnames: vec!["a.shop.mesh".into()],
                kind: BackendKind::Mcp { servers: Vec::new() },
                set: "s".into(),
                traffic: Traffic::default(),
                catalogue: Some(object("ToolCatalog")),
                broken: None,
            }
            .into(),
        ),
        Resource::Workload(sample().into()),
    ];
    for resource in all {
        is_read_as_written(resource);
    }
}

#[test]
fn what_a_reader_does_not_know_rejects_the_resource() {
    let encoded = encode(&Resource::Workload(sample().into())).expect("it can be encoded");
    let name = &*encoded.key.name;
    let refused = |bytes: &[u8]| decode(encoded.type_url(), name, bytes).map_err(|error| error.to_string());
    assert!(refused(&encoded.value).is_ok());
    // Protobuf field 1000, varint 1, inside nothing that we know.
    let mut more = encoded.value.to_vec();
    more.extend([0xc0, 0x3e, 1]);
    assert_eq!(refused(&more), Err(DecodeError::NotWhole.to_string()));

    let Some(Type::Workload(mut workload)) = Address::decode(&*encoded.value).expect("an address").r#type
    else {
        panic!("it is a workload")
    };
    // A second opinion on the identity's trust domain.
    workload.trust_domain = "west.example".to_owned();
    let disagrees = Address { r#type: Some(Type::Workload(workload.clone())) }.encode_to_vec();
    assert_eq!(refused(&disagrees), Err(DecodeError::NotWhole.to_string()));
    workload.extensions.push(Extension { name: "other".to_owned(), config: None });
    let more = Address { r#type: Some(Type::Workload(workload)) }.encode_to_vec();
    assert!(refused(&more).is_err_and(|error| error.contains("extensions")));

    let absence = Document { json: br#"{"Name":"a","x":1}"#.to_vec().into() }.encode_to_vec();
    assert!(decode(type_url(Kind::Absence), "a", &absence).is_err());
    assert!(decode("type.googleapis.com/strait.v1.Future", "a", b"").is_err());
}

#[test]
fn a_resource_must_have_the_name_under_which_it_is_sent() {
    let encoded = encode(&Resource::Workload(sample().into())).expect("it can be encoded");
    let other = decode(encoded.type_url(), "east/MeshWorkload/shop/other", &encoded.value);
    assert!(matches!(other, Err(DecodeError::Name(_))));
    let as_service = decode(encoded.type_url(), "shop/tools", &encoded.value);
    assert!(matches!(as_service, Err(DecodeError::Name(_))));
}

#[test]
fn a_name_that_could_be_another_kinds_is_not_sent() {
    let mut workload = sample();
    workload.uid = "shop/tools".into();
    assert!(matches!(encode(&Resource::Workload(workload.into())), Err(EncodeError::Name(_))));
}

#[test]
fn the_largest_resource_has_a_mebibyte() {
    let of = |size: usize| {
        let mut workload = sample();
        workload.name = "x".repeat(size).into();
        encode(&Resource::Workload(workload.into()))
    };
    let least = of(RESOURCE_BYTES_MAX / 2).expect("it fits").value.len();
    let fits = RESOURCE_BYTES_MAX / 2 + (RESOURCE_BYTES_MAX - least);
    assert_eq!(of(fits).expect("it fits").value.len(), RESOURCE_BYTES_MAX);
    assert!(matches!(of(fits + 1), Err(EncodeError::TooLarge(_))));
    let large = vec![0; RESOURCE_BYTES_MAX + 1];
    assert!(matches!(decode(type_url(Kind::Policy), "a", &large), Err(DecodeError::TooLarge(_))));
}
