//! What stands behind an AgentBackend: servers, an agent, models or a host, each resolved, or broken by itself.

use api::{
    Name,
    backend::{
        ANTHROPIC_HEADER, AgentBackendSpec, BackendAuth, LlmApi as SaidApi, LlmProvider as SaidProvider,
        Upstream,
    },
};
use mesh::resource::{
    AuthScheme, BackendKind, BackendTarget, LlmApi, LlmGroup, LlmProvider, McpServer, UpstreamAuth,
};

use crate::{reader::Reader, status::Fault, upstream};

/// What stands behind a backend, and what of it is not there.
pub(super) struct Behind {
    pub(super) kind: BackendKind,
    pub(super) faults: Vec<Fault>,
    /// True if nothing of it is there.
    pub(super) gone: bool,
}

/// Resolves everything that a backend names to stand behind it.
pub(super) fn resolve(reader: &Reader<'_>, name: &Name, spec: &AgentBackendSpec) -> Behind {
    let mut finder = Finder { reader, name, faults: Vec::new(), there: 0 };
    let kind = finder.kind(spec);
    Behind { kind, gone: finder.there == 0, faults: finder.faults }
}

struct Finder<'a, 'w> {
    reader: &'a Reader<'w>,
    name: &'a Name,
    faults: Vec<Fault>,
    there: usize,
}

impl Finder<'_, '_> {
    fn kind(&mut self, spec: &AgentBackendSpec) -> BackendKind {
        if let Some(mcp) = &spec.mcp {
            let servers = mcp.servers.iter().map(|said| {
                let (target, auth) = self.find(said.upstream(), said.auth.as_ref(), AuthScheme::Bearer);
                let path = said.endpoint().into();
                McpServer { name: said.name.as_str().into(), target, path, auth }
            });
            return BackendKind::Mcp { servers: servers.collect() };
        }
        if let Some(said) = &spec.a2a {
            let (target, _) = self.find(said.upstream(), None, AuthScheme::Bearer);
            let skill_pointer = said.skill_source.as_ref().map(|source| source.pointer.as_str().into());
            return BackendKind::A2a { target, skill_pointer };
        }
        if let Some(llm) = &spec.llm {
            let groups = llm.groups.iter().map(|group| LlmGroup {
                providers: group.providers.iter().map(|said| self.provider(said)).collect(),
            });
            return BackendKind::Llm { groups: groups.collect() };
        }
        if let Some(said) = &spec.host {
            let (target, auth) = self.find(said.upstream(), said.auth.as_ref(), AuthScheme::Bearer);
            return BackendKind::Host { target, auth };
        }
        self.faults.push(Fault::new("Invalid", "it says none of mcp, a2a, llm and host"));
        BackendKind::Mcp { servers: Vec::new() }
    }

    fn provider(&mut self, said: &SaidProvider) -> LlmProvider {
        let endpoint = said.endpoint();
        let (api, scheme) = match endpoint {
            Some((SaidApi::Anthropic, _)) => (LlmApi::Anthropic, AuthScheme::Header(ANTHROPIC_HEADER.into())),
            Some((SaidApi::OpenAi, _)) | None => (LlmApi::OpenAi, AuthScheme::Bearer),
        };
        let (target, auth) = match endpoint {
            Some((_, at)) => self.find(at.upstream(), said.auth.as_ref(), scheme),
            None => {
                let fault =
                    Fault::new("Invalid", format!("provider {} does not say what it speaks", said.name));
                (self.broken(fault), None)
            }
        };
        let models = said.models.iter();
        LlmProvider {
            name: said.name.as_str().into(),
            api,
            target,
            path_prefix: endpoint.map_or(api::backend::LLM_PATH_PREFIX, |(_, at)| at.prefix()).into(),
            auth,
            models: models.map(|(alias, model)| (alias.as_str().into(), model.as_str().into())).collect(),
        }
    }

    /// Who cannot be shown what it is to be shown is not called at all.
    fn find(
        &mut self,
        at: Upstream<'_>,
        auth: Option<&BackendAuth>,
        scheme: AuthScheme,
    ) -> (BackendTarget, Option<UpstreamAuth>) {
        let auth = upstream::auth(self.reader, self.name, auth, scheme);
        let target = upstream::target(self.reader, self.name, at);
        match (target, auth) {
            (Ok(target), Ok(auth)) => {
                self.there += 1;
                (target, auth)
            }
            (Err(fault), _) | (_, Err(fault)) => (self.broken(fault), None),
        }
    }

    fn broken(&mut self, fault: Fault) -> BackendTarget {
        let target = BackendTarget::Broken(fault.message.as_str().into());
        self.faults.push(fault);
        target
    }
}
