//! The request that opens an exchange, read once: the facts are taken from it, and the responder finds it again.

use std::sync::Arc;

use exchange::{HoldError, Request};
use http::{StatusCode, header};
use mesh::facts::{Fact, LlmFacts, Model};

use crate::{
    error::Said,
    estimate,
    json::{self, Object},
    operation::{Dialect, Operation},
};

/// Longest name of a model, in bytes.
pub const MODEL_BYTES_MAX: usize = 256;

/// What an exchange begins with.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    pub operation: Operation,
    /// The body; empty where models are listed.
    pub request: Object,
    /// The model as the caller names it.
    pub model: Arc<str>,
}

impl Opened {
    pub(crate) fn stream(&self) -> bool {
        self.request.get("stream") == Some(&serde_json::Value::Bool(true))
    }

    /// Whether the caller asked a stream of chat completions to tell what was used. Other APIs always tell.
    pub(crate) fn tells_usage(&self) -> bool {
        let options = self.request.get("stream_options").and_then(|options| options.get("include_usage"));
        options == Some(&serde_json::Value::Bool(true))
    }

    /// The facts, with a model known in this way.
    pub(crate) fn facts(&self, model: Model) -> LlmFacts {
        LlmFacts { operation: self.operation.name().into(), model }
    }
}

/// What was read of a request; it rides in the extensions of the request.
#[derive(Debug, Clone)]
pub(crate) struct Opening(pub(crate) Arc<Result<Opened, (Dialect, Said)>>);

/// Reads a request, holding at most `limit` bytes of its body, and says the facts by which it is judged. What was
/// read stays with the request for the responder.
pub async fn read(request: &mut Request, limit: usize) -> Fact<LlmFacts> {
    let opened = open(request, limit).await;
    let fact = match &opened {
        Ok(opened) if opened.operation.lists() => Fact::Known(opened.facts(Model::Base)),
        Ok(opened) => Fact::Known(opened.facts(Model::Asked)),
        Err(_) => Fact::Missing("the request is not a call of a model that can be taken"),
    };
    request.extensions_mut().insert(Opening(Arc::new(opened)));
    fact
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

async fn open(request: &mut Request, limit: usize) -> Result<Opened, (Dialect, Said)> {
    let path = request.uri().path();
    let dialect = Operation::dialect_of(path, request.headers());
    let operation = Operation::of(request.method(), path, request.headers()).ok_or_else(|| {
        let text = format!("{} {path} is not served here", request.method());
        (dialect, Said::new(StatusCode::NOT_FOUND, text))
    })?;
    let dialect = operation.dialect();
    if operation.lists() {
        return Ok(Opened { operation, request: Object::new(), model: "".into() });
    }
    let encoded = request.headers().get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity");
    if encoded {
        let text = "the body is compressed, which is not read here";
        return Err((dialect, Said::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)));
    }
    let body = request.body_mut().hold(limit).await.map_err(|error| match error {
        HoldError::TooLarge { limit } => {
            let text = format!("the body has more than {limit} bytes");
            (dialect, Said::new(StatusCode::PAYLOAD_TOO_LARGE, text))
        }
        HoldError::Cut(_) => (dialect, Said::bad("the body was cut")),
    })?;
    let body = json::object(body).map_err(|error| (dialect, Said::bad(error.to_string())))?;
    let bad = |param: &str, text: &str| (dialect, Said { param: Some(param.to_owned()), ..Said::bad(text) });
    let model = match json::text(&body, "model") {
        Some(model) if !model.is_empty() && model.len() <= MODEL_BYTES_MAX => Arc::from(model),
        _ => return Err(bad("model", "model must be the name of a model")),
    };
    if body.get("stream").is_some_and(|stream| !stream.is_boolean() && !stream.is_null()) {
        return Err(bad("stream", "stream must be true or false"));
    }
    estimate::limits(&body).map_err(|error| (dialect, Said::bad(error.to_string())))?;
    Ok(Opened { operation, request: body, model })
}
