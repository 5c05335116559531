//! Hands a stream to the application: where its placement says, and nowhere else.

use std::net::{Ipv4Addr, SocketAddr};

use mesh::{Denial, Reason, names::WorkloadUid, resource::Delivery, snapshot::Snapshot};
use transport::{
    Address, Stream,
    dial::{Target, dial},
};

use crate::node::Node;

/// Connects to the application that serves a port of a workload.
pub(super) async fn deliver(node: &Node, workload: &WorkloadUid, port: u16) -> Result<Stream, Denial> {
    let address = place(&node.world.load().snapshot, workload, port)?;
    let target = Target { address, from: None, timeout: node.inbound.deliver_timeout };
    match dial(&target).await {
        Ok(socket) => Ok(socket.into()),
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Err(Denial::plain(Reason::DeliveryFailed, format!("{error}{cause}")))
        }
    }
}

/// Where a port of a workload is delivered.
fn place(snapshot: &Snapshot, workload: &WorkloadUid, port: u16) -> Result<Address, Denial> {
    let nowhere = |why: &str| Denial::plain(Reason::DeliveryFailed, format!("{workload} {why}"));
    let placement = snapshot.placement(workload).ok_or_else(|| nowhere("is not of this node"))?;
    let delivery = placement.port_deliveries.get(&port).unwrap_or(&placement.delivery);
    // Every port would lead to the same process there: only those that were declared have policies of their own.
    let declared = snapshot.workload(workload).is_some_and(|it| it.ports.contains_key(&port));
    match delivery {
        Delivery::Unix(_) | Delivery::LoopbackPort(_) if !declared => {
            Err(Denial::plain(Reason::UnknownPort, format!("{workload} declares no port {port}")))
        }
        Delivery::Unix(path) => Ok(Address::Unix((**path).into())),
        Delivery::LoopbackPort(port) => Ok(Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, *port)))),
        Delivery::Address => {
            Err(Denial::plain(Reason::NotBuilt, "delivery into a network namespace is not built yet"))
        }
        Delivery::None => Err(nowhere("accepts no connections")),
    }
}
