//! Which ports of a workload serve which ports of the Services that select it.

use std::collections::BTreeMap;

use api::{
    Name, Resource,
    core::{Protocol as Transport, ServicePort, ServiceSpec, TargetPort},
    workload::MeshWorkloadSpec,
};

/// A Service that selects a workload, and which of its ports lead to which of the workload's.
pub(crate) struct Serves<'w> {
    pub(crate) name: &'w Name,
    pub(crate) service: &'w Resource<ServiceSpec>,
    /// The workload's port by the Service's.
    pub(crate) ports: BTreeMap<u16, u16>,
}

impl Serves<'_> {
    /// The names under which a policy can mean the ports that lead to a workload's port.
    pub(crate) fn sections(&self, target: u16) -> Vec<String> {
        let leading =
            self.service.spec.ports.iter().filter(|port| self.ports.get(&port.port) == Some(&target));
        leading.flat_map(sections).collect()
    }
}

/// The names of a Service's port: its number and, if it has one, its name.
pub(crate) fn sections(port: &ServicePort) -> Vec<String> {
    let name = port.name.iter().map(|name| name.as_str().to_owned());
    name.chain([port.port.to_string()]).collect()
}

/// The workload's ports that a Service leads to.
pub(crate) fn serves<'w>(
    name: &'w Name,
    service: &'w Resource<ServiceSpec>,
    workload: &MeshWorkloadSpec,
) -> Serves<'w> {
    let tcp = service.spec.ports.iter().filter(|port| port.protocol == Transport::Tcp);
    let ports = tcp.filter_map(|port| Some((port.port, target(port, workload)?))).collect();
    Serves { name, service, ports }
}

fn target(port: &ServicePort, workload: &MeshWorkloadSpec) -> Option<u16> {
    match &port.target_port {
        // Only a port that the workload says it has can be delivered to.
        None => workload.ports.iter().find(|own| own.port == port.port).map(|own| own.port),
        Some(TargetPort::Number(number)) => {
            workload.ports.iter().find(|own| own.port == *number).map(|own| own.port)
        }
        Some(TargetPort::Name(name)) => workload
            .ports
            .iter()
            .find(|own| own.name.as_ref().is_some_and(|own| own.as_str() == name))
            .map(|own| own.port),
    }
}
