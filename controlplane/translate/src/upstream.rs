//! Where an object's upstream is, and what is shown to it: a Service by leave of a ReferenceGrant, or a host
//! outside the mesh.

use std::sync::Arc;

use api::{
    Kind, Name,
    backend::{
        AUTH_KEY, AuthScheme as SaidScheme, BackendAuth, ROOTS_KEY, SecretKeyRef, Upstream, UpstreamPlace,
        UpstreamTls,
    },
    core::Secret,
    refs::ServiceRef,
};
use mesh::{
    names::Hostname,
    resource::{AuthScheme, BackendTarget, ExternalHost, HostTls, UpstreamAuth},
};

use crate::{attach, names, reader::Reader, references, secrets, status::Fault};

/// Where an upstream is.
pub(crate) fn target(
    reader: &Reader<'_>,
    from: &Name,
    upstream: Upstream<'_>,
) -> Result<BackendTarget, Fault> {
    match upstream.place() {
        Some(UpstreamPlace::Service(to)) => service(reader, from, to),
        Some(UpstreamPlace::Host { host, port, tls, private }) => {
            let tls = tls.map(|tls| verified(reader, from, tls)).transpose()?;
            Ok(BackendTarget::Host(ExternalHost { host: hostname(host), port, tls, private }))
        }
        None => Err(Fault::new("Invalid", "it says neither a Service nor a host")),
    }
}

/// A Service that an object names; one that names none of another namespace has its own.
pub(crate) fn service(reader: &Reader<'_>, from: &Name, to: &ServiceRef) -> Result<BackendTarget, Fault> {
    attach::backend(reader, from, &references::to_service(from, to)).map(|found| found.target)
}

/// A Service that a cluster-scoped object names: whoever may write one needs no ReferenceGrant.
pub(crate) fn service_of_platform(
    reader: &Reader<'_>,
    from: &Name,
    to: &ServiceRef,
) -> Result<BackendTarget, Fault> {
    let Some(namespace) = &to.namespace else {
        return Err(Fault::new(
            "Invalid",
            format!("serviceRef needs a namespace: {from} has none of its own"),
        ));
    };
    service(reader, &Name::new(from.kind, namespace.as_str(), &from.name), to)
}

/// What is shown to an upstream; the Secret and the key in it must be there.
pub(crate) fn auth(
    reader: &Reader<'_>,
    from: &Name,
    said: Option<&BackendAuth>,
    default: AuthScheme,
) -> Result<Option<UpstreamAuth>, Fault> {
    let Some(said) = said else { return Ok(None) };
    let (name, secret) = secret(reader, from, &said.secret_ref)?;
    let key = said.secret_ref.key.as_deref().unwrap_or(AUTH_KEY);
    secrets::token(secret, key)?;
    let scheme = match (said.scheme, &said.header) {
        (None, None) => default,
        (Some(SaidScheme::Bearer), _) => AuthScheme::Bearer,
        (_, Some(header)) => AuthScheme::Header(header.to_ascii_lowercase().into()),
        (Some(SaidScheme::Header), None) => {
            return Err(Fault::new("Invalid", "auth of scheme Header does not say which header"));
        }
    };
    Ok(Some(UpstreamAuth { secret: names::object(&name), key: key.into(), scheme }))
}

/// A DNS name as proxies know it.
pub(crate) fn hostname(text: &str) -> Hostname {
    text.trim_end_matches('.').to_ascii_lowercase().into()
}

fn verified(reader: &Reader<'_>, from: &Name, tls: UpstreamTls<'_>) -> Result<HostTls, Fault> {
    let roots = tls.roots.map(|at| roots(reader, from, at)).transpose()?;
    Ok(HostTls { hostname: hostname(tls.hostname), roots })
}

fn roots(reader: &Reader<'_>, from: &Name, at: &SecretKeyRef) -> Result<Arc<str>, Fault> {
    let (name, secret) = secret(reader, from, at)?;
    let key = at.key.as_deref().unwrap_or(ROOTS_KEY);
    let roots = secrets::value(secret, key)?;
    match secrets::is_pem(&roots, "CERTIFICATE") {
        true => Ok(roots),
        false => {
            Err(Fault::new("InvalidSecret", format!("key {key} of {name} holds no certificates in PEM")))
        }
    }
}

/// A Secret of the object's own namespace.
fn secret<'w>(reader: &Reader<'w>, from: &Name, at: &SecretKeyRef) -> Result<(Name, &'w Secret), Fault> {
    let name = Name::new(Kind::Secret, &from.namespace, at.name.as_str());
    match reader.secret(&name.namespace, &name.name) {
        Some(found) => Ok((name, found)),
        None => Err(Fault::new("SecretNotFound", format!("there is no {name}: make it"))),
    }
}
