//! A way from the machine's loopback into a namespace, for a server there that the machine's programs call.
//!
//! The rig's API servers listen inside; kubectl and tests run outside. Each connection to the loopback port is
//! joined to one that a socket of the namespace makes. No link leads into the rig.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::namespace::Namespace;

/// How many connections are open at a time; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 1024;
/// How long the server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after the machine has no descriptors left, before the next connection is accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Forwards a port of the machine's loopback to an address inside a named namespace, for ever.
///
/// # Errors
/// When the port is taken.
pub async fn serve(port: u16, namespace: &str, to: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    serve_on(listener, Namespace::named(namespace), to).await;
    Ok(())
}

/// Forwards what a listener accepts to an address inside a namespace, for ever.
pub async fn serve_on(listener: TcpListener, namespace: Namespace, to: SocketAddr) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
        let Ok((outside, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let namespace = namespace.clone();
        tokio::spawn(async move {
            // Who called learns by the end of the connection; the server inside has logs of its own.
            let _ = join(outside, namespace, to).await;
            drop(place);
        });
    }
}

async fn join(mut outside: TcpStream, namespace: Namespace, to: SocketAddr) -> io::Result<()> {
    // A socket belongs for ever to the namespace in which it was made; it is connected from here.
    let socket = spawn_blocking(move || namespace.enter(TcpSocket::new_v4)).await???;
    let mut inside = timeout(CONNECT_TIMEOUT, socket.connect(to)).await??;
    outside.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}
