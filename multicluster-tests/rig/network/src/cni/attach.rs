//! A pod's link to its node: made, looked at, removed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use nix::net::if_::if_nametoindex;

use super::answer::CniError;
use crate::namespace::Namespace;
use crate::netlink::{Change, Mac, Route, Socket, Way};
use crate::running;

/// The router of every pod. No link has the address.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The node's end of every pod's link. Links to pods are segments of two, so that they may be alike.
const NODE_MAC: Mac = [0xee; 6];

/// A pod's interface and where it is.
pub(super) struct Attachment {
    pub(super) container: String,
    pub(super) interface: String,
    /// The pod's network namespace; may be empty for one that goes.
    pub(super) namespace: PathBuf,
}

/// Who the two ends of a link are.
pub(super) struct Macs {
    pub(super) node: Mac,
    pub(super) pod: Mac,
}

impl Attachment {
    /// The name of the node's end: the same for the same pod, so that it is found without memory.
    pub(super) fn link(&self) -> String {
        // The hasher without keys gives the same for the same; a clash is refused by the kernel, not misled.
        let mut hasher = DefaultHasher::new();
        (&self.container, &self.interface).hash(&mut hasher);
        format!("veth{:011x}", hasher.finish() >> 20)
    }

    /// Links the pod to the node that this thread is in.
    pub(super) fn attach(&self, address: Ipv4Addr, node: Ipv4Addr) -> Result<Macs, CniError> {
        let [a, b, c, d] = address.octets();
        let macs = Macs { node: NODE_MAC, pod: [0x0a, 0x58, a, b, c, d] };
        let (link, pod) = (self.link(), Ipv4Net::from(address));
        let to_pod = Route { source: Some(node), ..Route::new(pod, Way::Link(link.clone())) };
        let on_node = [
            Change::Veth {
                link: link.clone(),
                mac: Some(macs.node),
                peer: self.interface.clone(),
                peer_mac: Some(macs.pod),
                peer_namespace: self.namespace.clone(),
            },
            Change::Switch { link: link.clone(), on: true },
            Change::Neighbour { link, address, mac: macs.pod },
            Change::Route(to_pod),
        ];
        let own = self.interface.clone();
        let in_pod = [
            Change::Switch { link: "lo".to_owned(), on: true },
            Change::Switch { link: own.clone(), on: true },
            Change::Address { link: own.clone(), address: pod },
            Change::Route(Route::new(Ipv4Net::from(GATEWAY), Way::Link(own.clone()))),
            Change::Neighbour { link: own, address: GATEWAY, mac: macs.node },
            Change::Route(Route::new(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0), Way::Via(GATEWAY))),
        ];
        let mut socket = Socket::open().map_err(|cause| CniError::failed("cannot speak rtnetlink", cause))?;
        socket.apply_all(&on_node).map_err(|cause| CniError::failed("on the node", cause))?;
        Namespace::at(&self.namespace)
            .change(&in_pod)
            .map_err(|cause| CniError::failed("in the pod", cause))?;
        self.wait_until_running().map_err(|cause| CniError::failed("the pod's link", cause))?;
        Ok(macs)
    }

    /// Waits until both ends carry packets: the pod's first one must not be lost.
    fn wait_until_running(&self) -> io::Result<()> {
        running::wait(&[&self.link()])?;
        Namespace::at(&self.namespace).enter(|| running::wait(&[&self.interface]))?
    }

    /// Whether the node has a link to the pod.
    pub(super) fn is_linked(&self) -> bool {
        exists(&self.link())
    }

    /// Removes the link. One that is gone already, as with its pod's namespace, is no error.
    pub(super) fn detach(&self) -> Result<(), CniError> {
        let link = self.link();
        if !exists(&link) {
            return Ok(());
        }
        let mut socket = Socket::open().map_err(|cause| CniError::failed("cannot speak rtnetlink", cause))?;
        match socket.apply(&Change::Delete { link }) {
            Err(error) if error.cause.raw_os_error() != Some(libc::ENODEV) => {
                Err(CniError::failed("on the node", error))
            }
            _ => Ok(()),
        }
    }

    /// Fails if an end of the link is missing.
    pub(super) fn check(&self) -> Result<(), CniError> {
        let link = self.link();
        if !exists(&link) {
            return Err(CniError::broken(format!("the node has no link {link} to the pod")));
        }
        let inside = Namespace::at(&self.namespace).enter(|| exists(&self.interface));
        match inside {
            Ok(true) => Ok(()),
            Ok(false) => Err(CniError::broken(format!("the pod has no link {}", self.interface))),
            Err(error) => Err(no_namespace(&self.namespace.display().to_string(), &error)),
        }
    }
}

fn no_namespace(path: &str, error: &io::Error) -> CniError {
    match error.kind() {
        ErrorKind::NotFound => CniError::unknown(format!("the pod's network namespace {path} is gone")),
        _ => CniError::failed(&format!("cannot enter the pod's network namespace {path}"), error),
    }
}

fn exists(link: &str) -> bool {
    if_nametoindex(link).is_ok()
}
