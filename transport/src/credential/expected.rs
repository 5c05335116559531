//! Whom the other end may be.

use std::{collections::BTreeSet, fmt, sync::Arc};

use mesh::Identity;

use super::peer::VerifiedPeer;

/// Whom the other end may be. Empty means nobody.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Expected(Arc<BTreeSet<Identity>>);

/// The other end proved an identity, but not one of those expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer is {found}, expected was {expected}")]
pub struct WrongPeer {
    /// Who it is.
    pub found: Identity,
    /// Who it should have been.
    pub expected: Expected,
}

impl Expected {
    /// Exactly these.
    pub fn new(identities: impl IntoIterator<Item = Identity>) -> Self {
        Self(Arc::new(identities.into_iter().collect()))
    }

    /// The identities.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.0.iter()
    }

    /// Passes a peer that is one of these.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, peer: &VerifiedPeer) -> Result<(), WrongPeer> {
        if self.0.contains(&peer.identity) {
            return Ok(());
        }
        Err(WrongPeer { found: peer.identity.clone(), expected: self.clone() })
    }
}

impl From<Identity> for Expected {
    fn from(identity: Identity) -> Self {
        Self::new([identity])
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, identity) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str(" or ")?;
            }
            write!(out, "{identity}")?;
        }
        if self.0.is_empty() {
            out.write_str("nobody")?;
        }
        Ok(())
    }
}
