//! A way from the machine's loopback into a namespace of the rig: how programs outside reach an API server.
//!
//! Each connection is carried by a socket made inside the namespace; no packet of the rig passes the machine's own
//! network.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use rig_network::Namespace;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// How many connections are carried at once; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long the other side may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Carries connections of a loopback port to an address inside a namespace, until the process ends.
pub(crate) async fn serve(port: u16, namespace: &str, to: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
    let namespace = Namespace::named(namespace);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.context("the places are never closed")?;
        let (outside, _) = listener.accept().await?;
        let namespace = namespace.clone();
        tokio::spawn(async move {
            // Who asks sees the connection end; that is what an unreachable server looks like.
            let _ = carry(outside, namespace, to).await;
            drop(place);
        });
    }
}

async fn carry(mut outside: TcpStream, namespace: Namespace, to: SocketAddr) -> anyhow::Result<()> {
    let inside = tokio::task::spawn_blocking(move || namespace.tcp_connect(to, CONNECT_TIMEOUT)).await??;
    inside.set_nonblocking(true)?;
    let mut inside = TcpStream::from_std(inside)?;
    // API servers and their clients write small messages and wait for answers.
    inside.set_nodelay(true)?;
    outside.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}
