//! 7. A root is replaced while everything runs: no connection breaks, and no call fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use multicluster_tests::mesh::{Cluster, server::Server, until_some};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    open::echoes,
    shop::{planner, reaches_through, shop},
};

/// How long everybody may take to be ready for a step: certificates are renewed over some seconds, and must then have
/// arrived for sure.
const READY: Duration = Duration::from_secs(60);

/// Asks the control plane as `strait root` does.
async fn root(cluster: &Cluster, query: &str) -> Result<Value, String> {
    let state = cluster.folder().join("state");
    let running: Value =
        serde_json::from_str(&std::fs::read_to_string(state.join("controlplane.json")).unwrap()).unwrap();
    let admin = running["admin"].as_str().unwrap();
    let token = std::fs::read_to_string(state.join("admin-token")).unwrap();
    let mut socket = TcpStream::connect(admin).await.unwrap();
    let request = format!(
        "POST /v1/root?{query} HTTP/1.1\r\nhost: {admin}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if head.starts_with("HTTP/1.1 200") {
        Ok(serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
    } else {
        Err(body.to_owned())
    }
}

/// Takes a step as soon as everybody is ready for it.
async fn step(cluster: &Cluster, query: &str, phase: &str) {
    let mut why = String::new();
    let taken = tokio::time::timeout(READY, async {
        loop {
            match root(cluster, query).await {
                Ok(status) => return status,
                Err(waits) => why = waits,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let Ok(status) = taken.await else { panic!("{query}: {why}") };
    assert_eq!(status["phase"], phase);
}

#[tokio::test]
async fn mesh_invariant_7_a_root_is_replaced_under_open_connections_and_new_calls() {
    let mut cluster = shop(&[]).await;
    let plain = Server::echo(&cluster.socket("plain")).unwrap();
    let _web = Server::web(&cluster.socket("web"), "web").unwrap();
    let planner = planner(&cluster);
    let before = cluster.root().unwrap();
    let mut kept = until_some("planner connects", async || planner.open("plain.shop:80").await).await;
    assert!(echoes(&mut kept, "one").await);
    reaches_through(&planner, "http://web.shop/").await;

    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let calling = tokio::spawn({
        let (stop, calls, planner) = (Arc::clone(&stop), Arc::clone(&calls), planner.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                planner.text("http://web.shop/").await.unwrap();
                let mut fresh = planner.open("plain.shop:80").await.unwrap();
                assert!(echoes(&mut fresh, "new").await);
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });

    assert!(root(&cluster, "do=advance").await.unwrap_err().contains("no rotation"));
    step(&cluster, "do=rotate", "distribute").await;
    assert!(root(&cluster, "do=rotate").await.unwrap_err().contains("under way"));
    step(&cluster, "do=advance", "sign").await;
    let unused = root(&cluster, "do=advance").await.unwrap_err();
    assert!(unused.contains("certificate"), "{unused}");
    step(&cluster, "do=advance", "retire").await;
    step(&cluster, "do=back", "sign").await;
    step(&cluster, "do=advance", "retire").await;
    step(&cluster, "do=advance", "settled").await;
    assert_ne!(cluster.root().unwrap(), before, "who joins is given the new one");

    stop.store(true, Ordering::Relaxed);
    calling.await.unwrap();
    assert!(calls.load(Ordering::Relaxed) > 10);
    assert!(echoes(&mut kept, "two").await);
    assert!(!plain.asked().is_empty());

    // A restart finds the new root, and proxies find a control plane that they believe.
    cluster.kill("controlplane").unwrap();
    cluster.start_control_plane().await.unwrap();
    step(&cluster, "do=rotate", "distribute").await;
    cluster.kill("controlplane").unwrap();
    cluster.start_control_plane().await.unwrap();
    assert_eq!(root(&cluster, "do=status").await.unwrap()["phase"], "distribute");
    step(&cluster, "do=advance", "sign").await;
    step(&cluster, "do=back", "distribute").await;
    assert!(echoes(&mut kept, "three").await);
    planner.text("http://web.shop/").await.unwrap();
}
