//! Exports between control planes, on connections in memory that can be cut.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mesh::{Identity, TrustDomain, resource::*};
use parking_lot::Mutex;
use support::line::Line;
use tokio::{sync::watch, task::JoinHandle};
use tonic::transport::Server;
use wire::export::{
    EXPORT_BYTES_MAX, Exported, ExportedPort, ExportedService, Exports, ImportReceiver, Imports,
    ImportsConfig, Links, ServedBy,
};

const WEST: &str = "spiffe://west.example/ns/strait-system/sa/controlplane";

struct OneLink;

impl Links for OneLink {
    fn reader(&self, peer: &Identity) -> Option<TrustDomain> {
        (peer.to_string() == WEST).then(|| peer.trust_domain().clone())
    }
}

#[derive(Clone, Default)]
struct Desk {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<watch::Sender<()>>,
}

#[derive(Default)]
struct Seen {
    all: BTreeMap<String, Exported>,
    changes: Vec<BTreeSet<String>>,
    connected: Option<Result<(), String>>,
}

impl ImportReceiver for Desk {
    fn imported(&mut self, all: &BTreeMap<String, Exported>, changed: &BTreeSet<String>) {
        let mut seen = self.seen.lock();
        seen.all.clone_from(all);
        seen.changes.push(changed.clone());
        drop(seen);
        self.changed.send_replace(());
    }

    fn connected(&mut self, up: Result<(), String>) {
        self.seen.lock().connected = Some(up);
        self.changed.send_replace(());
    }
}

impl Desk {
    async fn until(&self, enough: impl Fn(&Seen) -> bool) {
        let mut changes = self.changed.subscribe();
        while !enough(&self.seen.lock()) {
            changes.changed().await.unwrap();
        }
    }

    fn read(&self, line: &Line) -> JoinHandle<()> {
        let backoff =
            runtime::backoff::Config { first: Duration::from_millis(10), most: Duration::from_secs(1) };
        let config = ImportsConfig { backoff, chance: || 0 };
        tokio::spawn(Imports::new(config, line.channel(), Box::new(self.clone())).run())
    }
}

fn west() -> TrustDomain {
    "west.example".parse().unwrap()
}

fn exported(name: &str, capacity: u32) -> Exported {
    Exported::Service(ExportedService {
        namespace: "tools".into(),
        name: name.into(),
        ports: BTreeMap::from([(80, ExportedPort { name: "mcp".into(), protocol: Protocol::Mcp })]),
        capacity,
        healthy: true,
        locality: Locality::default(),
        gateways: Vec::new(),
        served_by: ServedBy::Waypoint(vec![WEST.parse().unwrap()]),
        vouchers: vec![WEST.parse().unwrap()],
    })
}

fn revocation() -> Exported {
    let identity = "spiffe://east.example/ns/a/sa/b".parse().unwrap();
    Exported::Revocation(Revocation { identity, issued_before: 7, reason: "lost".into() })
}

#[tokio::test(start_paused = true)]
async fn a_link_follows_what_is_exported_and_nothing_is_sent_again() {
    let exports = Exports::new();
    exports.update(&west(), (0..1000).map(|n| exported(&format!("s{n}"), 1)).chain([revocation()]));
    let line = Line::of(Some(WEST));
    line.serve(Server::builder().add_service(exports.service(Arc::new(OneLink))));
    let desk = Desk::default();
    let _reading = desk.read(&line);
    desk.until(|seen| seen.all.len() == 1001).await;
    assert!(desk.seen.lock().all.values().any(|it| *it == revocation()));

    exports.update(&west(), (1..1000).map(|n| exported(&format!("s{n}"), if n == 5 { 2 } else { 1 })));
    desk.until(|seen| seen.all.len() == 999).await;
    let name = |it: &str| it.to_owned();
    let last = BTreeSet::from([
        name("service/tools/s0"),
        name("service/tools/s5"),
        name("revocation/spiffe://east.example/ns/a/sa/b"),
    ]);
    assert_eq!(desk.seen.lock().changes.last(), Some(&last));

    line.cut();
    exports.update(&west(), (1..1000).map(|n| exported(&format!("s{n}"), 1)));
    desk.until(|seen| seen.changes.len() == 3).await;
    assert_eq!(desk.seen.lock().changes.last(), Some(&BTreeSet::from([name("service/tools/s5")])));
}

#[tokio::test(start_paused = true)]
async fn who_has_no_link_reads_nothing() {
    let exports = Exports::new();
    exports.update(&west(), [exported("s", 1)]);
    for (peer, reason) in [
        (None, "a client certificate is needed"),
        (Some("spiffe://north.example/ns/strait-system/sa/controlplane"), "there is no link"),
        (Some("spiffe://west.example/ns/other/sa/other"), "there is no link"),
    ] {
        let line = Line::of(peer);
        line.serve(Server::builder().add_service(exports.service(Arc::new(OneLink))));
        let desk = Desk::default();
        let reading = desk.read(&line);
        desk.until(|seen| matches!(&seen.connected, Some(Err(why)) if why.contains(reason))).await;
        assert!(desk.seen.lock().changes.is_empty());
        reading.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_link_is_gone_the_stream_ends_and_what_was_imported_stays() {
    let exports = Exports::new();
    exports.update(&west(), [exported("s", 1)]);
    let line = Line::of(Some(WEST));
    line.serve(Server::builder().add_service(exports.service(Arc::new(OneLink))));
    let desk = Desk::default();
    let _reading = desk.read(&line);
    desk.until(|seen| seen.all.len() == 1).await;
    exports.forget(&west());
    desk.until(|seen| matches!(&seen.connected, Some(Err(_)))).await;
    assert_eq!(desk.seen.lock().all.len(), 1);
}

#[test]
fn what_is_too_large_is_not_exported_and_named() {
    let exports = Exports::new();
    let large = exported(&"x".repeat(EXPORT_BYTES_MAX), 1);
    let refused = exports.update(&west(), [large.clone(), exported("s", 1)]);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].0, large.name());
}
