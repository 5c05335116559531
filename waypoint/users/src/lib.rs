//! Who the person behind a request is: tokens and API keys, verified against issuers that are defined once.
//!
//! [`Credential::take`] takes the one credential out of a request, so that it goes no further; [`Users::authenticate`] says
//! whose it is; [`Refusal`] is what a client learns when it is nobody's. Judging users is left to policies, and
//! reaching an issuer to [`exchange::Upstreams`].
//!
//! Caveat: a user is proven where the token arrives. The token does not travel on, so a waypoint behind a gateway
//! that authenticates knows no user: policies on users belong where users are authenticated.

mod claims;
mod credential;
mod invalid;
mod jwks;
mod keys;
mod metadata;
mod refusal;
mod source;
mod strict;
mod token;
mod verify;

pub use claims::{Expected, LEEWAY};
pub use credential::Credential;
pub use invalid::Invalid;
pub use jwks::{KEYS_MAX, Keys, KeysError};
pub use metadata::{WELL_KNOWN, answer as metadata, path_of as metadata_path};
pub use refusal::{Challenge, Refusal};
pub use source::{FETCH_BYTES_MAX, FETCH_TIMEOUT, FRESH_FOR, KEPT_FOR, REFRESH_PAUSE, RETRY_PAUSE};
pub use token::{TOKEN_BYTES_MAX, Token};
pub use verify::Users;
