//! What a path asks by the HTTP+JSON binding, or that it leads to an endpoint of JSON-RPC.
//!
//! Matched from its end, since an agent may live below any path. A path that has a word of the binding in it and is
//! none of its paths is nothing: an agent could read it another way.

use http::Method as Verb;

use crate::method::Known;

/// What a path asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// It leads to an endpoint of JSON-RPC.
    Endpoint,
    /// It names a method of the HTTP+JSON binding, or the card.
    Resource(Resource),
}

/// What a path of the HTTP+JSON binding names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The method.
    pub method: Known,
    /// What stands before it, as it was sent, for example `/agents/a/v1`; empty at the root.
    pub prefix: String,
    /// The task, decoded.
    pub task: Option<String>,
    /// What follows the task, for example `:cancel`, as it was sent.
    pub after: String,
}

/// Why a path asks nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// Nothing is there.
    Unknown,
    /// Something is, but not for this verb.
    Verb,
    /// Two readers could read it differently.
    Ambiguous,
}

impl Resource {
    /// The path again, with this task.
    pub fn with_task(&self, task: Option<&str>) -> String {
        let prefix = &self.prefix;
        match task {
            Some(task) => format!("{prefix}/tasks/{}{}", encode(task), self.after),
            None => format!("{prefix}{}", self.after),
        }
    }

    /// The last part before the method: where the binding says the tenant.
    pub fn tenant(&self) -> Option<String> {
        let last = self.prefix.rsplit('/').next().unwrap_or_default();
        decode(last).filter(|tenant| !tenant.is_empty())
    }
}

/// Reads a path that is in canonical form.
///
/// # Errors
/// When it asks nothing.
pub fn read(verb: &Verb, path: &str) -> Result<Path, PathError> {
    let raw: Vec<&str> = path.split('/').skip(1).collect();
    let mut parts = Vec::with_capacity(raw.len());
    for part in &raw {
        let part = decode(part).ok_or(PathError::Ambiguous)?;
        if part.contains(['/', '\\', '\0', '?', '#', ';']) || part == "." || part == ".." {
            return Err(PathError::Ambiguous);
        }
        parts.push(part);
    }
    let words: Vec<&str> = parts.iter().map(String::as_str).collect();
    let at = |length: usize| raw[..length].iter().fold(String::new(), |all, part| all + "/" + part);
    let plain = |known: Known, prefix: usize| {
        let after = raw[prefix..].iter().fold(String::new(), |all, part| all + "/" + part);
        Resource { method: known, prefix: at(prefix), task: None, after }
    };
    let of_task = |known: Known, prefix: usize, task: &str, after: String| Resource {
        method: known,
        prefix: at(prefix),
        task: Some(task.to_owned()),
        after,
    };
    let length = words.len();
    let (resource, verbs): (Resource, &[&Verb]) = match words.as_slice() {
        [.., "message:send"] => (plain(Known::Send, length - 1), &[&Verb::POST]),
        [.., "message:stream"] => (plain(Known::Stream, length - 1), &[&Verb::POST]),
        [.., "tasks"] => (plain(Known::List, length - 1), &[&Verb::GET]),
        [.., "extendedAgentCard"] => (plain(Known::ExtendedCard, length - 1), &[&Verb::GET]),
        [.., "v1", "card"] => (plain(Known::ExtendedCard, length - 1), &[&Verb::GET]),
        [.., ".well-known", "agent-card.json" | "agent.json"] => {
            (plain(Known::Card, length - 2), &[&Verb::GET, &Verb::HEAD])
        }
        [.., "tasks", task, "pushNotificationConfigs"] => {
            let known = if *verb == Verb::POST { Known::PushCreate } else { Known::PushList };
            let after = "/pushNotificationConfigs".to_owned();
            (of_task(known, length - 3, task, after), &[&Verb::GET, &Verb::POST])
        }
        [.., "tasks", task, "pushNotificationConfigs", _] => {
            let known = if *verb == Verb::DELETE { Known::PushDelete } else { Known::PushGet };
            let after = format!("/pushNotificationConfigs/{}", raw[length - 1]);
            (of_task(known, length - 4, task, after), &[&Verb::GET, &Verb::DELETE])
        }
        [.., "tasks", task] => match task.split_once(':') {
            None => (of_task(Known::Get, length - 2, task, String::new()), &[&Verb::GET]),
            Some((task, "cancel")) => {
                (of_task(Known::Cancel, length - 2, task, ":cancel".to_owned()), &[&Verb::POST])
            }
            Some((task, "subscribe")) => (
                of_task(Known::Subscribe, length - 2, task, ":subscribe".to_owned()),
                &[&Verb::GET, &Verb::POST],
            ),
            Some(_) => return Err(PathError::Unknown),
        },
        words if words.iter().any(|word| is_of_binding(word)) => return Err(PathError::Unknown),
        _ if *verb == Verb::POST => return Ok(Path::Endpoint),
        _ => return Err(PathError::Verb),
    };
    let before = resource.prefix.split('/').count().saturating_sub(1);
    if words[..before].iter().any(|word| is_of_binding(word)) || resource.task.as_deref().is_some_and(is_odd)
    {
        return Err(PathError::Unknown);
    }
    if verbs.contains(&verb) { Ok(Path::Resource(resource)) } else { Err(PathError::Verb) }
}

