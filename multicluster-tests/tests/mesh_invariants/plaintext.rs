//! 1. Never plaintext once enrolled.

use std::sync::Arc;

use multicluster_tests::mesh::{server::Server, until};
use parking_lot::Mutex;
use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::shop::{allow, planner, reaches, shop};

const CANARY: &str = "canary-in-the-clear";

/// Accepts, records, and never answers.
async fn ear(at: std::net::SocketAddr) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let listener = TcpListener::bind(at).await.unwrap();
    let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let ears = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let index = {
                let mut ears = ears.lock();
                ears.push(Vec::new());
                ears.len() - 1
            };
            let ears = Arc::clone(&ears);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = socket.read(&mut buffer).await {
                    ears.lock()[index].extend_from_slice(&buffer[..read]);
                    // A TLS client that hears nothing says no more than this.
                    if ears.lock()[index].len() > 512 {
                        break;
                    }
                }
            });
        }
    });
    heard
}

#[tokio::test]
async fn mesh_invariant_1_without_a_node_nothing_is_carried_and_nothing_is_said_in_the_clear() {
    let mut cluster = shop(&[("plain.yaml", &allow("plain", "plain", &["planner"]))]).await;
    let plain = Server::web(&cluster.socket("plain"), "plain").unwrap();
    let planner = planner(&cluster);
    let said = reaches(&planner, "http://plain.shop/before").await;
    assert_eq!(said, "plain /before for unknown");
    assert_eq!(plain.asked().len(), 1);

    cluster.kill("two").unwrap();
    // Where plaintext would go: the mesh address itself, which on this machine could be dialled.
    let clear = ear(cluster.number().at(1, 11, 80)).await;
    let url = format!("http://plain.shop/{CANARY}");
    let denied = planner.denied(&url).await.unwrap();
    assert!(denied.status.is_server_error(), "{denied}");
    assert_eq!(denied.reason, "Unreachable", "{denied}");

    // And an impostor at the tunnel's address, which has no certificate, hears a TLS greeting and no more.
    let tunnel = ear(cluster.number().at(1, 11, 15008)).await;
    let asking = tokio::spawn(async move { planner.denied(&url).await });
    until("somebody dials the tunnel", async || tunnel.lock().iter().any(|heard| !heard.is_empty())).await;
    let denied = asking.await.unwrap().unwrap();
    assert!(denied.status.is_server_error(), "{denied}");
    for heard in tunnel.lock().iter().filter(|heard| !heard.is_empty()) {
        assert_eq!(heard[..3], [22, 3, 1], "a TLS handshake record");
        assert!(!String::from_utf8_lossy(heard).contains(CANARY));
    }
    assert_eq!(clear.lock().len(), 0, "nobody dialled the address past the tunnel");
    assert_eq!(plain.asked().len(), 1, "the server saw nothing that did not come through its node");
}

#[tokio::test]
async fn mesh_invariant_1_an_address_of_the_mesh_that_nobody_has_is_never_dialled() {
    let mut cluster = shop(&[]).await;
    let _plain = Server::web(&cluster.socket("plain"), "plain").unwrap();
    let planner = planner(&cluster);
    reaches(&planner, "http://plain.shop/").await;
    // On this machine these could be dialled: nobody's address, and a port that a workload does not have.
    let nobody = cluster.number().at(1, 99, 80);
    let other = cluster.number().at(1, 11, 81);
    let heard = [ear(nobody).await, ear(other).await];
    for address in [nobody, other] {
        let denied = planner.refused(&address.to_string()).await.unwrap();
        assert!(!denied.id.is_empty(), "{denied}");
    }
    // Who cannot ask does not guess.
    cluster.kill("controlplane").unwrap();
    let silent = cluster.number().at(1, 98, 80);
    let more = ear(silent).await;
    for address in [silent, nobody, other] {
        planner.refused(&address.to_string()).await.unwrap();
    }
    planner.refused("nothing.shop.svc.cluster.local:80").await.unwrap();
    assert!(heard.iter().chain([&more]).all(|ears| ears.lock().is_empty()), "somebody was dialled");
}
