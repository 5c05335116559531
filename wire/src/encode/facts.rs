//! Our facts inside a message of Istio: one extension, by name.

use proto::{istio::workload::Extension, strait::v1::Any};
use serde::{Serialize, de::DeserializeOwned};

use super::{document, error::DecodeError};

/// The extension that holds our facts.
pub(super) fn write<T: Serialize>(name: &str, facts: &T) -> Result<Extension, serde_json::Error> {
    Ok(Extension {
        name: name.to_owned(),
        config: Some(Any {
            type_url: format!("type.googleapis.com/{name}"),
            value: document::write(facts)?.into(),
        }),
    })
}

/// Our facts, out of the only extension.
pub(super) fn read<T: DeserializeOwned>(name: &str, extensions: &[Extension]) -> Result<T, DecodeError> {
    match extensions {
        [Extension { name: found, config: Some(config) }] if found == name => document::read(&config.value),
        _ => Err(DecodeError::part("extensions", format!("must be {name} alone"))),
    }
}
