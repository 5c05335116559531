//! The plugin as a runtime meets it: a program with variables, standard input and output.

use std::io::Write;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rig_network::{Namespace, Reach, cni};
use serde_json::{Value, json};

use crate::place::{Place, SILENCE, TIMEOUT, ip, reached};

/// Calls the plugin on a node for a pod; its answer, or its error.
fn call(
    place: &Place,
    cluster: u8,
    node: u8,
    command: &str,
    pod: &Namespace,
    more: Value,
) -> Result<Value, Value> {
    let planned = place.plan.cluster(cluster).unwrap().node(node).unwrap();
    let list = cni::conflist(&planned);
    let mut config = list["plugins"][0].clone();
    config["cniVersion"] = list["cniVersion"].clone();
    config["name"] = list["name"].clone();
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    let mut plugin = place.node(cluster, node).command(env!("CARGO_BIN_EXE_rig-cni")).unwrap();
    let name = pod.path().file_name().unwrap();
    let mut child = plugin
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", name)
        .env("CNI_NETNS", pod.path())
        .env("CNI_IFNAME", "eth0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    if output.status.success() { Ok(answer) } else { Err(answer) }
}

/// An empty namespace, as a podlet makes one; the sweep of the place removes it.
fn pod(place: &Place, name: &str) -> Namespace {
    let name = format!("rig-{}-pod-{name}", place.plan.id());
    let status = std::process::Command::new("ip").args(["netns", "add", &name]).status().unwrap();
    assert!(status.success());
    Namespace::named(&name)
}

#[test]
fn pods_reach_each_other_over_nodes_and_clusters_and_their_nodes_speak_to_them() {
    let Some(place) = Place::build(1, 2, Reach::Flat) else { return };
    let (a, b, c) = (pod(&place, "a"), pod(&place, "b"), pod(&place, "c"));
    let added = call(&place, 1, 1, "ADD", &a, json!({})).unwrap();
    assert_eq!(added["ips"][0]["address"], "10.11.1.1/32");
    assert_eq!(added["interfaces"][1]["sandbox"], json!(a.path()));
    assert_eq!(added["interfaces"][1]["mac"], "0a:58:0a:0b:01:01");
    call(&place, 1, 1, "ADD", &b, json!({})).unwrap();
    call(&place, 1, 2, "ADD", &c, json!({})).unwrap();
    let (node, cp, client) = (place.node(1, 1), place.control_plane(1), place.fabric.client());
    for (from, own, to, at) in [
        (&a, "10.11.1.1", &b, "10.11.1.2"),
        (&a, "10.11.1.1", &c, "10.11.2.1"),
        (&a, "10.11.1.1", &a, "10.11.1.1"),
        (&node, "10.51.0.11", &a, "10.11.1.1"),
        (&node, "10.51.0.11", &c, "10.11.2.1"),
        (&cp, "10.51.0.2", &c, "10.11.2.1"),
        (&client, "10.98.0.2", &c, "10.11.2.1"),
        (&c, "10.11.2.1", &client, "10.98.0.2"),
        (&c, "10.11.2.1", &node, "10.51.0.11"),
    ] {
        assert_eq!(reached(from, to, ip(at), TIMEOUT), Some(IpAddr::from(ip(own))), "{from:?} to {at}");
    }
}

#[test]
fn a_pod_that_goes_gives_its_address_back_and_asking_twice_is_no_error() {
    let Some(place) = Place::build(1, 1, Reach::Separate) else { return };
    let (a, b) = (pod(&place, "a"), pod(&place, "b"));
    let added = call(&place, 1, 1, "ADD", &a, json!({})).unwrap();
    call(&place, 1, 1, "CHECK", &a, json!({ "prevResult": added })).unwrap();
    let error = call(&place, 1, 1, "ADD", &a, json!({})).unwrap_err();
    assert_eq!(error["code"], 5, "{error}");
    for _ in 0..2 {
        assert_eq!(call(&place, 1, 1, "DEL", &a, json!({})), Ok(Value::Null));
    }
    assert_eq!(call(&place, 1, 1, "CHECK", &a, json!({})).unwrap_err()["code"], 3);
    let added = call(&place, 1, 1, "ADD", &b, json!({})).unwrap();
    assert_eq!(added["ips"][0]["address"], "10.10.1.2/32");
    assert_eq!(reached(&place.node(1, 1), &a, ip("10.10.1.1"), SILENCE), None);
    assert!(reached(&place.node(1, 1), &b, ip("10.10.1.2"), TIMEOUT).is_some());
    // The runtime knows of no pod any more: everything is collected.
    call(&place, 1, 1, "GC", &b, json!({ "cni.dev/valid-attachments": [] })).unwrap();
    assert_eq!(call(&place, 1, 1, "CHECK", &b, json!({})).unwrap_err()["code"], 3);
    call(&place, 1, 1, "STATUS", &b, json!({})).unwrap();
}

#[test]
fn errors_are_in_the_form_of_the_specification() {
    let Some(place) = Place::build(1, 1, Reach::Flat) else { return };
    let a = pod(&place, "a");
    let error = |command, more| call(&place, 1, 1, command, &a, more).unwrap_err();
    assert_eq!(error("ADD", json!({ "cniVersion": "0.2.0" }))["code"], 1);
    assert_eq!(error("ADD", json!({ "range": 7 }))["code"], 7);
    assert_eq!(error("DANCE", json!({}))["code"], 4);
    assert_eq!(error("GC", json!({}))["code"], 7);
    let gone = Namespace::named("rig-no-such-pod");
    let refused = call(&place, 1, 1, "ADD", &gone, json!({})).unwrap_err();
    assert_eq!(refused["code"], 5);
    assert!(refused["msg"].as_str().unwrap().contains("No such file"), "{refused}");
    let versions = call(&place, 1, 1, "VERSION", &a, json!({})).unwrap();
    assert_eq!(versions["supportedVersions"], json!(["1.1.0", "1.0.0"]));
}

#[test]
fn attaching_a_pod_is_quick() {
    let Some(place) = Place::build(1, 1, Reach::Flat) else { return };
    let pods: Vec<Namespace> = (0..10).map(|at| pod(&place, &at.to_string())).collect();
    let mut took: Vec<Duration> = pods
        .iter()
        .map(|pod| {
            let begin = Instant::now();
            call(&place, 1, 1, "ADD", pod, json!({})).unwrap();
            begin.elapsed()
        })
        .collect();
    took.sort();
    eprintln!("attaching a pod took {:?} at best, {:?} in the middle", took[0], took[5]);
    assert!(took[0] < Duration::from_millis(100), "{took:?}");
}
