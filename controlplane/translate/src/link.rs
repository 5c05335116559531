//! Links: which are valid, which trust domain each claims, over which a Service goes.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use api::{Name, Resource as Object, link::ClusterLinkSpec};
use mesh::{
    identity::{Identity, TrustDomain},
    resource::GatewayAddress,
};

use crate::{reader::Reader, status::Fault};

/// A link that is valid.
#[derive(Debug, Clone)]
pub(crate) struct Link<'w> {
    pub(crate) name: &'w Name,
    pub(crate) spec: &'w ClusterLinkSpec,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) reader: Identity,
    pub(crate) gateways: Vec<GatewayAddress>,
    pub(crate) vouchers: Vec<Identity>,
}

/// Reads one link; a fault in it makes it no link at all.
pub(crate) fn valid<'w>(
    reader: &Reader<'w>,
    name: &'w Name,
    link: &'w Object<ClusterLinkSpec>,
) -> Result<Link<'w>, Fault> {
    let spec = &link.spec;
    let invalid =
        |what: &str, error: &dyn std::fmt::Display| Fault::new("Invalid", format!("{what}: {error}"));
    let trust_domain: TrustDomain =
        spec.trust_domain.as_str().parse().map_err(|error| invalid("spec.trustDomain", &error))?;
    if trust_domain == reader.settings().trust_domain {
        return Err(Fault::new("TrustDomainConflict", format!("{trust_domain} is our own trust domain")));
    }
    let own = |field: &str, text: &str| -> Result<Identity, Fault> {
        let identity: Identity = text.parse().map_err(|error| invalid(field, &error))?;
        match *identity.trust_domain() == trust_domain {
            true => Ok(identity),
            false => Err(Fault::new(
                "Invalid",
                format!("{field}: {identity} is not of the link's trust domain {trust_domain}"),
            )),
        }
    };
    let mut gateways = Vec::new();
    for gateway in &spec.gateways {
        let address: IpAddr =
            gateway.address.as_str().parse().map_err(|error| invalid("spec.gateways.address", &error))?;
        let identity = own("spec.gateways.identity", gateway.identity.as_str())?;
        gateways.push(GatewayAddress { address: SocketAddr::new(address, gateway.port), identity });
    }
    gateways.sort();
    gateways.dedup();
    let vouchers: Result<Vec<Identity>, Fault> =
        spec.vouchers.iter().map(|text| own("spec.vouchers", text.as_str())).collect();
    let found = Link {
        name,
        spec,
        reader: own("spec.controlPlane.identity", spec.control_plane.identity.as_str())?,
        trust_domain,
        gateways,
        vouchers: vouchers?,
    };
    unrivalled(reader, &found, link)?;
    Ok(found)
}

/// Of two links that claim one trust domain with different roots, the older counts.
fn unrivalled(reader: &Reader<'_>, link: &Link<'_>, object: &Object<ClusterLinkSpec>) -> Result<(), Fault> {
    let age = |name: &Name, created: &Option<String>| (created.is_none(), created.clone(), name.clone());
    let own = age(link.name, &object.metadata.creation_timestamp);
    for (name, other) in reader.links() {
        let older = age(name, &other.metadata.creation_timestamp) < own;
        if older
            && other.spec.trust_domain == link.spec.trust_domain
            && other.spec.bundle.pin != link.spec.bundle.pin
        {
            return Err(Fault::new(
                "TrustDomainConflict",
                format!(
                    "{name} claims trust domain {} with another root: only one of the two can be right",
                    link.trust_domain
                ),
            ));
        }
    }
    Ok(())
}

/// Every valid link.
pub(crate) fn all<'w>(reader: &Reader<'w>) -> Vec<Link<'w>> {
    reader.links().filter_map(|(name, link)| valid(reader, name, link).ok()).collect()
}

/// The link of a trust domain.
pub(crate) fn of_trust_domain<'w>(reader: &Reader<'w>, trust_domain: &TrustDomain) -> Option<Link<'w>> {
    all(reader).into_iter().find(|link| link.trust_domain == *trust_domain)
}

/// The waypoints of a trust domain whose word about callers is taken, whichever of its links lists them: what one of
/// them says is the same for all that is exported to it, wherever it arrives.
pub(crate) fn vouchers(reader: &Reader<'_>, trust_domain: &TrustDomain) -> BTreeSet<Identity> {
    let links = all(reader).into_iter().filter(|link| link.trust_domain == *trust_domain);
    links.flat_map(|link| link.vouchers).collect()
}

/// The links over which a Service goes: it has a ServiceExport, and its namespace is exported there.
pub(crate) fn exporting<'w>(reader: &Reader<'w>, service: &Name) -> Vec<Link<'w>> {
    if reader.export(&service.namespace, &service.name).is_none() {
        return Vec::new();
    }
    let mut links = all(reader);
    links.retain(|link| exports_namespace(link, &service.namespace));
    links
}

/// True if services of a namespace may go over a link.
pub(crate) fn exports_namespace(link: &Link<'_>, namespace: &str) -> bool {
    link.spec.export.iter().any(|export| export.namespaces.iter().any(|own| *own == namespace))
}
