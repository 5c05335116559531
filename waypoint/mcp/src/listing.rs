//! Filters the lists in a server's answers, so that what is listed is what can be called.
//!
//! Entries are cut out of the bytes as they came; everything else of the answer stays as it was, byte by byte.

use bytes::Bytes;
use mesh::facts::{Arguments, McpFacts, McpObject};
use serde_json::{Value, value::RawValue};

use exchange::json::{self, JsonError, Keys};

use crate::raw::{self, Edits};

/// A list that answers carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl List {
    const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// Where it stands in a result.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The list that a method asks for.
    pub(crate) fn of_method(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "prompts/list" => Some(Self::Prompts),
            "resources/list" => Some(Self::Resources),
            "resources/templates/list" => Some(Self::Templates),
            _ => None,
        }
    }

    /// The field by which an entry is used.
    pub(crate) fn name_field(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// The facts of using an entry. An entry without a name cannot be used.
    fn facts(self, entry: &Value) -> Option<McpFacts> {
        self.facts_named(entry.get(self.name_field()).and_then(Value::as_str)?)
    }

    /// The facts of using what has this name.
    pub(crate) fn facts_named(self, name: &str) -> Option<McpFacts> {
        let (method, object) = match self {
            Self::Tools => {
                let tool = McpObject::Tool { name: name.into(), arguments: Arguments::Listing, access: None };
                ("tools/call", tool)
            }
            Self::Prompts => ("prompts/get", McpObject::Prompt { name: name.into() }),
            Self::Resources | Self::Templates => ("resources/read", McpObject::Resource { uri: name.into() }),
        };
        Some(McpFacts { method: method.into(), object })
    }
}

/// True if the answer to this method has no list: everything else is looked through.
pub fn has_no_list(method: &str) -> bool {
    matches!(
        method,
        "tools/call"
            | "prompts/get"
            | "resources/read"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "completion/complete"
            | "logging/setLevel"
            | "initialize"
            | "ping"
            | "server/discover"
            | "subscriptions/listen"
    )
}

