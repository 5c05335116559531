//! What routes and AgentBackends name: Services and AgentBackends, whether they are there or not.

use api::{Kind, Name, Resource, backend::AgentBackendSpec, http_route::HttpRouteSpec, object::GROUP};

/// A reference to a backend, from an object of some kind and namespace.
pub(crate) struct BackendReference<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) port: Option<u16>,
}

impl BackendReference<'_> {
    /// The Service or AgentBackend that it names, whether it is there or not.
    pub(crate) fn thing(&self) -> Option<Name> {
        let kind = match (self.group, self.kind) {
            ("", "Service") => Kind::Service,
            (GROUP, "AgentBackend") => Kind::AgentBackend,
            _ => return None,
        };
        Some(Name::new(kind, self.namespace, self.name))
    }
}

/// The Services behind an AgentBackend.
pub(crate) fn of_backend<'w>(
    name: &'w Name,
    backend: &'w AgentBackendSpec,
) -> impl Iterator<Item = BackendReference<'w>> {
    let servers = backend.mcp.iter().flat_map(|mcp| mcp.servers.iter());
    servers.filter_map(|server| server.service_ref.as_ref()).map(|to| BackendReference {
        group: "",
        kind: "Service",
        namespace: to.namespace.as_ref().map_or(&name.namespace, |namespace| namespace.as_str()),
        name: to.name.as_str(),
        port: Some(to.port),
    })
}

/// Every backend that a route names.
pub(crate) fn of_route<'w>(
    name: &'w Name,
    route: &'w Resource<HttpRouteSpec>,
) -> impl Iterator<Item = BackendReference<'w>> {
    let rules = route.spec.rules.iter();
    rules.flat_map(move |rule| {
        let filters =
            rule.filters.iter().chain(rule.backend_refs.iter().flat_map(|backend| backend.filters.iter()));
        let mirrors = filters.filter_map(|filter| filter.request_mirror.as_ref()).map(|mirror| {
            let to = &mirror.backend_ref;
            (to.group.as_str(), to.kind.as_str(), to.namespace.as_ref(), to.name.as_str(), to.port)
        });
        let backends = rule.backend_refs.iter().map(|to| {
            (to.group.as_str(), to.kind.as_str(), to.namespace.as_ref(), to.name.as_str(), to.port)
        });
        backends.chain(mirrors).map(move |(group, kind, namespace, to, port)| BackendReference {
            group,
            kind,
            namespace: namespace.map_or(name.namespace.as_str(), |namespace| namespace.as_str()),
            name: to,
            port,
        })
    })
}
