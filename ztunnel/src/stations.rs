//! Where the workloads of this node are reached: a tunnel listener and an explicit proxy for each, as placed.
//!
//! *Flow*: after each swap the listeners that should be are compared with those that are. *Guarantees*: each
//! listener serves one workload, so that the certificate to show follows from where a connection came in.
//! *Caveats*: a listener that cannot be bound is tried again, and readiness says so meanwhile.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use mesh::{names::WorkloadUid, resource::Reach, snapshot::Snapshot};
use runtime::readiness::ReadyPart;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::sleep,
};
use transport::{Address, Cancel, Listener, Socket};

use crate::{explicit, inbound, node::Node};

/// How long to wait before a listener that could not be bound is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What is served at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    /// Tunnels to the workload.
    Tunnel,
    /// Connections of the workload.
    Proxy,
}

/// One listener that should be.
type Post = (WorkloadUid, Purpose, SocketAddr);

/// Keeps the listeners as the snapshots say, until the program drains.
pub(crate) async fn keep(
    node: Arc<Node>,
    tunnel_port: Option<u16>,
    mut swaps: watch::Receiver<u64>,
    part: ReadyPart,
) {
    let mut drain = node.drain.clone();
    let mut posts: BTreeMap<Post, Cancel> = BTreeMap::new();
    let tunnels = Arc::new(Semaphore::new(node.inbound.tunnels_max));
    let proxies = Arc::new(Semaphore::new(node.explicit.connections_max));
    loop {
        swaps.borrow_and_update();
        let held = node.world.load();
        let wanted = wanted(&held.snapshot, tunnel_port);
        // Before the first checkpoint nothing is listened for, and that is not being ready.
        let begun = held.number > 0;
        drop(held);
        posts.retain(|post, cancel| {
            let keep = wanted.contains(post);
            if !keep {
                cancel.cancel();
            }
            keep
        });
        let mut failed = None;
        for post in wanted {
            if posts.contains_key(&post) {
                continue;
            }
            match Listener::bind(&Address::Tcp(post.2)) {
                Ok(listener) => {
                    let room = if post.1 == Purpose::Tunnel { &tunnels } else { &proxies };
                    let cancel = Cancel::new();
                    tokio::spawn(accept(node.clone(), post.clone(), listener, cancel.clone(), room.clone()));
                    posts.insert(post, cancel);
                }
                Err(error) => {
                    let text = format!("cannot listen at {} for {}: {error}", post.2, post.0);
                    tracing::error!("{text}");
                    failed = Some(text);
                }
            }
        }
        match &failed {
            Some(text) => part.pending(text),
            None if begun => part.ready(),
            None => {}
        }
        let again = async {
            match failed {
                Some(_) => sleep(RETRY).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = swaps.changed() => if changed.is_err() { return },
            () = again => {}
            () = drain.draining() => break,
        }
    }
    posts.into_values().for_each(|cancel| cancel.cancel());
}

/// The listeners that should be.
fn wanted(snapshot: &Snapshot, tunnel_port: Option<u16>) -> Vec<Post> {
    let mut wanted = Vec::new();
    for placement in snapshot.placements() {
        // At a checkpoint a workload in scope is complete; a placement without one serves nobody yet.
        let Some(workload) = snapshot.workload(&placement.workload) else { continue };
        if let Reach::Tunnel(address) = workload.reach {
            let port = tunnel_port.unwrap_or(address.port());
            wanted.push((workload.uid.clone(), Purpose::Tunnel, SocketAddr::new(address.ip(), port)));
        }
        match &placement.proxy {
            Some(proxy) if proxy.listen.ip().is_loopback() => {
                wanted.push((workload.uid.clone(), Purpose::Proxy, proxy.listen));
            }
            Some(proxy) => {
                tracing::error!(workload = %workload.uid, listen = %proxy.listen, "an explicit proxy listens on loopback only");
            }
            None => {}
        }
    }
    wanted.sort();
    wanted
}

/// Accepts at one listener until told to stop.
async fn accept(node: Arc<Node>, post: Post, listener: Listener, cancel: Cancel, room: Arc<Semaphore>) {
    let (workload, purpose, _) = post;
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            accepted = next(&listener, &room) => accepted,
        };
        let (socket, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(%workload, %error, "a listener is broken");
                return;
            }
        };
        let (node, workload) = (node.clone(), workload.clone());
        tokio::spawn(async move {
            match purpose {
                Purpose::Tunnel => inbound::serve(node, workload, socket).await,
                Purpose::Proxy => explicit::serve(node, workload, socket).await,
            }
            drop(permit);
        });
    }
}

/// A connection is accepted only when there is room for it: until then it waits in the kernel, bounded too.
async fn next(listener: &Listener, room: &Arc<Semaphore>) -> io::Result<(Socket, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?, permit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_served_before_anything_is_placed() {
        assert_eq!(wanted(&Snapshot::default(), None), []);
    }
}
