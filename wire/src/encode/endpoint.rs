//! Addresses, ports and waypoints in Istio's words, as workloads and services share them.

use std::net::IpAddr;

use mesh::names::ServiceKey;
use proto::istio::workload::{GatewayAddress, NamespacedHostname, gateway_address::Destination};

use super::error::DecodeError;

/// The port on which tunnels are accepted.
const HBONE_PORT: u32 = 15008;

/// A waypoint, by the service that it is.
pub(super) fn gateway(service: &ServiceKey) -> GatewayAddress {
    GatewayAddress {
        destination: Some(Destination::Hostname(NamespacedHostname {
            namespace: service.namespace.to_string(),
            hostname: service.hostname.to_string(),
        })),
        hbone_mtls_port: HBONE_PORT,
    }
}

pub(super) fn read_port(number: u32) -> Result<u16, DecodeError> {
    u16::try_from(number).map_err(|_| DecodeError::part("port", format!("{number} is none")))
}

pub(super) fn address_bytes(address: &IpAddr) -> bytes::Bytes {
    match address {
        IpAddr::V4(address) => address.octets().to_vec().into(),
        IpAddr::V6(address) => address.octets().to_vec().into(),
    }
}

pub(super) fn read_address(bytes: &[u8]) -> Result<IpAddr, DecodeError> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(octets));
    }
    let octets = <[u8; 16]>::try_from(bytes)
        .map_err(|_| DecodeError::part("address", format!("has {} bytes, not 4 or 16", bytes.len())))?;
    Ok(IpAddr::from(octets))
}
