//! Cards of agents, made to lead through the mesh.
//!
//! A card says under which URLs its agent is reached, and a caller goes there. So each URL of the agent's own gets the
//! name by which the caller reached it, and any other is dropped: it would lead past the mesh. Skills that the caller
//! may not use are left out, and signatures stay only on a card that says what was signed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::{Host, Url};

use exchange::json::{self, JsonError, Keys};

use crate::fields::fold;

/// How many interfaces or skills a card may have.
pub const ENTRIES_MAX: usize = 1024;

/// The names of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The scheme by which the caller reached it.
    pub scheme: &'static str,
    /// The host and port by which the caller reached it.
    pub authority: String,
    /// Every host that is the agent, in lower case.
    pub hosts: BTreeSet<String>,
}

/// A card that cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// It cannot be read.
    #[error("the card cannot be read: {0}")]
    Json(#[from] JsonError),
    /// It is no object, or a part of it has not the shape of the protocol.
    #[error("{0} of the card has not the shape of the protocol")]
    Shape(&'static str),
    /// More entries than [`ENTRIES_MAX`].
    #[error("the card has more than {ENTRIES_MAX} {0}")]
    TooMany(&'static str),
    /// None of its URLs leads to the agent by a binding that is served here.
    #[error("no URL of the card leads to the agent")]
    NoWay,
}

/// Top fields that are read here, and that another reader must not find under a spelling of its own.
const TOLD: [&str; 11] = [
    "url",
    "preferredTransport",
    "additionalInterfaces",
    "supportedInterfaces",
    "signatures",
    "skills",
    "provider",
    "documentationUrl",
    "iconUrl",
    "securitySchemes",
    "protocolVersion",
];

/// Reads a card and makes it lead to these names, with those skills that `shows` lets pass.
///
/// # Errors
/// When it cannot be read for certain, or leads nowhere.
pub fn rewrite(bytes: &[u8], names: &Names, shows: impl Fn(&str) -> bool) -> Result<Value, CardError> {
    let mut card = json::parse(bytes, Keys::EqualButForCase)?;
    change(&mut card, names, shows)?;
    Ok(card)
}

/// As [`rewrite`], of a card that was read within bounds.
///
/// # Errors
/// As [`rewrite`].
pub fn change(card: &mut Value, names: &Names, shows: impl Fn(&str) -> bool) -> Result<(), CardError> {
    let signed = card.clone();
    let object = card.as_object_mut().ok_or(CardError::Shape("the whole"))?;
    one_spelling(object, &TOLD);
    let names = with_adopted(object, names);
    lead(object, &names)?;
    for name in ["documentationUrl", "iconUrl"] {
        link(object, name, &names);
    }
    if let Some(provider) = object.get_mut("provider").and_then(Value::as_object_mut) {
        link(provider, "url", &names);
    }
    if let Some(schemes) = object.get_mut("securitySchemes") {
        links(schemes, &names);
    }
    skills(object, shows)?;
    if *card != signed
        && let Some(object) = card.as_object_mut()
    {
        object.shift_remove("signatures");
    }
    Ok(())
}

/// Leaves each of these fields in the one spelling that is read here.
fn one_spelling(object: &mut Map<String, Value>, told: &[&str]) {
    let odd: Vec<(String, String)> = object
        .keys()
        .filter_map(|key| {
            let name = told.iter().find(|name| fold(name) == fold(key))?;
            (key != name).then(|| (key.clone(), (*name).to_owned()))
        })
        .collect();
    for (key, name) in odd {
        if let Some(value) = object.shift_remove(&key)
            && !object.contains_key(&name)
        {
            object.insert(name, value);
        }
    }
}

/// Where the card names the agent only by a host that is not known here, that is what the agent calls itself.
fn with_adopted(card: &Map<String, Value>, names: &Names) -> Names {
    let lists = ["supportedInterfaces", "additionalInterfaces"];
    let listed = lists.iter().filter_map(|name| card.get(*name).and_then(Value::as_array)).flatten();
    let listed = listed.filter_map(|interface| interface.get("url"));
    let mut urls = card.get("url").into_iter().chain(listed).filter_map(Value::as_str).filter_map(web);
    let Some(first) = urls.next() else { return names.clone() };
    let mut names = names.clone();
    if !is_own(&first, &names) && !urls.any(|url| is_own(&url, &names)) {
        names.hosts.extend(first.host_str().map(str::to_ascii_lowercase));
    }
    names
}

/// Makes every interface lead to the agent, and drops those that lead elsewhere.
fn lead(card: &mut Map<String, Value>, names: &Names) -> Result<(), CardError> {
    let mut ports = Ports::default();
    let main = match card.get("url") {
        None | Some(Value::Null) => None,
        Some(Value::String(url)) if url.is_empty() => None,
        Some(Value::String(url)) => {
            Some(if served(card.get("preferredTransport")) { ports.onward(url, names) } else { None })
        }
        Some(_) => return Err(CardError::Shape("url")),
    };
    let mut first: Option<(Value, Value)> = None;
    let mut any = false;
    for list in ["supportedInterfaces", "additionalInterfaces"] {
        let Some(value) = card.get_mut(list) else { continue };
        let interfaces = match value {
            Value::Array(interfaces) => interfaces,
            Value::Null => continue,
            _ => return Err(CardError::Shape(list)),
        };
        if interfaces.len() > ENTRIES_MAX {
            return Err(CardError::TooMany("interfaces"));
        }
        interfaces.retain_mut(|interface| {
            let Some(interface) = interface.as_object_mut() else { return false };
            one_spelling(interface, &["url", "transport", "protocolBinding", "tenant", "protocolVersion"]);
            let binding = interface.get("protocolBinding").or_else(|| interface.get("transport")).cloned();
            let onward =
                interface.get("url").and_then(Value::as_str).and_then(|url| ports.onward(url, names));
            let Some(onward) = onward.filter(|_| served(binding.as_ref())) else { return false };
            interface.insert("url".to_owned(), Value::from(onward.as_str()));
            first.get_or_insert((Value::from(onward), binding.unwrap_or_else(|| Value::from("JSONRPC"))));
            any = true;
            true
        });
    }
    match (main, first) {
        (None, _) if any => {}
        (Some(Some(url)), _) => {
            card.insert("url".to_owned(), Value::from(url));
        }
        // The main one leads elsewhere: another takes its place.
        (Some(None), Some((url, binding))) => {
            card.insert("url".to_owned(), url);
            card.insert("preferredTransport".to_owned(), binding);
        }
        _ => return Err(CardError::NoWay),
    }
    Ok(())
}

/// The port of each host that a card named first: another port is another service.
#[derive(Default)]
struct Ports(Vec<(String, Option<u16>)>);

impl Ports {
    /// The URL by which this one of the agent is reached through the mesh.
    fn onward(&mut self, url: &str, names: &Names) -> Option<String> {
        let url = web(url).filter(|url| is_own(url, names))?;
        let host = url.host_str()?.to_ascii_lowercase();
        let port = url.port_or_known_default();
        match self.0.iter().find(|(known, _)| *known == host) {
            Some((_, known)) if *known != port => return None,
            Some(_) => {}
            None => self.0.push((host, port)),
        }
        Some(through(&url, names))
    }
}

fn served(binding: Option<&Value>) -> bool {
    match binding {
        None | Some(Value::Null) => true,
        Some(binding) => matches!(binding.as_str(), Some("" | "JSONRPC" | "HTTP+JSON")),
    }
}

/// A URL of the web, without credentials in it.
fn web(url: &str) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let plain =
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    plain.then_some(url)
}

fn is_own(url: &Url, names: &Names) -> bool {
    match url.host() {
        // What an agent says that does not know under which name it is reached.
        Some(Host::Ipv4(address)) if address.is_loopback() || address.is_unspecified() => true,
        Some(Host::Ipv6(address)) if address.is_loopback() || address.is_unspecified() => true,
        Some(Host::Domain("localhost")) => true,
        Some(_) => url.host_str().is_some_and(|host| names.hosts.contains(&host.to_ascii_lowercase())),
        None => false,
    }
}

fn through(url: &Url, names: &Names) -> String {
    let query = url.query().map_or(String::new(), |query| format!("?{query}"));
    format!("{}://{}{}{query}", names.scheme, names.authority, url.path())
}

/// A link that leads to no agent: to the agent's own host it goes through the mesh, elsewhere it stays, and what is no
/// link of the web goes.
fn link(object: &mut Map<String, Value>, name: &str, names: &Names) {
    let Some(Value::String(text)) = object.get(name) else { return };
    match web(text) {
        Some(url) if is_own(&url, names) => {
            object.insert(name.to_owned(), Value::from(through(&url, names)));
        }
        Some(_) => {}
        None => {
            object.shift_remove(name);
        }
    }
}

/// The links of what stands in this value. It nests no deeper than JSON is read here.
fn links(value: &mut Value, names: &Names) {
    match value {
        Value::Object(object) => {
            let found: Vec<String> = object
                .iter()
                .filter(|(key, value)| value.is_string() && fold(key).ends_with("url"))
                .map(|(key, _)| key.clone())
                .collect();
            found.iter().for_each(|name| link(object, name, names));
            object.values_mut().for_each(|value| links(value, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| links(item, names)),
        _ => {}
    }
}

fn skills(card: &mut Map<String, Value>, shows: impl Fn(&str) -> bool) -> Result<(), CardError> {
    match card.get_mut("skills") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(skills)) => {
            if skills.len() > ENTRIES_MAX {
                return Err(CardError::TooMany("skills"));
            }
            skills.retain(|skill| skill.get("id").and_then(Value::as_str).is_some_and(&shows));
            Ok(())
        }
        Some(_) => Err(CardError::Shape("skills")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names() -> Names {
        Names {
            scheme: "http",
            authority: "researcher.shop.mesh".to_owned(),
            hosts: ["researcher.shop.mesh", "researcher.shop.svc"].map(str::to_owned).into(),
        }
    }

    fn rewritten(card: &Value) -> Result<Value, CardError> {
        rewrite(card.to_string().as_bytes(), &names(), |skill| skill != "secret")
    }

    #[test]
    fn every_interface_of_the_agent_leads_through_the_mesh() {
        let card = json!({
            "name": "r", "url": "http://127.0.0.1:9001/a2a", "preferredTransport": "JSONRPC",
            "additionalInterfaces": [
                {"url": "http://127.0.0.1:9001/rest", "transport": "HTTP+JSON"},
                {"url": "http://127.0.0.1:9001/", "transport": "GRPC"},
                {"url": "http://127.0.0.1:9002/", "transport": "JSONRPC"},
            ],
            "supportedInterfaces": [{"url": "http://researcher.shop.svc/x?y=1", "protocolBinding": "JSONRPC"}],
        });
        let card = rewritten(&card).unwrap();
        assert_eq!(card["url"], "http://researcher.shop.mesh/a2a");
        let rest = json!([{"url": "http://researcher.shop.mesh/rest", "transport": "HTTP+JSON"}]);
        assert_eq!(card["additionalInterfaces"], rest);
        assert_eq!(card["supportedInterfaces"][0]["url"], "http://researcher.shop.mesh/x?y=1");
    }

    #[test]
    fn attack_card_spoofing_and_hostile_urls() {
        for hostile in [
            "https://evil.example/steal",
            "https://researcher.shop.mesh.evil.example/",
            "https://researcher.shop.mesh@evil.example/",
            "https://user:pass@researcher.shop.mesh/",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "//evil.example/",
            "/a2a",
            "",
            "http://169.254.169.254/",
            "http://\u{ff52}esearcher.shop.mesh.evil/",
        ] {
            let own = json!({"url": "http://localhost:9/a", "protocolBinding": "JSONRPC"});
            let foreign = json!({"url": hostile, "protocolBinding": "JSONRPC"});
            let card = rewritten(&json!({"supportedInterfaces": [foreign, own]})).unwrap();
            let kept = json!([{"url": "http://researcher.shop.mesh/a", "protocolBinding": "JSONRPC"}]);
            assert_eq!(card["supportedInterfaces"], kept, "{hostile}");
            let old = json!({"url": hostile, "additionalInterfaces": [{"url": "http://localhost:9/a", "transport": "HTTP+JSON"}]});
            let card = rewritten(&old).unwrap();
            assert!(!card.to_string().contains("evil"), "{card}");
            if !hostile.is_empty() {
                assert_eq!(
                    (&card["url"], &card["preferredTransport"]),
                    (&json!("http://researcher.shop.mesh/a"), &json!("HTTP+JSON"))
                );
            }
        }
    }

    #[test]
    fn no_other_spelling_hides_a_url() {
        let own = json!({"url": "http://localhost/", "protocolBinding": "JSONRPC"});
        for key in ["supported_interfaces", "additional_interfaces", "SupportedInterfaces"] {
            let mut card = json!({"supportedInterfaces": [own]});
            if key == "SupportedInterfaces" {
                card = json!({"url": "http://localhost/"});
            }
            card[key] = json!([{"URL": "https://evil.example/", "protocol_binding": "JSONRPC"}]);
            let card = rewritten(&card).unwrap();
            assert!(!card.to_string().contains("evil"), "{card}");
        }
    }

    #[test]
    fn what_the_agent_calls_itself_is_taken_where_nothing_else_is_said() {
        let card = rewritten(&json!({"url": "https://agents.example.com/r", "additionalInterfaces": [
            {"url": "https://agents.example.com/r/rest", "transport": "HTTP+JSON"},
            {"url": "https://evil.example/", "transport": "JSONRPC"},
        ]}))
        .unwrap();
        assert_eq!(card["url"], "http://researcher.shop.mesh/r");
        assert_eq!(card["additionalInterfaces"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_card_that_leads_nowhere_is_no_card() {
        for none in [
            json!({}),
            json!({"url": "javascript:x"}),
            json!({"url": "http://localhost/", "preferredTransport": "GRPC"}),
            json!({"supportedInterfaces": []}),
        ] {
            assert_eq!(rewritten(&none), Err(CardError::NoWay), "{none}");
        }
        assert_eq!(rewritten(&json!([])), Err(CardError::Shape("the whole")));
        assert_eq!(rewritten(&json!({"url": 1})), Err(CardError::Shape("url")));
        let many =
            |count: usize| json!({"url": "http://localhost/", "skills": vec![json!({"id": "s"}); count]});
        assert!(rewritten(&many(ENTRIES_MAX)).is_ok());
        assert_eq!(rewritten(&many(ENTRIES_MAX + 1)), Err(CardError::TooMany("skills")));
    }

    #[test]
    fn skills_that_may_not_be_used_are_not_on_it() {
        let card = json!({"url": "http://localhost/", "skills": [{"id": "open"}, {"id": "secret"}, {"name": "none"}, 7]});
        assert_eq!(rewritten(&card).unwrap()["skills"], json!([{"id": "open"}]));
    }

    #[test]
    fn a_signature_stays_where_it_is_still_true() {
        let signature = json!([{"protected": "p", "signature": "s"}]);
        let same = json!({"supportedInterfaces": [{"url": "http://researcher.shop.mesh/a", "protocolBinding": "JSONRPC"}],
            "skills": [{"id": "open"}], "signatures": signature});
        assert_eq!(rewritten(&same).unwrap(), same);
        let mut other = same.clone();
        other["skills"] = json!([{"id": "open"}, {"id": "secret"}]);
        assert_eq!(rewritten(&other).unwrap().get("signatures"), None);
        let mut other = same;
        other["supportedInterfaces"][0]["url"] = json!("http://127.0.0.1:1/a");
        assert_eq!(rewritten(&other).unwrap().get("signatures"), None);
    }

    #[test]
    fn other_links_stay_unless_they_are_none_of_the_web() {
        let card = json!({
            "url": "http://localhost:8080/", "documentationUrl": "https://docs.example/", "iconUrl": "javascript:x",
            "provider": {"url": "http://researcher.shop.svc/about"},
            "securitySchemes": {"o": {"flows": {"clientCredentials": {"tokenUrl": "https://idp.example/t", "refreshUrl": "file:///x"}}}},
        });
        let card = rewritten(&card).unwrap();
        assert_eq!(card["documentationUrl"], "https://docs.example/");
        assert_eq!(card.get("iconUrl"), None);
        assert_eq!(card["provider"]["url"], "http://researcher.shop.mesh/about");
        let flow = json!({"tokenUrl": "https://idp.example/t"});
        assert_eq!(card["securitySchemes"]["o"]["flows"]["clientCredentials"], flow);
    }
}
