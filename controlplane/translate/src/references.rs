//! What objects name, whether it is there or not: routes and AgentBackends lead to Services and AgentBackends,
//! AgentBackends and listeners name Secrets.

use api::{
    Kind, Name, Resource,
    backend::{A2aBackend, AUTH_KEY, AgentBackendSpec, BackendAuth, LlmProvider, McpServer},
    gateway::{GatewaySpec, SecretObjectRef},
    http_route::HttpRouteSpec,
    object::GROUP,
    refs::ServiceRef,
};

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

/// A reference to a Service; one that names no namespace means the object's own.
pub(crate) fn to_service<'a>(from: &'a Name, to: &'a ServiceRef) -> BackendReference<'a> {
    BackendReference {
        group: "",
        kind: "Service",
        namespace: to.namespace.as_ref().map_or(&from.namespace, |namespace| namespace.as_str()),
        name: to.name.as_str(),
        port: Some(to.port),
    }
}

/// The Services behind an AgentBackend.
pub(crate) fn of_backend<'w>(
    name: &'w Name,
    backend: &'w AgentBackendSpec,
) -> impl Iterator<Item = BackendReference<'w>> {
    let servers = backend.mcp.iter().flat_map(|mcp| mcp.servers.iter()).map(McpServer::upstream);
    let agent = backend.a2a.iter().map(A2aBackend::upstream);
    let models = providers(backend).filter_map(LlmProvider::endpoint).map(|(_, at)| at.upstream());
    let upstreams = servers.chain(agent).chain(models);
    upstreams.filter_map(|upstream| upstream.service_ref).map(|to| to_service(name, to))
}

/// The Secrets that whoever serves an AgentBackend needs, each with the key.
pub(crate) fn secrets_of_backend<'w>(
    name: &'w Name,
    backend: &'w AgentBackendSpec,
) -> impl Iterator<Item = (Name, &'w str)> {
    let servers = backend.mcp.iter().flat_map(|mcp| mcp.servers.iter()).filter_map(|it| it.auth.as_ref());
    let models = providers(backend).filter_map(|it| it.auth.as_ref());
    let host = backend.host.iter().filter_map(|it| it.auth.as_ref());
    servers.chain(models).chain(host).map(|auth: &BackendAuth| {
        let key = auth.secret_ref.key.as_deref().unwrap_or(AUTH_KEY);
        (Name::new(Kind::Secret, &name.namespace, auth.secret_ref.name.as_str()), key)
    })
}

/// The catalogue of an AgentBackend.
pub(crate) fn catalogue_of_backend(name: &Name, backend: &AgentBackendSpec) -> Option<Name> {
    let to = backend.catalog_ref.as_ref()?;
    Some(Name::new(Kind::ToolCatalog, &name.namespace, to.name.as_str()))
}

fn providers(backend: &AgentBackendSpec) -> impl Iterator<Item = &LlmProvider> {
    backend.llm.iter().flat_map(|llm| llm.groups.iter()).flat_map(|group| group.providers.iter())
}

/// The Secrets that the listeners of a Gateway name.
pub(crate) fn secrets_of_gateway<'w>(
    name: &'w Name,
    gateway: &'w GatewaySpec,
) -> impl Iterator<Item = Name> + use<'w> {
    let listeners = gateway.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let named = listeners.flat_map(|tls| tls.certificate_refs.iter());
    named.filter_map(|to| certificate(&name.namespace, to))
}

/// The Secret that a listener names, if it is one.
pub(crate) fn certificate(namespace: &str, to: &SecretObjectRef) -> Option<Name> {
    let secret = to.group.is_empty() && to.kind.as_str() == Kind::Secret.as_str();
    let namespace = to.namespace.as_ref().map_or(namespace, |namespace| namespace.as_str());
    secret.then(|| Name::new(Kind::Secret, namespace, to.name.as_str()))
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
