//! How things of several servers are named as one.
//!
//! Tools and prompts are named `<server>_<name>`, resources `<server>+<uri>`, which is a URI again (RFC 3986 allows `+`
//! in a scheme), also for templates. A server's name is a DNS label, which has neither sign, so nothing can be read in
//! two ways. A backend of one server names everything as the server does.

use std::sync::Arc;

use exchange::Backend;
use mesh::{
    facts::{McpFacts, McpObject},
    resource::{BackendKind, McpServer},
};

const OF_NAME: char = '_';
const OF_URI: char = '+';

/// The servers of a backend, if there are several.
pub(crate) fn several(backend: &Backend) -> Option<&[McpServer]> {
    match backend {
        Backend::Agent(agent) => match &agent.kind {
            BackendKind::Mcp { servers } if servers.len() > 1 => Some(servers),
            _ => None,
        },
        Backend::Service { .. } | Backend::Nowhere => None,
    }
}

/// A tool or prompt of a server, as callers see it.
pub(crate) fn name_of(server: &str, name: &str) -> String {
    format!("{server}{OF_NAME}{name}")
}

/// A resource or template of a server, as callers see it.
pub(crate) fn uri_of(server: &str, uri: &str) -> String {
    format!("{server}{OF_URI}{uri}")
}

/// Which server a tool or prompt is of, and what it is called there.
pub(crate) fn by_name<'n>(servers: &[McpServer], name: &'n str) -> Option<(usize, &'n str)> {
    split(servers, name, OF_NAME)
}

/// Which server a resource is of, and what it is called there.
pub(crate) fn by_uri<'n>(servers: &[McpServer], uri: &'n str) -> Option<(usize, &'n str)> {
    split(servers, uri, OF_URI)
}

fn split<'n>(servers: &[McpServer], text: &'n str, sign: char) -> Option<(usize, &'n str)> {
    let (server, rest) = text.split_once(sign)?;
    let found = servers.iter().position(|it| *it.name == *server)?;
    (!rest.is_empty()).then_some((found, rest))
}

/// Facts as callers see them, as the server itself would say them.
pub(crate) fn inner(server: &str, facts: &McpFacts) -> McpFacts {
    let cut = |text: &Arc<str>, sign: char| -> Arc<str> {
        match text.strip_prefix(server).and_then(|rest| rest.strip_prefix(sign)) {
            Some(rest) => rest.into(),
            None => Arc::clone(text),
        }
    };
    let object = match &facts.object {
        McpObject::Tool { name, arguments, access } => {
            McpObject::Tool { name: cut(name, OF_NAME), arguments: arguments.clone(), access: *access }
        }
        McpObject::Prompt { name } => McpObject::Prompt { name: cut(name, OF_NAME) },
        McpObject::Resource { uri } => McpObject::Resource { uri: cut(uri, OF_URI) },
        McpObject::Base => McpObject::Base,
        McpObject::Other => McpObject::Other,
    };
    McpFacts { method: Arc::clone(&facts.method), object }
}

#[cfg(test)]
mod tests {
    use mesh::resource::BackendTarget;

    use super::*;

    fn servers(names: &[&str]) -> Vec<McpServer> {
        let server = |name: &&str| McpServer {
            name: (*name).into(),
            target: BackendTarget::Broken("".into()),
            path: "/mcp".into(),
            auth: None,
        };
        names.iter().map(server).collect()
    }

    #[test]
    fn names_are_of_one_server_only() {
        let servers = servers(&["docs", "docs-2"]);
        for (name, expected) in [
            ("docs_search", Some((0, "search"))),
            ("docs_2_search", Some((0, "2_search"))),
            ("docs-2_search", Some((1, "search"))),
            ("search", None),
            ("docs", None),
            ("docs_", None),
            ("_search", None),
            ("web_search", None),
            ("Docs_search", None),
        ] {
            assert_eq!(by_name(&servers, name), expected, "{name}");
        }
        assert_eq!(by_uri(&servers, "docs+file:///a+b"), Some((0, "file:///a+b")));
        assert_eq!(by_uri(&servers, "file:///docs+a"), None);
        assert_eq!(by_name(&servers, &name_of("docs", "a_b")), Some((0, "a_b")));
        assert_eq!(by_uri(&servers, &uri_of("docs-2", "x://{a}")), Some((1, "x://{a}")));
    }
}
