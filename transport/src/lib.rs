//! Carries bytes: sockets, mTLS, HBONE, relay, PROXY protocol, dial.
//!
//! The only crate that names `tokio::net`, and the only one that knows `rustls` and `h2`: neither leaves it.
//! It decides nothing: whom to expect, where to go and whether a stream is granted are arguments.
//! Where certificates come from is behind [`Credentials`].

pub mod credential;
pub mod dial;
pub mod drain;
pub mod hbone;
pub mod listener;
pub mod owner;
pub mod pool;
pub mod proxy_protocol;
pub mod relay;
pub mod socket;
pub mod stream;
pub mod tls;

pub use credential::{
    BuildError, Bundles, Credential, CredentialError, CredentialParts, Credentials, Expected, PeerError,
    VerifiedPeer, WrongPeer,
};
pub use dial::{DialError, Fault};
pub use listener::Listener;
pub use pool::Pool;
pub use relay::{Cancel, Relayed, relay};
pub use socket::{Address, Socket};
pub use stream::Stream;
