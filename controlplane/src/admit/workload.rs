//! Checks of `MeshWorkload`.

use std::net::IpAddr;

use api::workload::{Delivery, MeshWorkloadSpec, WorkloadPort};

use super::{
    fault::{Fault, Within, each, some, unique},
    kubernetes::app_protocol,
    text,
};

pub(super) fn check(spec: &MeshWorkloadSpec) -> Result<(), Fault> {
    text::dns_name(&spec.service_account).within("serviceAccount")?;
    text::dns_name(&spec.node).within("node")?;
    each("addresses", &spec.addresses, |address| match text::ip(address)? {
        IpAddr::V4(address)
            if address.is_unspecified() || address.is_multicast() || address.is_broadcast() =>
        {
            Err(Fault::invalid(format!("{address} is nobody's own address")).remedy("for example 10.20.0.5"))
        }
        IpAddr::V4(_) => Ok(()),
        IpAddr::V6(_) => Err(Fault::not_built_yet("an IPv6 address").remedy("write an IPv4 address")),
    })?;
    some("delivery", spec.delivery.as_ref(), check_delivery)?;
    unique("ports", &spec.ports, |port| Some(port.port), "port")?;
    unique("ports", &spec.ports, |port| port.name.as_deref(), "port")?;
    each("ports", &spec.ports, |port| check_port(port, spec))?;
    if spec.ports.is_empty() && spec.delivery.is_some() {
        return Err(Fault::conflict("delivers nothing, since there are no ports")
            .remedy("write ports, or take delivery out")
            .within("delivery"));
    }
    Ok(())
}

fn check_port(port: &WorkloadPort, spec: &MeshWorkloadSpec) -> Result<(), Fault> {
    match &port.name {
        Some(name) => text::label(name).within("name")?,
        None if spec.ports.len() > 1 => {
            return Err(Fault::new(api::Reason::MissingField, "is missing")
                .remedy("of several ports, each has a name")
                .within("name"));
        }
        None => {}
    }
    text::port(port.port).within("port")?;
    some("appProtocol", port.app_protocol.as_deref(), app_protocol)?;
    some("delivery", port.delivery.as_ref(), check_delivery)?;
    if port.delivery.is_none() && spec.delivery.is_none() {
        return Err(Fault::new(api::Reason::MissingField, "is missing")
            .remedy("say where connections are handed over: spec.delivery: {unix: /run/planner.sock} or {loopbackPort: 9001}")
            .within("delivery"));
    }
    Ok(())
}

fn check_delivery(delivery: &Delivery) -> Result<(), Fault> {
    if delivery.unix.is_some() == delivery.loopback_port.is_some() {
        let what = if delivery.unix.is_some() { "both" } else { "neither" };
        return Err(Fault::conflict(format!("has {what} of unix and loopbackPort"))
            .remedy("write exactly one of them"));
    }
    some("unix", delivery.unix.as_deref(), |path| {
        text::absolute_path(path)?;
        // `sun_path` has 108 bytes, the last of which is 0.
        match path.len() <= 107 && !path.contains('\0') {
            true => Ok(()),
            false => {
                Err(Fault::invalid("is too long for a socket")
                    .remedy("a socket's path has at most 107 bytes"))
            }
        }
    })?;
    some("loopbackPort", delivery.loopback_port.as_ref(), |port| text::port(*port))
}
