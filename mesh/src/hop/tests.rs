use super::*;
use crate::{
    fixtures::*,
    names::NetworkAddress,
    resource::{Absence, Egress, Health, Resource, Scope},
};

const TOOLS: &str = "shop/tools.shop.svc.cluster.local";
const WAYPOINT: &str = "shop/waypoint.shop.svc.cluster.local";

/// planner calls tools (two replicas); guarded is bound to the waypoint; far is of the other cluster.
fn world() -> Vec<Resource> {
    let mut resources: Vec<Resource> = ranges().into_iter().map(Resource::from).collect();
    resources.extend([
        workload("planner", 1).into(),
        workload("tools-1", 11).serving(TOOLS, 80, 8080).into(),
        workload("tools-2", 12).serving(TOOLS, 80, 8080).into(),
        workload("waypoint", 20).serving(WAYPOINT, 15008, 15008).into(),
        service(TOOLS, 1, 80).into(),
        service(WAYPOINT, 2, 15008).into(),
    ]);
    resources
}

fn world_with(more: impl IntoIterator<Item = Resource>) -> Snapshot {
    let mut resources = world();
    resources.extend(more);
    snapshot(resources)
}

fn go(snapshot: &Snapshot, source: &str, to: &str, chance: u64) -> String {
    go_avoiding(snapshot, source, to, chance, &Avoid::default())
}

