//! What is sent to a provider: the caller's request, translated or with few edits, under headers of our own.

use bytes::Bytes;
use exchange::{CallError, Exchange, Request, credential};
use http::{HeaderName, HeaderValue, Method, Uri, header};
use mesh::{Denial, Reason, resource::BackendTarget};
use serde_json::{Value, json};

use crate::{
    candidates::Candidate,
    chat,
    json::Object,
    messages,
    neutral::{NotTranslatable, Prompt},
    opening::Opened,
    operation::{ANTHROPIC_VERSION, Dialect, Operation},
    responses,
};

/// The version of Anthropic's API that is spoken where the caller names none.
const ANTHROPIC_VERSION_SPOKEN: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Headers of callers that go on: where the call belongs in a trace.
const TRACE: [HeaderName; 2] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// The body for one provider.
pub(crate) struct Body {
    /// What the provider speaks.
    pub dialect: Dialect,
    /// The request.
    pub object: Object,
    /// The same, written.
    pub bytes: Bytes,
}

impl Body {
    /// Where the caller sets no limit of its answer, this one, if there is one.
    ///
    /// # Errors
    /// When the request has no form there.
    pub(crate) fn of(
        opened: &Opened,
        candidate: &Candidate,
        default_output: Option<u64>,
    ) -> Result<Self, Denial> {
        let no_form = |error: NotTranslatable| {
            let field = Some(error.field.as_str().into());
            Denial { field, ..Denial::plain(Reason::NotTranslatable, error.to_string()) }
        };
        let operation = &opened.operation;
        let Some(dialect) = operation.upstream(candidate.provider.api) else {
            return Err(no_form(NotTranslatable::at(operation.name())));
        };
        let caller = operation.dialect();
        let mut object = if dialect == caller {
            let mut object = opened.request.clone();
            object.insert("model".to_owned(), json!(candidate.model));
            object
        } else {
            translated(opened, dialect, &candidate.model, default_output).map_err(no_form)?
        };
        if let Some(most) = default_output {
            limit(operation, dialect, &candidate.model, most, &mut object);
        }
        if dialect == Dialect::Chat && opened.stream() {
            // Always asked for; who did not ask is not told.
            let options = object.entry("stream_options").or_insert_with(|| json!({}));
            match options.as_object_mut() {
                Some(options) => {
                    options.insert("include_usage".to_owned(), json!(true));
                }
                None => *options = json!({"include_usage": true}),
            }
        }
        let bytes = Bytes::from(Value::Object(object.clone()).to_string());
        Ok(Self { dialect, object, bytes })
    }
}

fn translated(
    opened: &Opened,
    dialect: Dialect,
    model: &str,
    default_output: Option<u64>,
) -> Result<Object, NotTranslatable> {
    let mut prompt: Prompt = match opened.operation.dialect() {
        Dialect::Chat => chat::prompt(&opened.request)?,
        Dialect::Messages => messages::prompt(&opened.request)?,
        Dialect::Responses => responses::prompt(&opened.request)?,
    };
    prompt.output_most = prompt.output_most.or(default_output);
    match dialect {
        Dialect::Chat => chat::request(&prompt, model),
        Dialect::Messages => messages::request(&prompt, model),
        // Responses are asked only for responses.
        Dialect::Responses => Err(NotTranslatable::at(opened.operation.name())),
    }
}

/// Names the output limit that is reserved, where the caller named none.
fn limit(operation: &Operation, dialect: Dialect, model: &str, most: u64, object: &mut Object) {
    if matches!(operation, Operation::Embeddings | Operation::CountTokens) {
        return;
    }
    let fields: &[&str] = match dialect {
        Dialect::Chat => &["max_tokens", "max_completion_tokens"],
        Dialect::Messages => &["max_tokens"],
        Dialect::Responses => &["max_output_tokens"],
    };
    // The limit of another API is heeded by nobody here.
    for other in ["max_tokens", "max_completion_tokens", "max_output_tokens"] {
        if !fields.contains(&other) || object.get(other).is_some_and(Value::is_null) {
            object.shift_remove(other);
        }
    }
    if !fields.iter().any(|field| object.contains_key(*field)) {
        let field = if dialect == Dialect::Chat { chat::output_field(model) } else { fields[0] };
        object.insert(field.to_owned(), json!(most));
    }
}

/// The request for one provider.
///
/// # Errors
/// When its key is not held, or its path is none.
pub(crate) fn request(
    exchange: &Exchange,
    opened: &Opened,
    candidate: &Candidate,
    body: &Body,
) -> Result<Request, CallError> {
    let provider = &candidate.provider;
    let path =
        format!("{}{}", provider.path_prefix.trim_end_matches('/'), opened.operation.path(body.dialect));
    let mut request = blank(exchange, candidate, Method::POST, &path)?;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let accept = if opened.stream() { "text/event-stream" } else { "application/json" };
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    if body.dialect == Dialect::Messages {
        let ours = exchange.request.headers();
        let same = opened.operation.dialect() == Dialect::Messages;
        let version = ours.get(ANTHROPIC_VERSION).filter(|_| same).cloned();
        headers.insert(ANTHROPIC_VERSION, version.unwrap_or(ANTHROPIC_VERSION_SPOKEN));
        if same {
            let beta = HeaderName::from_static("anthropic-beta");
            for value in ours.get_all(&beta) {
                headers.append(beta.clone(), value.clone());
            }
        }
    }
    *request.body_mut() = exchange::Body::held_bytes(body.bytes.clone());
    Ok(request)
}

/// A request with our credentials, and nothing of the caller's but its trace.
///
/// # Errors
/// When the key is not held, or the path is none.
pub(crate) fn blank(
    exchange: &Exchange,
    candidate: &Candidate,
    method: Method,
    path: &str,
) -> Result<Request, CallError> {
    let mut request = Request::default();
    *request.method_mut() = method;
    let uri: Result<Uri, _> = path.parse();
    *request.uri_mut() = uri.map_err(|_| CallError::Unresolved("the path of a provider is none".into()))?;
    let ours = exchange.request.headers();
    let headers = request.headers_mut();
    let host = match &candidate.provider.target {
        BackendTarget::Host(host) => {
            let plain = if host.tls.is_some() { 443 } else { 80 };
            let text = if host.port == plain {
                host.host.to_string()
            } else {
                format!("{}:{}", host.host, host.port)
            };
            HeaderValue::from_str(&text).ok()
        }
        BackendTarget::Service { service, port } => {
            HeaderValue::from_str(&format!("{}:{port}", service.hostname)).ok()
        }
        _ => None,
    };
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    for name in &TRACE {
        for value in ours.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    credential::apply(&*exchange.known, candidate.provider.auth.as_ref(), headers)?;
    Ok(request)
}

/// Our key, so that it can be taken out of what a provider says.
pub(crate) fn key(exchange: &Exchange, candidate: &Candidate) -> Option<std::sync::Arc<str>> {
    let auth = candidate.provider.auth.as_ref()?;
    let secret = exchange.known.secret(&auth.secret)?;
    let key = secret.data.get(&auth.key)?.reveal().trim();
    Some(key.into())
}
