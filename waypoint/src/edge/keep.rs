//! Keeps the ports of the edge open as the snapshot says, and serves who comes in.
//!
//! *Flow*: at each swap, ports that are no longer wanted close and new ones open; each connection shakes hands where
//! its port speaks TLS, and its requests go the way of all others. *Guarantees*: a port that cannot be opened is said
//! and tried again, and touches no other; a certificate that changes touches no connection; connections, and
//! handshakes among them, are bounded. *Caveats*: a port that changes between clear text and TLS drains its
//! connections.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh::{Caller, Peer};
use parking_lot::Mutex;
use runtime::DrainWatch;
use tokio::sync::{Semaphore, watch};
use transport::{
    Address, Listener, Socket,
    tls::{EdgeError, accept_edge},
};

use super::{Door, ListenerName, certificates::Certificates};
use crate::{
    causes::with_causes,
    entrance::{CameBy, Entered, Front},
    http,
    waypoint::Waypoint,
};

/// Connections that are open at once; a further one is closed.
pub const CONNECTIONS_MAX: usize = 16 * 1024;
/// Handshakes that go on at once; whoever comes meanwhile is closed.
pub const HANDSHAKES_MAX: usize = 2048;
/// Time for a handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two attempts to open a port.
pub const OPEN_PAUSE: Duration = Duration::from_secs(5);

/// How ports are opened.
#[derive(Debug, Clone)]
pub struct Config {
    /// Added to the port of a listener to make the port that is bound: for a program that may not bind low ports.
    pub port_offset: u16,
    /// Connections that are open at once.
    pub connections: usize,
    /// Handshakes that go on at once.
    pub handshakes: usize,
    /// Time for a handshake.
    pub handshake_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port_offset: 0,
            connections: CONNECTIONS_MAX,
            handshakes: HANDSHAKES_MAX,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }
}

/// How it stands with the ports of the edge, for those who run the gateway. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Standing(Arc<Mutex<BTreeMap<u16, Result<SocketAddr, String>>>>);

impl Standing {
    /// Where each port is bound, or why it is not.
    pub fn ports(&self) -> BTreeMap<u16, Result<SocketAddr, String>> {
        self.0.lock().clone()
    }

    fn set(&self, port: u16, stands: Result<SocketAddr, String>) {
        let mut ports = self.0.lock();
        if let Err(trouble) = &stands
            && ports.get(&port).is_none_or(|before| before.as_ref().err() != Some(trouble))
        {
            tracing::error!(port, trouble, "a port of the edge cannot be served");
        }
        ports.insert(port, stands);
    }
}

/// What every connection needs.
struct Shared {
    waypoint: Arc<Waypoint>,
    certificates: Certificates,
    config: Config,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
}

/// A port that is open. Dropping it closes it, and drains its connections.
struct Open {
    secured: bool,
    // Its sender ends with the port.
    _stop: watch::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens and closes ports at this address until the drain begins.
pub async fn keep(
    waypoint: Arc<Waypoint>,
    at: IpAddr,
    config: Config,
    certificates: Certificates,
    standing: Standing,
    drain: DrainWatch,
) {
    let shared = Arc::new(Shared {
        connections: Arc::new(Semaphore::new(config.connections)),
        handshakes: Arc::new(Semaphore::new(config.handshakes)),
        waypoint,
        certificates,
        config,
    });
    let worlds = Arc::clone(&shared.waypoint.worlds);
    let mut open: BTreeMap<u16, Open> = BTreeMap::new();
    let mut draining = drain.clone();
    loop {
        let seen = worlds.generation();
        let again = arrange(&shared, at, &mut open, &standing, &drain);
        tokio::select! {
            () = worlds.changed(seen) => {}
            () = tokio::time::sleep(OPEN_PAUSE), if again => {}
            () = draining.draining() => return,
        }
    }
}

/// Makes what is open what is wanted. True if something is to be tried again.
fn arrange(
    shared: &Arc<Shared>,
    at: IpAddr,
    open: &mut BTreeMap<u16, Open>,
    standing: &Standing,
    drain: &DrainWatch,
) -> bool {
    let world = shared.waypoint.worlds.load();
    let wanted: BTreeMap<u16, bool> = world
        .edge
        .ports()
        .filter(|(_, port)| port.broken.is_none())
        .map(|(number, port)| (number, port.secured))
        .collect();
    open.retain(|number, port| wanted.get(number) == Some(&port.secured) && !port.task.is_finished());
    standing.0.lock().retain(|number, _| wanted.contains_key(number));
    for (number, port) in world.edge.ports() {
        if let Some(trouble) = port.broken {
            standing.set(number, Err(trouble.to_owned()));
        }
        for listener in port.listeners() {
            // Made now, so that what is wrong with them is said when it is told and not when somebody connects.
            shared.certificates.of(&world.snapshot, listener, (shared.waypoint.now)());
        }
    }
    shared.certificates.retain(&world.snapshot);
    let mut again = false;
    for (number, secured) in wanted {
        if open.contains_key(&number) {
            continue;
        }
        match bind(at, number, shared.config.port_offset) {
            Ok((listener, bound)) => {
                let (stop, stopped) = watch::channel(());
                let accepting =
                    accept(Arc::clone(shared), listener, (number, secured), stopped, drain.clone());
                open.insert(number, Open { secured, _stop: stop, task: tokio::spawn(accepting) });
                standing.set(number, Ok(bound));
            }
            Err(trouble) => {
                standing.set(number, Err(trouble));
                again = true;
            }
        }
    }
    again
}

fn bind(at: IpAddr, port: u16, offset: u16) -> Result<(Listener, SocketAddr), String> {
    let bound =
        port.checked_add(offset).ok_or_else(|| format!("port {port} and {offset} more is no port"))?;
    let at = SocketAddr::new(at, bound);
    let listener = Listener::bind(&Address::Tcp(at)).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "; ports this low need CAP_NET_BIND_SERVICE, a lower net.ipv4.ip_unprivileged_port_start, or an offset"
            }
            _ => "",
        };
        format!("{at} cannot be bound: {error}{remedy}")
    })?;
    Ok((listener, at))
}

