//! What a resource must be to be taken: what decisions rely on and types cannot say.

use crate::{
    matching::{Host, MatchError, Named, Path},
    names::ServiceKey,
    resource::{Listener, Placement, PolicySet, Route, RouteMatch, Service, Workload},
};

/// Why a resource is not taken.
#[derive(Debug)]
pub(super) struct Invalid(pub(super) String);

impl From<MatchError> for Invalid {
    fn from(cause: MatchError) -> Self {
        Self(cause.to_string())
    }
}

/// Hex digits of a SHA-256.
const SHA256_HEX: usize = 64;

pub(super) fn workload(workload: &Workload) -> Result<(), Invalid> {
    if workload.capacity == 0 {
        return Err(Invalid("its capacity is 0".to_owned()));
    }
    for key in workload.services.keys() {
        key.parse::<ServiceKey>().map_err(|cause| Invalid(cause.to_string()))?;
    }
    Ok(())
}

pub(super) fn placement(placement: &Placement) -> Result<(), Invalid> {
    let Some(proxy) = &placement.proxy else { return Ok(()) };
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if proxy.token_sha256.len() != SHA256_HEX || !proxy.token_sha256.bytes().all(hex) {
        return Err(Invalid("its token is no SHA-256 in lower-case hex".to_owned()));
    }
    Ok(())
}

pub(super) fn service(service: &Service) -> Result<(), Invalid> {
    let names = std::iter::once(&service.key.hostname).chain(&service.aliases);
    match names.into_iter().find(|name| name.as_str().bytes().any(|byte| byte.is_ascii_uppercase())) {
        Some(name) => Err(Invalid(format!("the name {name} is not in lower case"))),
        None => Ok(()),
    }
}

pub(super) fn set(set: &PolicySet) -> Result<(), Invalid> {
    match set.stages.windows(2).find(|pair| pair[0].kind > pair[1].kind) {
        Some(pair) => Err(Invalid(format!("stage {:?} stands before {:?}", pair[0].kind, pair[1].kind))),
        None => Ok(()),
    }
}

pub(super) fn listener(listener: &Listener) -> Result<(), Invalid> {
    listener.hostname.as_ref().map(Host::new).transpose()?;
    Ok(())
}

pub(super) fn route(route: &Route) -> Result<(), Invalid> {
    for host in &route.hostnames {
        Host::new(host)?;
    }
    for RouteMatch { path, headers, query, .. } in route.rules.iter().flat_map(|rule| &rule.matches) {
        Path::new(path)?;
        for named in headers.iter().chain(query) {
            Named::new(named)?;
        }
    }
    Ok(())
}
