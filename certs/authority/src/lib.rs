//! Signs identities: requests, entitlement, signing, root, rotation, bundles, and the service over them.
//!
//! *Flow*: `serve` finds out who asks (`Callers`), reads the request (`csr`), asks what runs where (`Placement`),
//! decides (`entitlement`) and signs (`sign`) with the root that `root` keeps. `rotation` says how one root takes
//! over from another, `bundle` how others learn whom to believe.
//!
//! *Guarantees*: an identity is issued only in the authority's own trust domain, only for a key whose possession
//! was proven, and only to who is entitled to it now. The root key never leaves this crate.

pub mod bundle;
mod certificate;
pub mod csr;
pub mod entitlement;
mod holders;
mod limits;
mod revocation;
pub mod root;
pub mod rotation;
mod serial;
pub mod serve;
pub mod sign;

pub use bundle::{Bundle, spki_pin};
pub use certificate::RootFault;
pub use entitlement::{Bearer, Placement, Refusal};
pub use root::{Held, Root, RootStore};
pub use serve::{Authority, Callers};
pub use sign::{Issued, Serial};
