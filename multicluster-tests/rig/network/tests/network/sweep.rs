//! Nothing stays, from whatever state.

use std::fs;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use rig_network::process::Recorded;
use rig_network::{Fabric, Namespace, Plan, Reach, leftovers, sweep};

use crate::place::Place;

#[test]
fn processes_in_the_rig_its_mounts_and_namespaces_go_and_others_stay() {
    let Some(place) = Place::build(1, 1, Reach::Flat) else { return };
    let id = place.plan.id();
    let mut inside = place.node(1, 1).command("sleep").unwrap().arg("60").spawn().unwrap();
    let mut outside = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pod = place.plan.folder().join("c1/n1/root/run/netns/cni-a b");
    fs::create_dir_all(pod.parent().unwrap()).unwrap();
    fs::write(&pod, "").unwrap();
    place.node(1, 1).enter(|| bind("/proc/thread-self/ns/net", &pod)).unwrap();
    assert_eq!(leftovers(id).len(), 5 + 1 + 1, "{:?}", leftovers(id));
    for _ in 0..2 {
        sweep(id).unwrap();
        assert_eq!(leftovers(id), Vec::<String>::new());
    }
    assert!(inside.try_wait().unwrap().is_some(), "it has ended");
    let recorded = Recorded::of(outside.id().cast_signed()).unwrap();
    assert!(recorded.is_alive());
    recorded.kill(Duration::from_secs(5)).unwrap();
    outside.wait().unwrap();
}

fn bind(from: &str, to: &std::path::Path) {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

#[test]
fn a_pod_without_a_named_namespace_is_found_by_its_mount() {
    let Some(place) = Place::build(1, 1, Reach::Flat) else { return };
    let file = place.plan.folder().join("c1/n1/root/run/netns/cni-1");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "").unwrap();
    let mut own = std::process::Command::new("unshare");
    let script = "mount --bind /proc/self/ns/net \"$0\" && echo ready && exec sleep 60";
    own.args(["--net", "sh", "-c", script]).arg(&file).stdout(std::process::Stdio::piped());
    let mut pod = own.spawn().unwrap();
    let mut said = [0; 5];
    std::io::Read::read_exact(pod.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert!(Namespace::at(&file).exists());
    sweep(place.plan.id()).unwrap();
    assert!(!Namespace::at(&file).exists());
    pod.wait().unwrap();
}

#[test]
fn a_half_built_rig_is_refused_and_leaves_nothing_and_a_second_of_the_same_id_too() {
    let Some(place) = Place::build(1, 1, Reach::Flat) else { return };
    let error = Fabric::build(&place.plan).unwrap_err().to_string();
    assert!(error.contains("a rig of this id is up"), "{error}");
    assert_eq!(leftovers(place.plan.id()).len(), 5, "the first one stays as it was");
}

#[test]
fn fifty_rounds_of_building_and_removing_leave_nothing() {
    if Place::build(1, 1, Reach::Flat).is_none() {
        return;
    }
    let plan = Plan::new(&format!("f{}", std::process::id()), 2, 2, Reach::Separate).unwrap();
    let links = nix::net::if_::if_nameindex().unwrap().iter().count();
    for _ in 0..50 {
        Fabric::build(&plan).unwrap();
        sweep(plan.id()).unwrap();
        assert_eq!(leftovers(plan.id()), Vec::<String>::new());
    }
    assert_eq!(nix::net::if_::if_nameindex().unwrap().iter().count(), links);
}
