//! The responses of a push: resources as they are sent, in parts of a bounded size, and the checkpoint at the end.

use mesh::resource::{Key, Kind, Resource};
use prost::Message;
use proto::{
    envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource as Sent},
    strait::v1::{Any, Checkpoint},
};

use super::table::Table;
use crate::{
    Want,
    encode::{CHECKPOINT_TYPE, Encoded, encode},
};

/// Bytes of resources after which a push goes on in another response.
const RESPONSE_BYTES: usize = 1 << 20;
/// Removed names after which a push goes on in another response.
const RESPONSE_REMOVED: usize = 4096;
/// The only resource of its type.
const CHECKPOINT_NAME: &str = "checkpoint";

/// A resource as it is sent. What was asked for and is nowhere is an absence, made here.
pub(super) fn what_is(table: &Table, key: &Key) -> Option<Encoded> {
    if let Some(encoded) = table.encoded(key) {
        return Some(encoded.clone());
    }
    if key.kind != Kind::Absence {
        return None;
    }
    let want: Want = key.name.parse().ok()?;
    encode(&Resource::Absence(want.absence().into())).ok()
}

/// One response while it is filled.
pub(super) struct Response {
    pub(super) message: DeltaDiscoveryResponse,
    bytes: usize,
}

impl Response {
    pub(super) fn new(url: &str) -> Self {
        let message =
            DeltaDiscoveryResponse { type_url: url.to_owned(), ..DeltaDiscoveryResponse::default() };
        Self { message, bytes: 0 }
    }

    pub(super) fn set(&mut self, encoded: &Encoded) {
        self.bytes += encoded.value.len() + encoded.key.name.len();
        self.message.resources.push(Sent {
            version: encoded.version.to_string(),
            resource: Some(Any { type_url: encoded.type_url().to_owned(), value: encoded.value.clone() }),
            name: encoded.key.name.to_string(),
            aliases: Vec::new(),
        });
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.message.removed_resources.push(key.name.to_string());
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= RESPONSE_BYTES || self.message.removed_resources.len() >= RESPONSE_REMOVED
    }

    pub(super) fn is_empty(&self) -> bool {
        self.message.resources.is_empty() && self.message.removed_resources.is_empty()
    }
}

pub(super) fn end(checkpoint: &Checkpoint) -> DeltaDiscoveryResponse {
    let resource = Sent {
        version: format!("{}/{}", checkpoint.epoch, checkpoint.generation),
        resource: Some(Any {
            type_url: CHECKPOINT_TYPE.to_owned(),
            value: checkpoint.encode_to_vec().into(),
        }),
        name: CHECKPOINT_NAME.to_owned(),
        aliases: Vec::new(),
    };
    DeltaDiscoveryResponse {
        type_url: CHECKPOINT_TYPE.to_owned(),
        resources: vec![resource],
        ..DeltaDiscoveryResponse::default()
    }
}
