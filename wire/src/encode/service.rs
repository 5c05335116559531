//! A service in Istio's words, and the rest in ours.

use std::collections::{BTreeMap, BTreeSet};

use mesh::{
    identity::TrustDomain,
    names::{Hostname, ServiceKey},
    resource::{Balancing, Binding, Protocol, Scope, Service, ServicePort},
};
use proto::istio::workload::{
    self as istio, AppProtocol, LoadBalancing, NetworkAddress, Port,
    load_balancing::{self, Mode},
};
use serde::{Deserialize, Serialize};

use super::{
    endpoint::{address_bytes, gateway, read_address},
    error::{DecodeError, EncodeError},
    facts,
};

/// The name of the extension.
const FACTS: &str = "strait.v1.ServiceFacts";

/// What Istio has no words for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFacts {
    aliases: Vec<Hostname>,
    ports: BTreeMap<u16, ServicePort>,
    binding: Binding,
    exported_to: BTreeSet<TrustDomain>,
}

pub(super) fn write(from: &Service) -> Result<istio::Service, EncodeError> {
    let facts = ServiceFacts {
        aliases: from.aliases.clone(),
        ports: from.ports.clone(),
        binding: from.binding.clone(),
        exported_to: from.exported_to.clone(),
    };
    Ok(istio::Service {
        name: from.name.to_string(),
        namespace: from.key.namespace.to_string(),
        hostname: from.key.hostname.to_string(),
        // Virtual addresses are of the sender's network, which Ranges name.
        addresses: from
            .addresses
            .iter()
            .map(|it| NetworkAddress { address: address_bytes(it), ..NetworkAddress::default() })
            .collect(),
        ports: from.ports.iter().map(|(number, port)| write_port(*number, port)).collect(),
        subject_alt_names: from.identities.iter().map(ToString::to_string).collect(),
        waypoint: match &from.binding {
            Binding::Through(service) => Some(gateway(service)),
            Binding::None | Binding::Missing(_) => None,
        },
        load_balancing: write_balancing(&from.balancing),
        extensions: vec![facts::write(FACTS, &facts)?],
        ..istio::Service::default()
    })
}

pub(super) fn read(from: &istio::Service) -> Result<Service, DecodeError> {
    let facts: ServiceFacts = facts::read(FACTS, &from.extensions)?;
    let identities = from
        .subject_alt_names
        .iter()
        .map(|text| text.parse().map_err(|error| DecodeError::part("identity", format!("{error}"))))
        .collect::<Result<_, _>>()?;
    Ok(Service {
        key: ServiceKey {
            namespace: from.namespace.as_str().into(),
            hostname: from.hostname.as_str().into(),
        },
        name: from.name.as_str().into(),
        aliases: facts.aliases,
        addresses: from.addresses.iter().map(|it| read_address(&it.address)).collect::<Result<_, _>>()?,
        ports: facts.ports,
        binding: facts.binding,
        balancing: read_balancing(from.load_balancing.as_ref())?,
        exported_to: facts.exported_to,
        identities,
    })
}

fn write_port(number: u16, port: &ServicePort) -> Port {
    let protocol = match port.protocol {
        Protocol::Tcp => AppProtocol::Unknown,
        Protocol::Http | Protocol::Mcp | Protocol::A2a | Protocol::Llm => AppProtocol::Http11,
        Protocol::Http2 => AppProtocol::Http2,
    };
    // Target 0: every endpoint has its own.
    Port { service_port: number.into(), target_port: 0, app_protocol: protocol.into() }
}

fn write_balancing(from: &Balancing) -> Option<LoadBalancing> {
    let mode = match (from.strict, from.prefer.is_empty()) {
        (true, _) => Mode::Strict,
        (false, false) => Mode::Failover,
        (false, true) => return None,
    };
    let scope = |scope: &Scope| match scope {
        Scope::Network => load_balancing::Scope::Network,
        Scope::Region => load_balancing::Scope::Region,
        Scope::Zone => load_balancing::Scope::Zone,
        Scope::Subzone => load_balancing::Scope::Subzone,
        Scope::Node => load_balancing::Scope::Node,
        Scope::Cluster => load_balancing::Scope::Cluster,
    };
    Some(LoadBalancing {
        routing_preference: from.prefer.iter().map(|it| scope(it).into()).collect(),
        mode: mode.into(),
        ..LoadBalancing::default()
    })
}

fn read_balancing(from: Option<&LoadBalancing>) -> Result<Balancing, DecodeError> {
    let Some(from) = from else { return Ok(Balancing::default()) };
    let scope = |number: &i32| match load_balancing::Scope::try_from(*number) {
        Ok(load_balancing::Scope::Network) => Ok(Scope::Network),
        Ok(load_balancing::Scope::Region) => Ok(Scope::Region),
        Ok(load_balancing::Scope::Zone) => Ok(Scope::Zone),
        Ok(load_balancing::Scope::Subzone) => Ok(Scope::Subzone),
        Ok(load_balancing::Scope::Node) => Ok(Scope::Node),
        Ok(load_balancing::Scope::Cluster) => Ok(Scope::Cluster),
        Ok(load_balancing::Scope::UnspecifiedScope) | Err(_) => {
            Err(DecodeError::part("scope", format!("{number} is not known here")))
        }
    };
    let strict = match Mode::try_from(from.mode) {
        Ok(Mode::Strict) => true,
        Ok(Mode::Failover) => false,
        Ok(Mode::UnspecifiedMode | Mode::Passthrough) | Err(_) => {
            return Err(DecodeError::part("balancing", format!("mode {} is not known here", from.mode)));
        }
    };
    Ok(Balancing { prefer: from.routing_preference.iter().map(scope).collect::<Result<_, _>>()?, strict })
}