fn go_avoiding(snapshot: &Snapshot, source: &str, to: &str, chance: u64, avoid: &Avoid) -> String {
    let to = match to.parse() {
        Ok(address) => Destination::Address(address),
        Err(_) => {
            let (host, port) = to.rsplit_once(':').expect("tables hold host:port");
            Destination::Name { host: host.into(), port: port.parse().expect("tables hold ports") }
        }
    };
    let departure = Departure { source: uid(source), to };
    match decide(snapshot, &departure, avoid, chance) {
        Ok(Hop::Direct { address }) => format!("plain {address}"),
        Ok(Hop::Resolve { host, port }) => format!("resolve {host}:{port}"),
        Ok(Hop::Tunnel { address, peers, authority, chosen }) => {
            assert_eq!(peers, std::slice::from_ref(&chosen.workload.identity));
            format!("{} at {address} for {authority}", chosen.workload.name)
        }
        Ok(Hop::ThroughGateway { gateway, authority, peers, capacity, .. }) => {
            format!("gateway {} for {authority} by {peers:?} of {capacity}", gateway.address)
        }
        Ok(Hop::Ask(names)) => {
            format!("ask {}", names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        Err(denial) => denial.reason.to_string(),
    }
}

#[track_caller]
fn check(snapshot: &Snapshot, to: &str, expected: &str) {
    assert_eq!(go(snapshot, "planner", to, 0), expected, "{to}");
}

#[test]
fn a_connection_goes_where_the_mesh_says() {
    let mesh = world_with([]);
    for (to, expected) in [
        ("10.20.0.11:8080", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080"),
        ("10.20.255.1:80", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080"),
        ("[::ffff:10.20.255.1]:80", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080"),
        ("tools.shop.svc.cluster.local:80", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080"),
        ("TOOLS.shop.svc.cluster.local.:80", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080"),
        ("tools:80", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080"),
        ("tools.shop:80", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080"),
        ("tools.shop.svc:80", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080"),
        ("[10.20.255.1]:80", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080"),
        ("10.20.255.1:81", "UnknownPort"),
        ("10.20.0.77:80", "ask east/10.20.0.77"),
        ("10.30.0.1:80", "NoGateway"),
        ("other.shop.svc.cluster.local:80", "ask other.shop.svc.cluster.local"),
        ("other:80", "ask other.shop.svc.cluster.local, other.shop.svc.mesh"),
        ("api.example.com:443", "resolve api.example.com:443"),
        ("203.0.113.1:443", "plain 203.0.113.1:443"),
        ("203.0.113.1:15008", "Loop"),
        ("10.20.0.11:15008", "Loop"),
        ("127.0.0.1:9001", "Loop"),
        ("127.20.0.11:15008", "Loop"),
        ("[::1]:80", "Loop"),
        ("[::ffff:127.0.0.1]:80", "Loop"),
        ("0.0.0.0:80", "Loop"),
        ("255.255.255.255:80", "Loop"),
        ("203.0.113.1:0", "Loop"),
        ("a..b:80", "Malformed"),
        ("a b:80", "Malformed"),
    ] {
        check(&mesh, to, expected);
    }
}

#[test]
fn chance_spreads_by_capacity_and_a_retry_goes_elsewhere() {
    let heavy = Workload { capacity: 3, ..workload("tools-2", 12).serving(TOOLS, 80, 8080) };
    let mesh = world_with([heavy.into()]);
    let chosen: Vec<_> = (0..4)
        .map(|chance| go(&mesh, "planner", "tools:80", chance).split(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(chosen.iter().filter(|it| it.as_deref() == Some("tools-2")).count(), 3);
    let avoid =
        |names: &[&str]| Avoid { workloads: names.iter().map(|it| uid(it)).collect(), gateways: Vec::new() };
    let retry = |names: &[&str]| go_avoiding(&mesh, "planner", "tools:80", 0, &avoid(names));
    assert!(retry(&["tools-1"]).starts_with("tools-2"));
    assert_eq!(retry(&["tools-1", "tools-2"]), "NoEndpoint");
}

#[test]
fn unhealthy_endpoints_get_nothing_new() {
    let sick =
        |name, last| Workload { health: Health::Unhealthy, ..workload(name, last).serving(TOOLS, 80, 8080) };
    let one = world_with([sick("tools-1", 11).into()]);
    assert!(go(&one, "planner", "tools:80", 0).starts_with("tools-2"));
    let both = world_with([sick("tools-1", 11).into(), sick("tools-2", 12).into()]);
    check(&both, "tools:80", "NoEndpoint");
}

#[test]
fn the_other_cluster_serves_when_nobody_here_does() {
    let sick =
        |name, last| Workload { health: Health::Unhealthy, ..workload(name, last).serving(TOOLS, 80, 8080) };
    let far = || Resource::from(remote("tools-west", TOOLS, 80));
    let west = "gateway 127.30.0.9:15008 for tools.shop.svc.clusterset.local:80 \
                by [spiffe://west.example/ns/shop/sa/tools] of 3";
    let well = world_with([far()]);
    for chance in 0..10 {
        assert!(go(&well, "planner", "tools:80", chance).starts_with("tools-"));
    }
    let ill = world_with([far(), sick("tools-1", 11).into(), sick("tools-2", 12).into()]);
    check(&ill, "tools:80", west);
    let avoid = Avoid { workloads: vec![uid("tools-1"), uid("tools-2")], gateways: Vec::new() };
    assert_eq!(go_avoiding(&well, "planner", "tools:80", 0, &avoid), west);
    let avoid = Avoid { gateways: vec![([127, 30, 0, 9], 15008).into()], ..avoid };
    assert_eq!(go_avoiding(&well, "planner", "tools:80", 0, &avoid), "NoEndpoint");
}

#[test]
fn a_bound_service_is_reached_through_its_waypoint_only() {
    let bound = |binding| Service { binding, ..service(TOOLS, 1, 80) };
    let mesh = world_with([bound(Binding::Through(key(WAYPOINT))).into()]);
    let through = "waypoint at 127.20.0.20:15008 for 10.20.255.1:80";
    check(&mesh, "tools:80", through);
    check(&mesh, "10.20.255.1:80", through);
    check(&mesh, "tools:81", "UnknownPort");
    // The waypoint itself goes on to the endpoints.
    assert!(
        go(&mesh, "waypoint", "tools:80", 0).starts_with("tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080")
    );

    let typo = world_with([bound(Binding::Missing("no such Gateway".into())).into()]);
    check(&typo, "tools:80", "WaypointMissing");
    let gone = world_with([bound(Binding::Through(key("shop/none.shop.svc.cluster.local"))).into()]);
    check(&gone, "tools:80", "WaypointMissing");
    let ill =
        Workload { health: Health::Unhealthy, ..workload("waypoint", 20).serving(WAYPOINT, 15008, 15008) };
    let ill = world_with([bound(Binding::Through(key(WAYPOINT))).into(), ill.into()]);
    check(&ill, "tools:80", "WaypointMissing");
}

#[test]
fn a_port_that_admits_only_waypoints_is_dialled_through_one() {
    let port = |dial| {
        let waypoints = vec![identity("shop/waypoint")];
        let admission = Admission::Through { waypoints, dial };
        let ports = [(8080, crate::resource::WorkloadPort { admission, ..direct("open") })].into();
        Resource::from(Workload { ports, ..workload("tools-1", 11) })
    };
    let mesh = world_with([port(Some(key(WAYPOINT)))]);
    check(&mesh, "10.20.0.11:8080", "waypoint at 127.20.0.20:15008 for 10.20.0.11:8080");
    check(&mesh, "10.20.0.11:9090", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:9090");
    assert!(go(&mesh, "waypoint", "10.20.0.11:8080", 0).starts_with("tools-1"));
    check(&world_with([port(None)]), "10.20.0.11:8080", "WaypointMissing");
}

#[test]
fn plaintext_goes_only_to_what_is_known_not_to_be_in_the_mesh() {
    let absent = Absence::Address(NetworkAddress { network: "east".into(), address: [10, 20, 0, 77].into() });
    check(&world_with([absent.into()]), "10.20.0.77:80", "plain 10.20.0.77:80");
    let absent = Absence::Name("other.shop.svc.cluster.local".into());
    check(
        &world_with([absent.into()]),
        "other.shop.svc.cluster.local:80",
        "resolve other.shop.svc.cluster.local:80",
    );
    let plain = Workload { reach: Reach::Plain, ..workload("legacy", 50) };
    check(&world_with([plain.into()]), "10.20.0.50:80", "plain 10.20.0.50:80");

    let closed = Workload { egress: Egress::Deny, ..workload("planner", 1) };
    let plain = Workload { reach: Reach::Plain, ..workload("legacy", 50) };
    let absent = Absence::Name("other.shop.svc.cluster.local".into());
    let mesh = world_with([closed.into(), plain.into(), absent.into()]);
    for (to, expected) in [
        ("203.0.113.1:443", "EgressDenied"),
        ("api.example.com:443", "EgressDenied"),
        ("10.20.0.50:80", "EgressDenied"),
        ("other.shop.svc.cluster.local:80", "UnknownDestination"),
        ("10.20.0.11:8080", "tools-1 at 127.20.0.11:15008 for 10.20.0.11:8080"),
    ] {
        check(&mesh, to, expected);
    }
}

#[test]
fn nothing_is_plain_before_the_ranges_are_held() {
    let mesh = snapshot([workload("planner", 1).into()]);
    check(&mesh, "203.0.113.1:443", "ControlPlaneSilent");
    check(&mesh, "api.example.com:443", "ControlPlaneSilent");
    assert_eq!(go(&Snapshot::default(), "planner", "203.0.113.1:443", 0), "SourceUnknown");
}

#[test]
fn the_nearest_endpoints_serve_and_strict_takes_no_others() {
    let near = |strict| {
        let balancing = crate::resource::Balancing { prefer: vec![Scope::Node], strict };
        Resource::from(Service { balancing, ..service(TOOLS, 1, 80) })
    };
    let afar =
        |name, last| Workload { node: "node-2".into(), ..workload(name, last).serving(TOOLS, 80, 8080) };
    for (strict, first) in [(false, afar("tools-1", 11)), (true, afar("tools-1", 11))] {
        let mesh = world_with([near(strict), first.into()]);
        for chance in 0..5 {
            assert!(go(&mesh, "planner", "tools:80", chance).starts_with("tools-2"));
        }
    }
    let all_afar =
        |strict| world_with([near(strict), afar("tools-1", 11).into(), afar("tools-2", 12).into()]);
    assert!(go(&all_afar(false), "planner", "tools:80", 0).starts_with("tools-"));
    check(&all_afar(true), "tools:80", "NoEndpoint");
}

#[test]
fn an_endpoint_that_was_chosen_before_is_kept() {
    let mesh = world_with([]);
    let to = Destination::Endpoint { service: key(TOOLS), port: 80, workload: uid("tools-2") };
    let departure = Departure { source: uid("planner"), to };
    for chance in 0..5 {
        let hop = decide(&mesh, &departure, &Avoid::default(), chance);
        assert!(matches!(hop, Ok(Hop::Tunnel { chosen, .. }) if chosen.workload.uid == uid("tools-2")));
    }
    let names = |to| {
        let departure = Departure { source: uid("planner"), to };
        let found = candidates(&mesh, &departure, &Avoid::default()).expect("the service is held");
        found.iter().map(|it| it.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(Destination::Service { service: key(TOOLS), port: 80 }), ["tools-1", "tools-2"]);
    assert!(names(Destination::Address("10.20.0.11:80".parse().expect("an address"))).is_empty());
}

#[test]
fn a_gateway_forwards_what_is_exported_and_stays_in_its_cluster() {
    let exported = |binding| {
        let exported_to = [TRUST_DOMAIN.replace("east", "west").parse().expect("a trust domain")].into();
        let aliases = vec!["tools.shop.svc.clusterset.local".into()];
        Resource::from(Service { exported_to, aliases, binding, ..service(TOOLS, 1, 80) })
    };
    let gateway = || Resource::from(workload("east-west", 30));
    let ask = |mesh: &Snapshot, port, from: &str| {
        let from = from.parse().expect("tables hold trust domains");
        let host = "tools.shop.svc.clusterset.local".into();
        forward(mesh, &uid("east-west"), &host, port, &from, &Avoid::default(), 0)
            .map(|forward| format!("{} {}", forward.chosen.workload.name, forward.address))
            .map_err(|denial| denial.reason)
    };
    let mesh = world_with([gateway(), exported(Binding::None), remote("tools-west", TOOLS, 80).into()]);
    assert_eq!(ask(&mesh, 80, "west.example"), Ok("tools-1 127.20.0.11:15008".to_owned()));
    assert_eq!(ask(&mesh, 81, "west.example"), Err(Reason::UnknownPort));
    assert_eq!(ask(&mesh, 80, "north.example"), Err(Reason::NotExported));
    let bound = world_with([gateway(), exported(Binding::Through(key(WAYPOINT)))]);
    assert_eq!(ask(&bound, 80, "west.example"), Ok("waypoint 127.20.0.20:15008".to_owned()));
    let private = world_with([gateway()]);
    assert_eq!(ask(&private, 80, "west.example"), Err(Reason::NotExported));
    let mut only_far = ranges().map(Resource::from).to_vec();
    only_far.extend([gateway(), exported(Binding::None), remote("tools-west", TOOLS, 80).into()]);
    assert_eq!(ask(&snapshot(only_far), 80, "west.example"), Err(Reason::NoEndpoint));
}
