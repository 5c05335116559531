//! Proven peers, from how `transport` knows them to how decisions do.

use std::time::SystemTime;

use mesh::admission::TlsPeer;
use transport::VerifiedPeer;

/// A proven peer, as decisions know it.
pub(crate) fn tls_peer(peer: &VerifiedPeer) -> TlsPeer {
    TlsPeer { identity: peer.identity.clone(), not_before: seconds(peer.not_before) }
}

/// Seconds since the Unix epoch.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
