//! The request that opens an exchange, read once: the facts are taken from it, and the responder finds it again.
//!
//! The body is the authority. A header, path or query that says otherwise makes the request malformed.

use std::sync::Arc;

use exchange::{Body, HoldError, Request};
use http::{HeaderMap, StatusCode, header};
use mesh::{
    Reason,
    facts::{A2aFacts, Fact, Skill},
};
use serde_json::{Map, Value};

use crate::{
    fault::{Fault, Rejection, Voice},
    fields,
    message::{self, Message},
    method::{Known, Method, Version},
    path::{self, Path, PathError, Resource},
    walk,
};

/// The header (or query) that says the version.
const VERSION: &str = "a2a-version";
/// How many parameters a query may have.
const QUERY_MAX: usize = 64;

/// How a method is called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Binding {
    /// By a JSON-RPC message, of which this is all but the parameters.
    Rpc(Map<String, Value>),
    /// By a path and a query.
    Http { resource: Resource, query: Vec<(String, String)> },
}

/// What an exchange begins with.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub(crate) binding: Binding,
    pub(crate) method: Method,
    pub(crate) tenant: Option<Arc<str>>,
    /// The parameters of the body; `None` without a body.
    pub(crate) params: Option<Value>,
    pub(crate) voice: Voice,
}

impl Opened {
    /// A text among the parameters, or in the query.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        if let Some(text) =
            self.params.as_ref().and_then(Value::as_object).and_then(|it| fields::text(it, name))
        {
            return Some(text);
        }
        match &self.binding {
            Binding::Http { query, .. } => {
                let spelled = |key: &str| key == name || key == fields::snake(name);
                query.iter().find(|(key, _)| spelled(key)).map(|(_, value)| value.as_str())
            }
            Binding::Rpc(_) => None,
        }
    }

    /// The message that it sends.
    pub(crate) fn message(&self) -> Option<&Map<String, Value>> {
        let params = self.params.as_ref()?.as_object()?;
        fields::get(params, "message").or_else(|| fields::get(params, "request"))?.as_object()
    }

    fn facts(&self, skill_pointer: Option<&str>) -> A2aFacts {
        let skill = match skill_pointer {
            // Only a message asks for a skill. What comes of it is asked for by the task.
            Some(pointer) if self.method.sends() => {
                let said =
                    self.params.as_ref().and_then(|params| params.pointer(pointer)).and_then(Value::as_str);
                said.map_or(Skill::Missing, |skill| Skill::Called(skill.into()))
            }
            _ => Skill::NotDeclared,
        };
        A2aFacts { method: Arc::clone(&self.method.name), tenant: self.tenant.clone(), skill }
    }
}

/// What was read of a request; it rides in the extensions of the request.
#[derive(Debug, Clone)]
pub(crate) struct Opening(pub(crate) Arc<Result<Opened, Rejection>>);

/// Reads a request, holding at most `limit` bytes of its body, and says the facts by which it is judged: the skill as
/// it stands at `skill_pointer` in the parameters, if the agent declares one. What was read stays with the request
/// for the responder.
pub async fn read(request: &mut Request, limit: usize, skill_pointer: Option<&str>) -> Fact<A2aFacts> {
    let opened = open(request, limit).await;
    request.extensions_mut().insert(Opening(Arc::new(opened)));
    facts(request, skill_pointer)
}

/// The facts of a request that was read, for an agent that declares this pointer.
pub fn facts(request: &Request, skill_pointer: Option<&str>) -> Fact<A2aFacts> {
    match request.extensions().get::<Opening>().map(|opening| &*opening.0) {
        Some(Ok(opened)) => Fact::Known(opened.facts(skill_pointer)),
        _ => Fact::Missing("the request is not an A2A message that can be taken"),
    }
}

/// What was read of a request, reading it now if nobody has.
pub(crate) async fn of(request: &mut Request, limit: usize) -> Opening {
    if let Some(opening) = request.extensions().get::<Opening>() {
        return opening.clone();
    }
    let opening = Opening(Arc::new(open(request, limit).await));
    request.extensions_mut().insert(opening.clone());
    opening
}

