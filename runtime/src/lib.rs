//! What every program lives by: drain, readiness, admin page, logs, metrics, spans, backoff, private files.
//!
//! It knows nothing of the mesh and opens no network socket of its own: the admin page is handed connections that
//! `transport` accepted, and only `otlp` lets a library reach a collector, where one is configured.

pub mod access_log;
pub mod admin;
pub mod backoff;
pub mod drain;
pub mod intervals;
pub mod logging;
pub mod metrics;
pub mod otlp;
pub mod readiness;
pub mod sealed;
pub mod spans;
pub mod trace;
pub mod vault;

pub use access_log::{AccessLog, Entry};
pub use admin::{Admin, Answer, Query};
pub use backoff::Backoff;
pub use drain::{Drain, DrainWatch, Phase};
pub use metrics::Metrics;
pub use readiness::Readiness;
pub use sealed::{SealedError, SealedFile};
pub use spans::{Span, Spans};
pub use trace::TraceContext;
pub use vault::Vault;
