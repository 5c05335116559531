//! Metadata of protected resources (RFC 9728): where a client gets a token that is valid here.

use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use mesh::resource::{Authentication, Issuer, IssuerKind};
use serde_json::json;

/// Where metadata is served: this, and then the path of the resource (section 3.1).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The host, without port, and the path at which the metadata of a resource is served; `None` if the resource is no
/// URL with a host.
pub fn path_of(resource: &str) -> Option<(String, String)> {
    let uri: Uri = resource.parse().ok()?;
    uri.scheme()?;
    let host = uri.host()?.trim_end_matches('.').to_ascii_lowercase();
    let path = uri.path().trim_end_matches('/');
    Some((host, format!("{WELL_KNOWN}{path}")))
}

/// The URL of the metadata, as challenges name it.
pub(crate) fn url_of(resource: &str) -> Option<String> {
    let uri: Uri = resource.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let (_, path) = path_of(resource)?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("{scheme}://{authority}{path}{query}");
    // It stands between quotes in a header.
    (!url.contains(['"', '\\'])).then_some(url)
}

/// The metadata (section 2), in JSON. `None` without a resource.
pub fn answer(demand: &Authentication, issuer: impl Fn(&str) -> Option<Arc<Issuer>>) -> Option<Bytes> {
    let resource = demand.resource.as_ref()?;
    let issuers = demand.issuers.iter().filter_map(|name| issuer(name));
    let mut servers: Vec<Arc<str>> = issuers
        .filter_map(|issuer| match &issuer.kind {
            IssuerKind::Jwt { issuer, authorization_server, .. } => {
                Some(authorization_server.as_ref().unwrap_or(issuer).clone())
            }
            IssuerKind::ApiKeys { .. } => None,
        })
        .collect();
    servers.dedup();
    let document = json!({
        "resource": resource,
        "authorization_servers": servers,
        "bearer_methods_supported": ["header"],
    });
    Some(Bytes::from(document.to_string()))
}