/// Why an answer cannot be filtered, and so must not be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// It cannot be read for certain.
    #[error("the answer cannot be read: {0}")]
    Unreadable(#[from] JsonError),
    /// Something else stands where a list belongs.
    #[error("{0} is not a list")]
    NotAList(&'static str),
    /// Several messages in one.
    #[error("it is a batch")]
    Batch,
}

/// Filters an answer; `None` if it stays as it is.
///
/// # Errors
/// When it cannot be read for certain, so that another reader could see more in it.
pub fn filter(
    raw: &[u8],
    mut allow: impl FnMut(McpFacts, &Value) -> bool,
) -> Result<Option<Bytes>, ListingError> {
    let answer = json::parse_answer(raw, Keys::Equal)?;
    if answer.is_array() {
        return Err(ListingError::Batch);
    }
    let Some(result) = answer.get("result").and_then(Value::as_object) else { return Ok(None) };
    let mut hidden: Vec<(List, Vec<bool>)> = Vec::new();
    let mut lists = false;
    for list in List::ALL {
        match result.get(list.key()) {
            None => {}
            Some(Value::Array(entries)) => {
                lists = true;
                let kept: Vec<bool> = entries
                    .iter()
                    .map(|entry| list.facts(entry).is_some_and(|facts| allow(facts, entry)))
                    .collect();
                if kept.contains(&false) {
                    hidden.push((list, kept));
                }
            }
            Some(_) => return Err(ListingError::NotAList(list.key())),
        }
    }
    // A list depends on who asks for it: nobody on the way may give it to another.
    let public = lists && result.get("cacheScope").and_then(Value::as_str) == Some("public");
    if hidden.is_empty() && !public {
        return Ok(None);
    }
    Ok(Some(cut(raw, &hidden, public)?))
}

fn cut(raw: &[u8], hidden: &[(List, Vec<bool>)], public: bool) -> Result<Bytes, ListingError> {
    let text = std::str::from_utf8(raw).map_err(|_| JsonError::NotUtf8)?;
    let unreadable = || JsonError::Syntax("it is read in two ways".to_owned());
    let result = raw::object(text)
        .and_then(|fields| raw::object(fields.get("result")?.get()))
        .ok_or_else(unreadable)?;
    let mut edits = Edits::of(text);
    for (list, kept) in hidden {
        let Some(value) = result.get(list.key()) else { continue };
        let entries = raw::list(value.get()).ok_or_else(unreadable)?;
        let left: Vec<&str> = entries
            .into_iter()
            .zip(kept)
            .filter(|(_, kept)| **kept)
            .map(|(entry, _)| RawValue::get(entry))
            .collect();
        edits.put(value.get(), format!("[{}]", left.join(",")));
    }
    if public && let Some(value) = result.get("cacheScope") {
        edits.put_text(value, "private");
    }
    Ok(edits.done().unwrap_or_else(|| Bytes::copy_from_slice(raw)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: Result<Option<&str>, ListingError>) {
        let allow = |facts: McpFacts, _: &Value| match facts.object {
            McpObject::Tool { name, arguments: Arguments::Listing, .. } => &*name == "search",
            McpObject::Prompt { name } => &*name == "p",
            McpObject::Resource { uri } => uri.starts_with("docs://"),
            _ => false,
        };
        let expected = expected.map(|some| some.map(|text| Bytes::copy_from_slice(text.as_bytes())));
        assert_eq!(filter(answer.as_bytes(), allow), expected, "{answer}");
    }

    #[test]
    fn what_is_not_granted_is_cut_and_the_rest_stays_byte_by_byte() {
        check(
            r#"{ "id" : 1,"jsonrpc":"2.0", "result":{"tools":[ {"name":"search", "x": 1.0e2}, {"name":"write"} ],"nextCursor" :"c", "n":12345678901234567890123}}"#,
            Ok(Some(
                r#"{ "id" : 1,"jsonrpc":"2.0", "result":{"tools":[{"name":"search", "x": 1.0e2}],"nextCursor" :"c", "n":12345678901234567890123}}"#,
            )),
        );
        check(
            r#"{"result":{"prompts":[{"name":"q"},{"name":"p"}],"resources":[{"uri":"docs://a"},{"uri":"file://b"}]}}"#,
            Ok(Some(r#"{"result":{"prompts":[{"name":"p"}],"resources":[{"uri":"docs://a"}]}}"#)),
        );
        check(
            r#"{"result":{"resourceTemplates":[{"uriTemplate":"docs://{a}"},{"uriTemplate":"x://{a}"}]}}"#,
            Ok(Some(r#"{"result":{"resourceTemplates":[{"uriTemplate":"docs://{a}"}]}}"#)),
        );
    }

    #[test]
    fn names_are_read_through_escapes() {
        check(
            r#"{"re\u0073ult":{"too\u006cs":[{"n\u0061me":"writ\u0065"}]}}"#,
            Ok(Some(r#"{"re\u0073ult":{"too\u006cs":[]}}"#)),
        );
        check(r#"{"result":{"tools":[{"name":"s\u0065arch"}]}}"#, Ok(None));
    }

    #[test]
    fn what_has_nothing_to_hide_stays() {
        for answer in [
            r#"{"result":{"tools":[{"name":"search"}]}}"#,
            r#"{"result":{"tools":[]}}"#,
            r#"{"result":{"content":[{"name":"write"}]}}"#,
            r#"{"error":{"code":1,"message":"","data":{"tools":[{"name":"write"}]}}}"#,
            r#"{"method":"notifications/message","params":{}}"#,
            r#"{"result":{"cacheScope":"public"}}"#,
            "1",
        ] {
            check(answer, Ok(None));
        }
    }

    #[test]
    fn an_entry_that_cannot_be_named_is_not_listed() {
        check(
            r#"{"result":{"tools":[{"title":"search"},{"name":1},null,"search",{"name":"search"}]}}"#,
            Ok(Some(r#"{"result":{"tools":[{"name":"search"}]}}"#)),
        );
    }

    #[test]
    fn a_list_is_of_its_caller() {
        check(
            r#"{"result":{"cacheScope": "public","tools":[{"name":"search"}],"ttlMs":5}}"#,
            Ok(Some(r#"{"result":{"cacheScope": "private","tools":[{"name":"search"}],"ttlMs":5}}"#)),
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_passed_on() {
        check(
            r#"{"result":{"tools":[],"tools":[{"name":"write"}]}}"#,
            Err(ListingError::Unreadable(JsonError::KeyTwice("tools".into()))),
        );
        check(r#"{"result":{"tools":{"name":"write"}}}"#, Err(ListingError::NotAList("tools")));
        check(r#"[{"result":{"tools":[{"name":"write"}]}}]"#, Err(ListingError::Batch));
        assert!(filter(b"{", |_, _| true).is_err());
        assert!(filter(b"\xff", |_, _| true).is_err());
    }
}
