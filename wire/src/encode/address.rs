//! `istio.workload.Address`: workloads and services.

use mesh::resource::{Resource, Service, Workload};
use prost::Message;
use proto::{
    istio::workload::{Address, Extension, address::Type},
    strait::v1::Any,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{DecodeError, EncodeError, document, read as read_document, service, workload};

pub(super) fn of_workload(from: &Workload) -> Result<Vec<u8>, EncodeError> {
    Ok(Address { r#type: Some(Type::Workload(workload::write(from)?)) }.encode_to_vec())
}

pub(super) fn of_service(from: &Service) -> Result<Vec<u8>, EncodeError> {
    Ok(Address { r#type: Some(Type::Service(service::write(from)?)) }.encode_to_vec())
}

/// Reads either; what was read is written again, and must give the same bytes: so nothing is lost, neither fields
/// that are not known here nor parts that disagree with each other.
pub(super) fn read(bytes: &[u8]) -> Result<Resource, DecodeError> {
    let (resource, again) = match Address::decode(bytes)?.r#type {
        Some(Type::Workload(from)) => {
            let workload = workload::read(&from)?;
            let again = of_workload(&workload);
            (Resource::Workload(workload.into()), again)
        }
        Some(Type::Service(from)) => {
            let service = service::read(&from)?;
            let again = of_service(&service);
            (Resource::Service(service.into()), again)
        }
        None => return Err(DecodeError::part("address", "is neither a workload nor a service")),
    };
    match again {
        Ok(again) if again == bytes => Ok(resource),
        _ => Err(DecodeError::NotWhole),
    }
}

/// The extension that holds our facts.
pub(super) fn extension<T: Serialize>(name: &str, facts: &T) -> Result<Extension, serde_json::Error> {
    Ok(Extension {
        name: name.to_owned(),
        config: Some(Any { type_url: format!("type.googleapis.com/{name}"), value: document(facts)?.into() }),
    })
}

/// Our facts, out of the only extension.
pub(super) fn facts<T: DeserializeOwned>(name: &str, extensions: &[Extension]) -> Result<T, DecodeError> {
    match extensions {
        [Extension { name: found, config: Some(config) }] if found == name => read_document(&config.value),
        _ => Err(DecodeError::part("extensions", format!("must be {name} alone"))),
    }
}