async fn open(request: &mut Request, limit: usize) -> Result<Opened, Rejection> {
    let said = said_version(request.headers());
    // Until the message is read, an answer is in the form of the version that the head says.
    let version = said.as_ref().ok().copied().flatten().unwrap_or(Version::V03);
    let http = |fault: Fault, said: &str| malformed(Voice::Http(version), fault, said);
    match path::read(request.method(), request.uri().path()) {
        Ok(Path::Endpoint) => {
            let voice = Voice::Rpc { version, id: Value::Null };
            let body = hold(request, limit, &voice).await?;
            endpoint(&body, request.headers(), version, said)
        }
        Ok(Path::Resource(resource)) => {
            let body = hold(request, limit, &Voice::Http(version)).await?;
            if resource.method != Known::Card {
                said.map_err(|wrong| wrong.of(Voice::Http(version)))?;
            }
            let opened = called(request, resource, &body, version)?;
            if opened.params.is_none() {
                // None is read there, so none is sent on.
                *request.body_mut() = Body::empty();
            }
            Ok(opened)
        }
        Err(PathError::Unknown) => Err(Rejection {
            status: StatusCode::NOT_FOUND,
            ..http(Fault::MethodNotFound, "The path is not part of this protocol")
        }),
        Err(PathError::Verb) => Err(Rejection {
            status: StatusCode::METHOD_NOT_ALLOWED,
            ..http(Fault::MethodNotFound, "Nothing is served here by this method of HTTP")
        }),
        Err(PathError::Ambiguous) => Err(http(Fault::InvalidRequest, "The path can be read in two ways")),
    }
}

async fn hold(request: &mut Request, limit: usize, voice: &Voice) -> Result<bytes::Bytes, Rejection> {
    request.body_mut().hold(limit).await.cloned().map_err(|error| match error {
        HoldError::TooLarge { limit } => Rejection {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            reason: Reason::TooMuch,
            ..malformed(
                voice.clone(),
                Fault::InvalidRequest,
                &format!("The body has more than {limit} bytes"),
            )
        },
        HoldError::Cut(_) => malformed(voice.clone(), Fault::InvalidRequest, "The body was cut"),
    })
}

/// Reads a JSON-RPC message.
fn endpoint(
    body: &[u8],
    headers: &HeaderMap,
    version: Version,
    said: Result<Option<Version>, WrongVersion>,
) -> Result<Opened, Rejection> {
    let nameless = || Voice::Rpc { version, id: Value::Null };
    if !is_json(headers, false) {
        return Err(Rejection {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ..malformed(nameless(), Fault::InvalidRequest, "The body is not application/json")
        });
    }
    let message = Message::read(body)
        .map_err(|error| malformed(Voice::Rpc { version, id: error.id }, error.fault, &error.said))?;
    let named = Method::from_name(&message.method);
    let body_version = named.as_ref().and_then(|(_, version)| *version);
    let version = body_version.unwrap_or(version);
    let voice = Voice::Rpc { version, id: message.id };
    let said = said.map_err(|wrong| wrong.of(voice.clone()))?;
    let Some((method, _)) = named else {
        // An answer of the protocol, and so a success of HTTP.
        let none = malformed(voice, Fault::MethodNotFound, "Method not found");
        return Err(Rejection { status: StatusCode::OK, ..none });
    };
    if let (Some(said), Some(body)) = (said, body_version)
        && said != body
    {
        return Err(malformed(
            voice,
            Fault::InvalidRequest,
            "A2A-Version differs from the version of the method",
        ));
    }
    walk::check(&message.params)
        .map_err(|error| malformed(voice.clone(), Fault::InvalidParams, &error.to_string()))?;
    let params = message.params;
    let tenant = params.as_object().and_then(|params| fields::text(params, "tenant")).map(Arc::from);
    Ok(Opened { binding: Binding::Rpc(message.envelope), method, tenant, params: Some(params), voice })
}

