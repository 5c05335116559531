//! Who reaches whom.

use std::net::IpAddr;
use std::time::Instant;

use rig_network::{LinkState, Reach};

use crate::place::{Place, SILENCE, TIMEOUT, ip, reached};

#[test]
fn nodes_control_plane_and_client_of_a_cluster_reach_one_another_by_their_own_addresses() {
    let begin = Instant::now();
    let Some(place) = Place::build(2, 2, Reach::Flat) else { return };
    eprintln!("two clusters of two nodes were built in {:?}", begin.elapsed());
    let (n1, n2, cp, client) =
        (place.node(1, 1), place.node(1, 2), place.control_plane(1), place.fabric.client());
    for (from, own, to, at) in [
        (&n1, "10.51.0.11", &n2, "10.51.0.12"),
        (&n1, "10.51.0.11", &cp, "10.51.0.2"),
        (&cp, "10.51.0.2", &n2, "10.51.0.12"),
        (&client, "10.98.0.2", &n1, "10.51.0.11"),
        (&n1, "10.51.0.11", &client, "10.98.0.2"),
        (&n1, "10.51.0.11", &n1, "127.0.0.1"),
    ] {
        let seen = reached(from, to, ip(at), TIMEOUT);
        let own = if at == "127.0.0.1" { at } else { own };
        assert_eq!(seen, Some(IpAddr::from(ip(own))), "{from:?} to {at}");
    }
}

#[test]
fn load_balancers_are_reached_by_the_client_and_from_other_nodes() {
    let Some(place) = Place::build(1, 2, Reach::Separate) else { return };
    // What kube-proxy does in life: the address is taken by each node.
    for node in [1, 2] {
        let status = place
            .node(1, node)
            .command("ip")
            .unwrap()
            .args("addr add 10.51.1.7/32 dev lo".split(' '))
            .status();
        assert!(status.unwrap().success());
    }
    let client = place.fabric.client();
    let hits =
        (0..16).filter(|_| reached(&client, &place.node(1, 1), ip("10.51.1.7"), TIMEOUT).is_some()).count();
    assert!((1..16).contains(&hits), "{hits} of 16 connections came to the first of two nodes");
}

#[test]
fn separate_clusters_keep_all_but_load_balancers_to_themselves() {
    let Some(place) = Place::build(1, 1, Reach::Separate) else { return };
    let (node, client) = (place.node(1, 1), place.fabric.client());
    assert_eq!(reached(&client, &node, ip("10.51.0.11"), SILENCE), None, "a node from outside");
    assert_eq!(
        reached(&node, &client, ip("10.98.0.2"), TIMEOUT),
        Some(IpAddr::from(ip("10.51.0.1"))),
        "what leaves comes from the router"
    );
    let listener = place.control_plane(1).tcp_listen("0.0.0.0:6443".parse().unwrap()).unwrap();
    client.tcp_connect("10.51.0.2:6443".parse().unwrap(), TIMEOUT).unwrap();
    drop(listener);
}

#[test]
fn a_pulled_cable_stops_a_node_and_put_back_heals_it() {
    let Some(place) = Place::build(1, 2, Reach::Flat) else { return };
    let (n1, n2) = (place.node(1, 1), place.node(1, 2));
    let pulled = place.plan.cluster(1).unwrap().node(2).unwrap();
    assert!(reached(&n1, &n2, ip("10.51.0.12"), TIMEOUT).is_some());
    place.fabric.cable(&pulled, LinkState::Down).unwrap();
    assert!(reached(&n1, &n2, ip("10.51.0.12"), SILENCE).is_none());
    place.fabric.cable(&pulled, LinkState::Up).unwrap();
    assert!(reached(&n1, &n2, ip("10.51.0.12"), TIMEOUT).is_some());
}
