//! Session tokens: what a caller holds in place of the server's own session id.
//!
//! A token is sealed and says everything that is needed to serve it, so any replica with the key can, and none needs
//! another's memory. It is good for one caller, one target and one route; presented by or for another it does not
//! exist.

use aws_lc_rs::aead::NONCE_LEN;
use mesh::{names::WorkloadUid, resource::BackendTarget};
use serde::{Deserialize, Serialize};

use crate::seal::Form;
pub use crate::seal::Sealer;

/// How long a server's own session id may be, in bytes.
pub const UPSTREAM_MAX: usize = 1024;
/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Whose it is.
    #[serde(rename = "p")]
    pub principal: String,
    /// Which backend it was opened at, of those that the route leads to.
    #[serde(rename = "t")]
    pub target: BackendTarget,
    /// The route that led there.
    #[serde(rename = "r")]
    pub route: Option<String>,
    /// Where it lives.
    #[serde(rename = "e")]
    pub endpoint: WorkloadUid,
    /// What the server calls it.
    #[serde(rename = "u")]
    pub upstream: String,
}

impl Session {
    /// A token. `nonce` must be of chance, and is used once.
    pub fn seal(&self, sealer: &Sealer, nonce: [u8; NONCE_LEN]) -> Option<String> {
        sealer.seal(Form::Session, "", serde_json::to_vec(self).ok()?, nonce)
    }

    /// What a token says, if it is ours and whole.
    pub fn open(sealer: &Sealer, token: &str) -> Option<Self> {
        serde_json::from_slice(&sealer.open(Form::Session, "", token)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use mesh::names::ServiceKey;

    use super::*;

    fn session() -> Session {
        Session {
            principal: "spiffe://east/ns/agents/sa/planner".into(),
            target: BackendTarget::Service {
                service: ServiceKey {
                    namespace: "shop".into(),
                    hostname: "tools.shop.svc.cluster.local".into(),
                },
                port: 80,
            },
            route: Some("HTTPRoute/shop/tools".into()),
            endpoint: "west/strait.dev/MeshWorkload/shop/tools-1".into(),
            upstream: "0123456789abcdef".into(),
        }
    }

    fn sealer(key: u8, former: &[u8]) -> Sealer {
        let former: Vec<Vec<u8>> = former.iter().map(|key| vec![*key; 32]).collect();
        Sealer::new(&[key; 32], &former).unwrap()
    }

    #[test]
    fn a_token_opens_to_what_was_sealed_at_every_replica() {
        let token = session().seal(&sealer(1, &[]), [7; NONCE_LEN]).unwrap();
        assert_eq!(Session::open(&sealer(1, &[]), &token), Some(session()));
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!token.contains("0123456789"));
    }

    #[test]
    fn former_keys_open_and_do_not_seal() {
        let token = session().seal(&sealer(1, &[]), [7; NONCE_LEN]).unwrap();
        assert_eq!(Session::open(&sealer(2, &[1]), &token), Some(session()));
        let token = session().seal(&sealer(2, &[1]), [8; NONCE_LEN]).unwrap();
        assert_eq!(Session::open(&sealer(1, &[]), &token), None);
    }

    #[test]
    fn what_was_changed_or_is_not_ours_does_not_open() {
        let sealer = sealer(1, &[]);
        let token = session().seal(&sealer, [7; NONCE_LEN]).unwrap();
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            // Bits of the last character that say nothing may differ in no other way than by being refused.
            assert_eq!(Session::open(&sealer, &other), None, "{at}");
        }
        for other in ["", "AQ", "0123456789abcdef", &token[..token.len() - 1], &format!("{token}A")] {
            assert_eq!(Session::open(&sealer, other), None, "{other}");
        }
    }
}
