//! Resources as bytes, and back.
//!
//! Workload and Service travel as `istio.workload.Address`, with what Istio has no words for in an extension; every
//! other kind as a [`Document`] under a type name of its own. Equal resources have equal bytes, so a version is a
//! hash of them. What a reader does not understand whole rejects that resource, by name: it might have been a
//! restriction.

mod address;
mod kind;
mod service;
mod version;
mod workload;

use std::sync::Arc;

use bytes::Bytes;
use mesh::{
    names::Version,
    resource::{Key, Kind, Resource},
};
use prost::Message;
use proto::strait::v1::Document;
use serde::{Serialize, de::DeserializeOwned};

pub use kind::{CHECKPOINT_TYPE, key_of, type_url, type_urls};
pub use version::{digest, version};

/// Most bytes of one resource.
pub const RESOURCE_BYTES_MAX: usize = 1 << 20;
/// Most bytes of a resource's name: a revocation is named by an identity of up to 2048.
pub const NAME_BYTES_MAX: usize = 2560;

/// One resource, ready to be sent to anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Which.
    pub key: Key,
    /// The hash of `value`.
    pub version: Version,
    /// The canonical bytes, shared by everyone to whom it is sent.
    pub value: Bytes,
}

impl Encoded {
    /// The name of its type.
    pub fn type_url(&self) -> &'static str {
        type_url(self.key.kind)
    }
}

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
    fn part(part: &'static str, problem: impl Into<String>) -> Self {
        Self::Part { part, problem: problem.into() }
    }
}

/// Encodes a resource.
///
/// # Errors
/// When it is too large or has a name that could be taken for another's.
pub fn encode(resource: &Resource) -> Result<Encoded, EncodeError> {
    let key = resource.key();
    if key.name.len() > NAME_BYTES_MAX || key_of(type_url(key.kind), &key.name).as_ref() != Some(&key) {
        return Err(EncodeError::Name(key.name));
    }
    let value: Bytes = match resource {
        Resource::Workload(it) => address::of_workload(it)?,
        Resource::Service(it) => address::of_service(it)?,
        Resource::Ranges(it) => document(it.as_ref())?,
        Resource::Bundle(it) => document(it.as_ref())?,
        Resource::Revocation(it) => document(it.as_ref())?,
        Resource::Placement(it) => document(it.as_ref())?,
        Resource::Absence(it) => document(it.as_ref())?,
        Resource::Policy(it) => document(it.as_ref())?,
        Resource::PolicySet(it) => document(it.as_ref())?,
        Resource::Listener(it) => document(it.as_ref())?,
        Resource::Route(it) => document(it.as_ref())?,
        Resource::Backend(it) => document(it.as_ref())?,
    }
    .into();
    if value.len() > RESOURCE_BYTES_MAX {
        return Err(EncodeError::TooLarge(value.len()));
    }
    Ok(Encoded { version: version(&value), key, value })
}

/// Decodes a resource that was sent under this type and name.
///
/// # Errors
/// When it is not understood whole, or names itself otherwise.
pub fn decode(type_url: &str, name: &str, value: &[u8]) -> Result<Resource, DecodeError> {
    if value.len() > RESOURCE_BYTES_MAX {
        return Err(DecodeError::TooLarge(value.len()));
    }
    let kind = key_of(type_url, name).ok_or_else(|| DecodeError::Type(type_url.to_owned()))?.kind;
    let resource = match kind {
        Kind::Workload | Kind::Service => address::read(value)?,
        Kind::Ranges => Resource::Ranges(read(value)?),
        Kind::Bundle => Resource::Bundle(read(value)?),
        Kind::Revocation => Resource::Revocation(read(value)?),
        Kind::Placement => Resource::Placement(read(value)?),
        Kind::Absence => Resource::Absence(read(value)?),
        Kind::Policy => Resource::Policy(read(value)?),
        Kind::PolicySet => Resource::PolicySet(read(value)?),
        Kind::Listener => Resource::Listener(read(value)?),
        Kind::Route => Resource::Route(read(value)?),
        Kind::Backend => Resource::Backend(read(value)?),
    };
    let key = resource.key();
    if key.kind != kind || &*key.name != name {
        return Err(DecodeError::Name(key));
    }
    Ok(resource)
}

/// A value as the bytes of a `strait.v1.Document`.
pub(crate) fn document<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    Ok(Document { json: serde_json::to_vec(value)?.into() }.encode_to_vec())
}

/// The value in the bytes of a `strait.v1.Document`.
pub(crate) fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, DecodeError> {
    let document = Document::decode(value)?;
    // A field that this reader does not know is skipped by the decoder, and missing from what it would write.
    if document.encoded_len() != value.len() {
        return Err(DecodeError::NotWhole);
    }
    Ok(serde_json::from_slice(&document.json)?)
}

#[cfg(test)]
mod tests;
