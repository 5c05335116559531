//! A push while it arrives: nothing of it counts before its checkpoint. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use mesh::{
    names::Version,
    resource::{Key, Resource},
};
use prost::Message;
use proto::{envoy::service::discovery::v3::DeltaDiscoveryResponse, strait::v1};

use crate::encode::{CHECKPOINT_TYPE, decode, key_of};

/// Most bytes of one push.
pub const PUSH_BYTES_MAX: usize = 256 << 20;
/// Most responses of one push.
pub const PUSH_RESPONSES_MAX: usize = 65_536;

/// Why a stream cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// More than can be one push.
    #[error("a push has more than {PUSH_BYTES_MAX} bytes or {PUSH_RESPONSES_MAX} responses")]
    TooMuch,
    /// The checkpoint is not one.
    #[error("the checkpoint cannot be read: {0}")]
    Checkpoint(String),
    /// Time ran backwards.
    #[error("generation {now} came after {before} of the same epoch")]
    Backwards {
        /// The generation that is held.
        before: u64,
        /// The one that came.
        now: u64,
    },
}

/// A resource as it came, and as it was understood.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) version: Version,
    pub(super) value: Bytes,
    pub(super) resource: Resource,
}

/// What one response held, for its acknowledgement.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) url: String,
    pub(super) nonce: String,
    pub(super) keys: Vec<Key>,
    /// What was refused of it: name and reason.
    pub(super) refused: Vec<(String, String)>,
}

/// The push that is arriving.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) changes: BTreeMap<Key, Option<Arrived>>,
    pub(super) taken: Vec<Taken>,
    bytes: usize,
}

impl Draft {
    /// Takes a response; the checkpoint, if this is the last of its push.
    pub(super) fn take(
        &mut self,
        response: DeltaDiscoveryResponse,
    ) -> Result<Option<v1::Checkpoint>, StreamError> {
        let url = response.type_url;
        let mut taken =
            Taken { url: url.clone(), nonce: response.nonce, keys: Vec::new(), refused: Vec::new() };
        if url == CHECKPOINT_TYPE {
            let bytes = match response.resources.as_slice() {
                [only] => only.resource.as_ref().map(|any| any.value.clone()),
                _ => None,
            };
            let bytes = bytes.ok_or_else(|| StreamError::Checkpoint("it is not one resource".to_owned()))?;
            let checkpoint =
                v1::Checkpoint::decode(bytes).map_err(|error| StreamError::Checkpoint(error.to_string()))?;
            self.taken.push(taken);
            return Ok(Some(checkpoint));
        }
        for sent in response.resources {
            let any = sent.resource.unwrap_or_default();
            self.bytes = self.bytes.saturating_add(any.value.len()).saturating_add(sent.name.len());
            let read = if any.type_url == url {
                decode(&url, &sent.name, &any.value).map_err(|error| error.to_string())
            } else {
                Err(format!("it is of the type {:?}", any.type_url))
            };
            match read {
                Ok(resource) => {
                    let key = resource.key();
                    taken.keys.push(key.clone());
                    let version = sent.version.into();
                    self.changes.insert(key, Some(Arrived { version, value: any.value, resource }));
                }
                Err(reason) => taken.refused.push((sent.name, reason)),
            }
        }
        for name in response.removed_resources {
            self.bytes = self.bytes.saturating_add(name.len());
            if let Some(key) = key_of(&url, &name) {
                self.changes.insert(key, None);
            }
        }
        self.taken.push(taken);
        if self.bytes > PUSH_BYTES_MAX || self.taken.len() > PUSH_RESPONSES_MAX {
            return Err(StreamError::TooMuch);
        }
        Ok(None)
    }
}
