//! What is kept of an accepted object.

use std::sync::Arc;

use api::Object;

/// An accepted object, and the file that it came from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) object: Arc<Object>,
    pub(super) file: String,
}
