//! Who is at the other end of a stream: proven by a bearer token, never by what it says of itself.

use std::{fmt, sync::Arc};

use mesh::{identity::Identity, names::NodeName};
use tonic::{Status, metadata::MetadataMap};

/// Longest bearer token, in bytes.
pub const BEARER_BYTES_MAX: usize = 16 << 10;

/// Reads the token to present; it is asked anew for every stream, because tokens on disk are renewed.
pub type Bearer = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// A proxy, as its token proves it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Caller {
    /// The node proxy of one node: it may know what the workloads placed there may need.
    Node {
        /// The node.
        name: NodeName,
    },
    /// A waypoint or gateway: it may know what it serves.
    Gateway {
        /// Its own identity.
        identity: Identity,
    },
}

impl fmt::Display for Caller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { name } => write!(out, "node {name}"),
            Self::Gateway { identity } => write!(out, "gateway {identity}"),
        }
    }
}

/// Why a token proves nobody. The text is for our log; the caller learns nothing from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthenticated(pub String);

/// Says whose token it is.
#[tonic::async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// The bearer of the token.
    ///
    /// # Errors
    /// When the token is unknown, expired or revoked, or cannot be checked now.
    async fn authenticate(&self, bearer: &str) -> Result<Caller, Unauthenticated>;
}

/// Authenticates a call by its metadata.
pub(crate) async fn of_call(
    metadata: &MetadataMap,
    authenticate: &dyn Authenticate,
) -> Result<Caller, Status> {
    let refused = || Status::unauthenticated("a valid bearer token is needed");
    let mut values = metadata.get_all("authorization").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(refused()) };
    let token = value.to_str().ok().and_then(bearer).ok_or_else(refused)?;
    authenticate.authenticate(token).await.map_err(|error| {
        tracing::warn!(%error, "a subscriber was refused");
        refused()
    })
}

fn bearer(value: &str) -> Option<&str> {
    // The scheme is compared without case (RFC 9110, section 11.1).
    let (scheme, token) = value.split_once(' ')?;
    let good = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= BEARER_BYTES_MAX;
    good.then_some(token)
}

/// Puts a token into the metadata of a call.
pub(crate) fn present<T>(request: &mut tonic::Request<T>, source: &Bearer) -> Result<(), String> {
    let token = source()?;
    let value = format!("Bearer {}", token.trim());
    let mut value = tonic::metadata::MetadataValue::try_from(value)
        .map_err(|_| "the token has characters that no header may have".to_owned())?;
    value.set_sensitive(true);
    request.metadata_mut().insert("authorization", value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_bearer_token_of_a_bounded_length_is_read() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        for bad in ["", "abc", "Bearer ", "Basic abc"] {
            assert_eq!(bearer(bad), None, "{bad:?}");
        }
        let longest = "x".repeat(BEARER_BYTES_MAX);
        assert!(bearer(&format!("Bearer {longest}")).is_some());
        assert!(bearer(&format!("Bearer {longest}x")).is_none());
    }
}
