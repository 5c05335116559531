//! Why a resource cannot be sent or read, and the limits that it keeps.

use std::sync::Arc;

use mesh::resource::Key;

/// Most bytes of one resource.
pub const RESOURCE_BYTES_MAX: usize = 1 << 20;
/// Most bytes of a resource's name: a revocation is named by an identity of up to 2048.
pub const NAME_BYTES_MAX: usize = 2560;

/// Why a resource cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Its name could be taken for another's, or is too long.
    #[error("{0:?} is no name that can be sent for its kind")]
    Name(Arc<str>),
    /// It is too large.
    #[error("it has {0} bytes, {RESOURCE_BYTES_MAX} are the most")]
    TooLarge(usize),
    /// It cannot be written.
    #[error("it cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// Why bytes are no resource.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The type is not known here.
    #[error("the type {0:?} is not known here")]
    Type(String),
    /// It is too large.
    #[error("it has {0} bytes, {RESOURCE_BYTES_MAX} are the most")]
    TooLarge(usize),
    /// The bytes are no message.
    #[error("it cannot be read: {0}")]
    Message(#[from] prost::DecodeError),
    /// The text is no resource of its kind.
    #[error("it cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A part does not say what it must.
    #[error("{part} {problem}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// It holds more than was understood, or says one thing twice differently.
    #[error("it has a field that is not known here, or parts that disagree")]
    NotWhole,
    /// It is named otherwise than it names itself.
    #[error("it names itself {0}")]
    Name(Key),
}

impl DecodeError {
    /// A part does not say what it must.
    pub(super) fn part(part: &'static str, problem: impl Into<String>) -> Self {
        Self::Part { part, problem: problem.into() }
    }
}
