//! A value of ours as the bytes of a `strait.v1.Document`, and back.

use prost::Message;
use proto::strait::v1::Document;
use serde::{Serialize, de::DeserializeOwned};

use super::error::DecodeError;

/// A value as the bytes of a `strait.v1.Document`.
pub(super) fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    Ok(Document { json: serde_json::to_vec(value)?.into() }.encode_to_vec())
}

/// The value in the bytes of a `strait.v1.Document`.
pub(super) fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, DecodeError> {
    let document = Document::decode(value)?;
    // A field that this reader does not know is skipped by the decoder, and missing from what it would write.
    if document.encoded_len() != value.len() {
        return Err(DecodeError::NotWhole);
    }
    Ok(serde_json::from_slice(&document.json)?)
}
