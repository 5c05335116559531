//! Resources as bytes, and back.
//!
//! Workload and Service travel as `istio.workload.Address`, with what Istio has no words for in an extension; every
//! other kind as a `strait.v1.Document` under a type name of its own. Equal resources have equal bytes, so a version
//! is a hash of them. What a reader does not understand whole rejects that resource, by name: it might have been a
//! restriction.

mod address;
mod document;
mod endpoint;
mod error;
mod facts;
mod kind;
mod service;
mod version;
mod workload;

use bytes::Bytes;
use mesh::{
    names::Version,
    resource::{Key, Kind, Resource},
};

pub use error::{DecodeError, EncodeError, NAME_BYTES_MAX, RESOURCE_BYTES_MAX};
pub use kind::{CHECKPOINT_TYPE, key_of, type_url, type_urls};
pub use version::{digest, version};

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
        Resource::Ranges(it) => document::write(it.as_ref())?,
        Resource::Bundle(it) => document::write(it.as_ref())?,
        Resource::Revocation(it) => document::write(it.as_ref())?,
        Resource::Placement(it) => document::write(it.as_ref())?,
        Resource::Absence(it) => document::write(it.as_ref())?,
        Resource::Policy(it) => document::write(it.as_ref())?,
        Resource::PolicySet(it) => document::write(it.as_ref())?,
        Resource::Listener(it) => document::write(it.as_ref())?,
        Resource::Route(it) => document::write(it.as_ref())?,
        Resource::Backend(it) => document::write(it.as_ref())?,
        Resource::Guard(it) => document::write(it.as_ref())?,
        Resource::Quota(it) => document::write(it.as_ref())?,
        Resource::Catalogue(it) => document::write(it.as_ref())?,
        Resource::Issuer(it) => document::write(it.as_ref())?,
        Resource::Secret(it) => document::write(it.as_ref())?,
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
        Kind::Ranges => Resource::Ranges(document::read(value)?),
        Kind::Bundle => Resource::Bundle(document::read(value)?),
        Kind::Revocation => Resource::Revocation(document::read(value)?),
        Kind::Placement => Resource::Placement(document::read(value)?),
        Kind::Absence => Resource::Absence(document::read(value)?),
        Kind::Policy => Resource::Policy(document::read(value)?),
        Kind::PolicySet => Resource::PolicySet(document::read(value)?),
        Kind::Listener => Resource::Listener(document::read(value)?),
        Kind::Route => Resource::Route(document::read(value)?),
        Kind::Backend => Resource::Backend(document::read(value)?),
        Kind::Guard => Resource::Guard(document::read(value)?),
        Kind::Quota => Resource::Quota(document::read(value)?),
        Kind::Catalogue => Resource::Catalogue(document::read(value)?),
        Kind::Issuer => Resource::Issuer(document::read(value)?),
        Kind::Secret => Resource::Secret(document::read(value)?),
    };
    let key = resource.key();
    if key.kind != kind || &*key.name != name {
        return Err(DecodeError::Name(key));
    }
    Ok(resource)
}

#[cfg(test)]
mod tests;