async fn accept(
    shared: Arc<Shared>,
    listener: Listener,
    (port, secured): (u16, bool),
    stopped: watch::Receiver<()>,
    drain: DrainWatch,
) {
    let mut draining = drain.clone();
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::error!(%error, address = %listener.address(), "a port of the edge failed");
                    return;
                }
            },
            () = draining.draining() => return,
        };
        let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
            socket.reset();
            continue;
        };
        let (shared, stopped, drain) = (Arc::clone(&shared), stopped.clone(), drain.clone());
        tokio::spawn(async move {
            let _guard = drain.guard();
            if secured {
                over_tls(&shared, socket, port, stopped, drain).await;
            } else {
                let from = socket.peer_address();
                serve(&shared, socket, from, Door { port, chosen: None }, stopped, drain).await;
            }
            drop(permit);
        });
    }
}

async fn over_tls(
    shared: &Shared,
    socket: Socket,
    port: u16,
    stopped: watch::Receiver<()>,
    drain: DrainWatch,
) {
    let Ok(permit) = Arc::clone(&shared.handshakes).try_acquire_owned() else { return socket.reset() };
    let from = socket.peer_address();
    let now: SystemTime = (shared.waypoint.now)();
    let choose = |name: Option<&str>| {
        let world = shared.waypoint.worlds.load();
        let listener = world.edge.by_server_name(port, name)?;
        let tls = shared.certificates.of(&world.snapshot, listener, now)?;
        Some((tls, ListenerName::of(listener)))
    };
    let shaken = accept_edge(socket, shared.config.handshake_timeout, choose).await;
    drop(permit);
    match shaken {
        Ok((stream, chosen)) => {
            serve(shared, stream, from, Door { port, chosen: Some(chosen) }, stopped, drain).await;
        }
        Err(error) => {
            shared.waypoint.report.decisions.handshake_failed();
            let error = match &error {
                EdgeError::Tls(_) | EdgeError::Name(_) | EdgeError::Slow => with_causes(&error),
            };
            tracing::debug!(%error, ?from, port, "a handshake at the edge failed");
        }
    }
}

async fn serve<S>(
    shared: &Shared,
    stream: S,
    from: Option<SocketAddr>,
    door: Door,
    mut stopped: watch::Receiver<()>,
    mut drain: DrainWatch,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    // Nobody out there proves an identity, whatever they say.
    let entered = Entered {
        caller: Caller { workload: Peer::Unknown, by: None },
        came: CameBy::Edge { secured: door.chosen.is_some() },
        source_address: from.map(|from| from.ip().to_canonical()),
        carrier: None,
    };
    let mut closing = drain.clone();
    let draining = async move {
        tokio::select! {
            () = drain.draining() => {}
            // Nothing is ever sent: it ends with the port.
            _ = stopped.changed() => {}
        }
    };
    let served = http::serve(
        Arc::clone(&shared.waypoint),
        Arc::new(entered),
        Arc::new(Front::Edge(door)),
        stream,
        draining,
    );
    tokio::select! {
        () = served => {}
        // What is left is cut.
        () = closing.closing() => {}
    }
}
