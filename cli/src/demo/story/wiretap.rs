//! Step 10: what a wiretap heard, and that there is no other way round it.

use std::net::{IpAddr, SocketAddr};

use super::scene::Scene;
use crate::demo::stage::Stage;
use crate::demo::{
    cluster::{EDGE, HBONE, HBONE_BIND},
    connections,
};

pub(super) fn run(stage: &mut Stage, canary: &str) -> anyhow::Result<Scene> {
    let mut what = Vec::new();
    let mut heard_between = 0;
    let (mut bytes, mut taps, mut whole) = (0, 0, true);
    for relay in stage.east.relays.iter().chain(&stage.west.relays) {
        heard_between += usize::from(relay.holds(canary.as_bytes())?);
        bytes += relay.passed().0;
        taps += 1;
        whole &= relay.whole();
    }
    let at_delivery = stage.delivery.holds(canary.as_bytes())?;
    what.push(format!(
        "{taps} wiretaps before nodes and gateways heard {bytes} bytes, and {canary} {heard_between} times"
    ));
    what.push(format!("the wiretap at the server's socket heard it: {at_delivery}"));
    let pids = stage.pids();
    let held = connections::held_by(&pids.iter().map(|(_, pid)| *pid).collect::<Vec<_>>())?;
    let strangers: Vec<String> = held
        .iter()
        .filter(|held| !expected(held.local) && !expected(held.remote))
        .map(|held| {
            let name = pids.iter().find(|(_, pid)| *pid == held.pid).map_or("?", |(name, _)| name.as_str());
            format!("{name} {} {}", held.local, held.remote)
        })
        .collect();
    what.push(format!(
        "{} TCP connections of {} processes, {} of no known kind",
        held.len(),
        pids.len(),
        strangers.len()
    ));
    what.extend(strangers.iter().cloned());
    Ok(Scene::new(
        heard_between == 0 && at_delivery && strangers.is_empty() && bytes > 0 && whole,
        what.join("\n"),
        "between programs everything runs in mTLS tunnels through the wiretapped addresses; plain text exists only \
         between an application and its own node",
    ))
}

/// The kinds of connections that a demo has, by a port of either end: tunnels before and behind a wiretap, the control
/// planes, an agent at its own node's explicit proxy, people at the way in, and admin pages.
fn expected(end: SocketAddr) -> bool {
    let ours = matches!(end.ip(), IpAddr::V4(ip) if ip.octets()[0] == 127);
    ours && matches!(end.port(), HBONE | HBONE_BIND | EDGE | 15012 | 15080 | 15000 | 15020 | 15021)
}
