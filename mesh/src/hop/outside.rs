//! What is not held: inside the mesh it is asked for, outside of it plaintext may go.
//!
//! Plaintext is possible only to what lies outside every range and suffix of the mesh, or for which the
//! control plane answered that it is not in the mesh.

use std::net::{IpAddr, SocketAddr};

use super::words::{Hop, OWN_PORTS, Wanted};
use crate::{
    denial::{Denial, Reason},
    names::{Hostname, NetworkAddress},
    resource::{Egress, Workload},
    snapshot::Snapshot,
};

/// Longest name that DNS has (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// Where a connection to an address goes that nobody we hold has.
pub(super) fn address(snapshot: &Snapshot, source: &Workload, address: SocketAddr) -> Result<Hop, Denial> {
    let network = &source.network;
    let within = |ranges: &crate::resource::MeshRanges| {
        ranges.addresses.iter().any(|range| range.contains(&address.ip()))
    };
    let Some(ours) = snapshot.ranges().find(|ranges| ranges.network == *network) else {
        return Err(Denial::plain(
            Reason::ControlPlaneSilent,
            format!("the ranges of the network {network} are not held"),
        ));
    };
    if within(ours) {
        if snapshot.is_absent_address(network, address.ip()) {
            return direct(source, address);
        }
        let wanted = NetworkAddress { network: network.clone(), address: address.ip() };
        return Ok(Hop::Ask(vec![Wanted::Address(wanted)]));
    }
    if let Some(other) = snapshot.ranges().find(|ranges| within(ranges)) {
        return Err(Denial::plain(
            Reason::NoGateway,
            format!(
                "{} is of the network {}, which is reached by names of services only",
                address.ip(),
                other.network
            ),
        ));
    }
    direct(source, address)
}

/// In plaintext, to what is known not to be in the mesh.
pub(super) fn direct(source: &Workload, address: SocketAddr) -> Result<Hop, Denial> {
    if source.egress == Egress::Deny {
        return Err(Denial::plain(
            Reason::EgressDenied,
            format!("{address} is outside the mesh, and {} may reach nothing there", source.uid),
        ));
    }
    let ip = address.ip();
    // What listens on this machine's loopback are deliveries and tunnels: nobody comes to them past us.
    let ours = ip.is_loopback() || ip.is_unspecified() || OWN_PORTS.contains(&address.port());
    let many = ip.is_multicast() || ip == IpAddr::from([255, 255, 255, 255]);
    if ours || many || address.port() == 0 {
        return Err(Denial::plain(
            Reason::Loop,
            format!("{address} is nothing that a connection may leave to"),
        ));
    }
    Ok(Hop::Direct { address })
}

/// What a name, as an application said it, can mean.
pub(super) struct Names {
    said: Hostname,
    literal: Option<IpAddr>,
    /// What it means inside the mesh if it is short, as Kubernetes' search list has it.
    long: Vec<Hostname>,
    /// True if the name itself is under a suffix of the mesh.
    inside: bool,
}

impl Names {
    pub(super) fn new(snapshot: &Snapshot, source: &Workload, host: &Hostname) -> Result<Self, Denial> {
        let text = host.as_str().to_ascii_lowercase();
        let text = text.strip_suffix('.').unwrap_or(&text);
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self { said: text.into(), literal: Some(address), long: Vec::new(), inside: false });
        }
        if !is_name(text) {
            return Err(Denial::plain(Reason::Malformed, format!("{text:?} is no name")));
        }
        let mut ranges = snapshot.ranges().peekable();
        if ranges.peek().is_none() {
            return Err(Denial::plain(Reason::ControlPlaneSilent, "the suffixes of the mesh are not held"));
        }
        let suffixes: Vec<_> = ranges.flat_map(|ranges| &ranges.suffixes).collect();
        let inside = suffixes.iter().any(|suffix| is_under(text, suffix));
        let here = snapshot.ranges().filter(|ranges| ranges.network == source.network);
        let namespace = &source.namespace;
        let labels: Vec<_> = text.split('.').collect();
        let long = here
            .flat_map(|ranges| &ranges.suffixes)
            .filter_map(|suffix| match *labels {
                _ if inside => None,
                [_] => Some(format!("{text}.{namespace}.svc.{suffix}").into()),
                [_, _] => Some(format!("{text}.svc.{suffix}").into()),
                [_, _, "svc"] => Some(format!("{text}.{suffix}").into()),
                _ => None,
            })
            .collect();
        Ok(Self { said: text.into(), literal: None, long, inside })
    }

    pub(super) fn literal(&self) -> Option<IpAddr> {
        self.literal
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Hostname> {
        std::iter::once(&self.said).chain(&self.long)
    }

    /// Where a connection goes that means no service that we hold.
    pub(super) fn elsewhere(self, snapshot: &Snapshot, source: &Workload, port: u16) -> Result<Hop, Denial> {
        let asked = self.long.iter().chain(self.inside.then_some(&self.said));
        let unknown: Vec<_> = asked
            .filter(|name| !snapshot.is_absent_name(name))
            .map(|name| Wanted::Name(name.clone()))
            .collect();
        if !unknown.is_empty() {
            return Ok(Hop::Ask(unknown));
        }
        match source.egress {
            Egress::Allow => Ok(Hop::Resolve { host: self.said, port }),
            Egress::Deny if self.inside => {
                Err(Denial::plain(Reason::UnknownDestination, format!("nothing serves {}", self.said)))
            }
            Egress::Deny => Err(Denial::plain(
                Reason::EgressDenied,
                format!("{} is outside the mesh, and {} may reach nothing there", self.said, source.uid),
            )),
        }
    }
}

fn is_under(name: &str, suffix: &str) -> bool {
    name == suffix || name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'))
}

fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(legal);
    text.len() <= NAME_BYTES_MAX && text.split('.').all(label)
}