/// Reads a call by path, query and body.
fn called(request: &Request, resource: Resource, body: &[u8], version: Version) -> Result<Opened, Rejection> {
    let wrong = |said: &str| malformed(Voice::Http(version), Fault::InvalidRequest, said);
    let query = query(request.uri().query()).map_err(|said| wrong(&said))?;
    let reads_body = matches!(*request.method(), http::Method::POST);
    let params =
        if !reads_body || (body.is_empty() && !matches!(resource.method, Known::Send | Known::Stream)) {
            None
        } else {
            if !is_json(request.headers(), true) {
                return Err(Rejection {
                    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    ..wrong("The body is not JSON")
                });
            }
            let value = message::parse(body)
                .map_err(|error| malformed(Voice::Http(version), error.fault, &error.said))?;
            let Value::Object(object) = &value else { return Err(wrong("The body is not an object")) };
            if object.contains_key("jsonrpc") {
                return Err(wrong("The path is of HTTP+JSON and the body of JSON-RPC"));
            }
            walk::check(&value)
                .map_err(|error| malformed(Voice::Http(version), Fault::InvalidParams, &error.to_string()))?;
            Some(value)
        };
    // What stands in the path stands nowhere else, or says the same there.
    let elsewhere = |name: &str| {
        let body = params.as_ref().and_then(Value::as_object).and_then(|params| fields::text(params, name));
        let spelled = |key: &str| key == name || key == fields::snake(name);
        let query = query.iter().find(|(key, _)| spelled(key)).map(|(_, value)| value.as_str());
        [body, query.filter(|value| !value.is_empty())].into_iter().flatten()
    };
    // In 0.3 the paths begin with `v1`, and there are no tenants.
    let of_path = resource
        .tenant()
        .filter(|last| resource.method != Known::Card && (last != "v1" || version == Version::V1));
    let mut tenant: Option<Arc<str>> = of_path.map(Arc::from);
    for said in elsewhere("tenant") {
        match &tenant {
            Some(of_path) if **of_path != *said => {
                return Err(wrong("The tenant differs from that of the path"));
            }
            _ => tenant = Some(said.into()),
        }
    }
    if let Some(task) = &resource.task {
        let names: &[&str] = match resource.method {
            Known::Get | Known::Cancel | Known::Subscribe => &["id", "taskId"],
            _ => &["taskId"],
        };
        for said in names.iter().flat_map(|name| elsewhere(name)) {
            if said != task {
                return Err(wrong("The task differs from that of the path"));
            }
        }
    }
    let method = Method::of(resource.method);
    Ok(Opened {
        binding: Binding::Http { resource, query },
        method,
        tenant,
        params,
        voice: Voice::Http(version),
    })
}

/// A query as pairs; none of those that are told may stand twice or in a third spelling.
fn query(text: Option<&str>) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (key, value) in url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
        if pairs.len() == QUERY_MAX {
            return Err(format!("The query has more than {QUERY_MAX} parameters"));
        }
        pairs.push((key.into_owned(), value.into_owned()));
    }
    let mut told = Map::new();
    for (key, _) in &pairs {
        if told.insert(key.clone(), Value::Null).is_some() && fields::named(key).is_some() {
            return Err(format!("The parameter {:?} stands twice", key.chars().take(64).collect::<String>()));
        }
    }
    fields::check(&told).map_err(|error| error.to_string())?;
    Ok(pairs)
}

/// A version that is said and not spoken, or said in two ways.
#[derive(Debug, Clone, PartialEq)]
struct WrongVersion(bool);

impl WrongVersion {
    fn of(self, voice: Voice) -> Rejection {
        if self.0 {
            malformed(voice, Fault::InvalidRequest, "A2A-Version stands twice, or cannot be read")
        } else {
            malformed(
                voice,
                Fault::Version,
                "This version of the protocol is not spoken here: 1.0 and 0.3 are",
            )
        }
    }
}

/// The version that the head says; an empty one is none.
fn said_version(headers: &HeaderMap) -> Result<Option<Version>, WrongVersion> {
    let mut values = headers.get_all(VERSION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(WrongVersion(true));
    }
    let text = value.to_str().map_err(|_| WrongVersion(true))?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    Version::from_name(text).map(Some).ok_or(WrongVersion(false))
}

fn malformed(voice: Voice, fault: Fault, said: &str) -> Rejection {
    Rejection {
        fault,
        status: StatusCode::BAD_REQUEST,
        reason: Reason::Malformed,
        said: said.to_owned(),
        voice,
    }
}

/// JSON, said once and in UTF-8. HTTP+JSON has a name of its own for it.
fn is_json(headers: &HeaderMap, by_path: bool) -> bool {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(kind) = kinds.next().and_then(|kind| kind.to_str().ok()) else { return false };
    let mut parts = kind.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = essence == "application/json" || (by_path && essence == "application/a2a+json");
    let utf8 = |part: &str| match part.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    json && kinds.next().is_none() && parts.all(utf8)
}
