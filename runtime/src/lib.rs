//! What every program lives by: drain, readiness, admin page, logs, metrics, backoff, private files.
//!
//! It knows nothing of the mesh and opens no network socket: the admin page is handed connections that
//! `transport` accepted.

pub mod access_log;
pub mod admin;
pub mod backoff;
pub mod drain;
pub mod logging;
pub mod metrics;
pub mod readiness;
pub mod sealed;

pub use access_log::{AccessLog, Entry};
pub use admin::{Admin, Answer, Query};
pub use backoff::Backoff;
pub use drain::{Drain, DrainWatch, Phase};
pub use metrics::Metrics;
pub use readiness::Readiness;
pub use sealed::{SealedError, SealedFile};
