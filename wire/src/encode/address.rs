//! `istio.workload.Address`: workloads and services.

use mesh::resource::{Resource, Service, Workload};
use prost::Message;
use proto::istio::workload::{Address, address::Type};

use super::{
    error::{DecodeError, EncodeError},
    service, workload,
};

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