fn is_odd(task: &str) -> bool {
    task.is_empty() || task.contains(':')
}

/// True of a word that this binding gives a meaning, in whatever case.
fn is_of_binding(word: &str) -> bool {
    const WORDS: [&str; 4] = ["tasks", "extendedAgentCard", "pushNotificationConfigs", ".well-known"];
    word.contains(':') || WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
}

fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
            let value = digit(at + 1)? * 16 + digit(at + 2)?;
            out.push(u8::try_from(value).ok()?);
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

/// A text as one segment of a path.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(verb: Verb, path: &str, method: Known, tenant: Option<&str>, task: Option<&str>) {
        let Ok(Path::Resource(found)) = read(&verb, path) else { panic!("{verb} {path}") };
        assert_eq!(
            (found.method, found.tenant().as_deref(), found.task.as_deref()),
            (method, tenant, task),
            "{path}"
        );
        assert_eq!(found.with_task(found.task.as_deref()), path);
    }

    #[test]
    fn paths_name_methods() {
        check(Verb::POST, "/message:send", Known::Send, None, None);
        check(Verb::POST, "/v1/message:stream", Known::Stream, Some("v1"), None);
        check(Verb::POST, "/a/acme/message:send", Known::Send, Some("acme"), None);
        check(Verb::GET, "/tasks", Known::List, None, None);
        check(Verb::GET, "/acme/tasks/7", Known::Get, Some("acme"), Some("7"));
        check(Verb::POST, "/tasks/7:cancel", Known::Cancel, None, Some("7"));
        check(Verb::GET, "/tasks/7:subscribe", Known::Subscribe, None, Some("7"));
        check(Verb::POST, "/tasks/7:subscribe", Known::Subscribe, None, Some("7"));
        check(Verb::POST, "/tasks/7/pushNotificationConfigs", Known::PushCreate, None, Some("7"));
        check(Verb::GET, "/tasks/7/pushNotificationConfigs", Known::PushList, None, Some("7"));
        check(Verb::GET, "/tasks/7/pushNotificationConfigs/a%20b", Known::PushGet, None, Some("7"));
        check(Verb::DELETE, "/tasks/7/pushNotificationConfigs/a", Known::PushDelete, None, Some("7"));
        check(Verb::GET, "/extendedAgentCard", Known::ExtendedCard, None, None);
        check(Verb::GET, "/v1/card", Known::ExtendedCard, Some("v1"), None);
        check(Verb::GET, "/x/.well-known/agent-card.json", Known::Card, Some("x"), None);
        check(Verb::HEAD, "/.well-known/agent.json", Known::Card, None, None);
    }

    #[test]
    fn any_other_path_is_an_endpoint_unless_it_has_a_word_of_the_binding() {
        for endpoint in ["/", "/a2a", "/a2a/v1", "/v1/card"] {
            assert_eq!(read(&Verb::POST, endpoint).is_ok(), endpoint != "/v1/card", "{endpoint}");
        }
        assert_eq!(read(&Verb::GET, "/"), Err(PathError::Verb));
        for unknown in [
            "/tasks/7:cancel/",
            "/tasks/7%3Acancel/",
            "/Tasks/7",
            "/message:Send",
            "/tasks/7:pause",
            "/tasks/7:8:cancel",
            "/tasks/:cancel",
            "/tasks/7/extra",
            "/tasks/7/message:send",
            "/.well-known/other",
            "/x:y",
        ] {
            assert_eq!(read(&Verb::POST, unknown), Err(PathError::Unknown), "{unknown}");
        }
        for ambiguous in ["/tasks%2F7", "/a%5Cb", "/%zz", "/a;b", "/%2e%2e/tasks", "/%ff"] {
            assert_eq!(read(&Verb::POST, ambiguous), Err(PathError::Ambiguous), "{ambiguous}");
        }
        assert_eq!(read(&Verb::GET, "/message:send"), Err(PathError::Verb));
        assert_eq!(read(&Verb::POST, "/tasks"), Err(PathError::Verb));
    }

    #[test]
    fn an_escaped_verb_is_the_verb() {
        let Ok(Path::Resource(found)) = read(&Verb::POST, "/tasks/7%3Acancel") else { panic!() };
        assert_eq!(
            (found.method, found.with_task(Some("x/y"))),
            (Known::Cancel, "/tasks/x%2Fy:cancel".to_owned())
        );
    }
}
