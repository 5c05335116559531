//! Why a connection could not be made.

use std::sync::Arc;

use mesh::Denial;

/// Why an attempt failed: ours to tell, or told by the other end.
pub(super) enum Failure {
    Denied(Denial),
    There { status: u16, denied: Arc<str> },
}
