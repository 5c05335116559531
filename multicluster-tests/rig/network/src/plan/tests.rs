//! The plan's promises: the contract's table, and that nothing overlaps.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn plan(clusters: u8, nodes: u8, reach: Reach) -> Plan {
    Plan::new("main", clusters, nodes, reach).unwrap()
}

#[test]
fn a_flat_plan_has_the_addresses_of_the_table() {
    let plan = plan(2, 2, Reach::Flat);
    let cluster = plan.cluster(2).unwrap();
    let node = cluster.node(1).unwrap();
    assert_eq!(cluster.pods().to_string(), "10.12.0.0/16");
    assert_eq!(cluster.services().to_string(), "10.112.0.0/16");
    assert_eq!(cluster.dns_service().to_string(), "10.112.0.10");
    assert_eq!(cluster.network().to_string(), "10.52.0.0/24");
    assert_eq!(cluster.router_address().to_string(), "10.52.0.1");
    assert_eq!(cluster.control_plane_address().to_string(), "10.52.0.2");
    assert_eq!(cluster.load_balancers().to_string(), "10.52.1.0/24");
    assert_eq!(cluster.uplink().to_string(), "10.99.2.0/30");
    assert_eq!(node.address().to_string(), "10.52.0.11");
    assert_eq!(node.pods().to_string(), "10.12.1.0/24");
    assert_eq!(node.namespace(), "rig-main-c2-n1");
    assert_eq!(node.root(), Path::new("/run/strait-rig/main/c2/n1/root"));
}

#[test]
fn separate_clusters_share_their_pod_and_service_ranges() {
    let plan = plan(2, 2, Reach::Separate);
    for cluster in plan.clusters() {
        assert_eq!(cluster.pods().to_string(), "10.10.0.0/16");
        assert_eq!(cluster.services().to_string(), "10.110.0.0/16");
        assert_eq!(cluster.node(2).unwrap().pods().to_string(), "10.10.2.0/24");
        assert_eq!(cluster.reachable(), [cluster.site()]);
    }
}

#[test]
fn the_limits_are_where_the_constants_say() {
    assert!(Plan::new("main", CLUSTERS_MAX, NODES_MAX, Reach::Flat).is_ok());
    assert_eq!(
        Plan::new("main", CLUSTERS_MAX + 1, 1, Reach::Flat),
        Err(PlanError::Clusters(CLUSTERS_MAX + 1))
    );
    assert_eq!(Plan::new("main", 1, NODES_MAX + 1, Reach::Flat), Err(PlanError::Nodes(NODES_MAX + 1)));
    assert_eq!(Plan::new("main", 0, 1, Reach::Flat), Err(PlanError::Clusters(0)));
    let longest = "a".repeat(ID_LEN_MAX);
    assert!(Plan::new(&longest, 1, 1, Reach::Flat).is_ok());
    for id in ["", "1a", "a-b", "A", "../x", "a/b", "a.b", &format!("{longest}a")] {
        assert_eq!(Plan::new(id, 1, 1, Reach::Flat), Err(PlanError::Id(id.to_owned())), "{id}");
    }
}

#[test]
fn a_plan_read_from_a_file_is_checked_again() {
    let plan = plan(2, 3, Reach::Separate);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(text, r#"{"id":"main","clusters":2,"nodes":3,"reach":"separate"}"#);
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    assert!(serde_json::from_str::<Plan>(&text.replace("main", "../etc")).is_err());
}

proptest! {
    #[test]
    fn nothing_overlaps(clusters in 1..=CLUSTERS_MAX, nodes in 1..=NODES_MAX, flat: bool) {
        let plan = plan(clusters, nodes, if flat { Reach::Flat } else { Reach::Separate });
        let mut ranges = vec![plan.client_network()];
        for cluster in plan.clusters() {
            ranges.extend([cluster.site(), cluster.uplink()]);
            if flat || cluster.number() == 1 {
                ranges.extend([cluster.pods(), cluster.services()]);
            }
        }
        for (at, one) in ranges.iter().enumerate() {
            for other in &ranges[at + 1..] {
                prop_assert!(!one.contains(other) && !other.contains(one), "{one} and {other}");
            }
        }
    }

    #[test]
    fn every_node_has_a_name_an_address_and_pods_of_its_own(clusters in 1..=CLUSTERS_MAX, nodes in 1..=NODES_MAX) {
        let plan = plan(clusters, nodes, Reach::Flat);
        let (mut names, mut addresses, mut pods) = (HashSet::new(), HashSet::new(), HashSet::new());
        for cluster in plan.clusters() {
            prop_assert!(addresses.insert(cluster.router_address()));
            prop_assert!(addresses.insert(cluster.control_plane_address()));
            for node in cluster.nodes() {
                prop_assert!(names.insert(node.name()));
                prop_assert!(addresses.insert(node.address()));
                prop_assert!(cluster.network().contains(&node.address()));
                prop_assert!(pods.insert(node.pods()));
                prop_assert!(cluster.pods().contains(&node.pods()));
            }
        }
        let all = plan.namespaces();
        prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        prop_assert!(all.iter().all(|name| name.starts_with("rig-main-")));
    }
}
