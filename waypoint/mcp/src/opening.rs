//! The message that opens an exchange, read once: the facts are taken from it, and the responder finds it again.

use std::sync::Arc;

use exchange::{Backend, Body, HoldError, Known, Request};
use http::{StatusCode, header};
use mesh::facts::{Fact, McpFacts, McpObject};

use crate::{
    batch,
    head::{Head, Verb},
    message::Message,
    object::Objects,
    rejection::{INVALID_REQUEST, Rejection},
    revision::{Era, Revision},
    shelf::Catalogued,
};

/// What an exchange begins with.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The head.
    pub head: Head,
    /// The revision that head and body agree on.
    pub revision: Revision,
    /// The message, if there is one.
    pub message: Option<Message>,
    /// What it acts on.
    pub objects: Objects,
    /// The messages, if there are several: each is judged and answered by itself.
    pub batch: Vec<Opened>,
}

impl Opened {
    /// How its revision keeps state.
    pub fn era(&self) -> Era {
        self.revision.era()
    }
}

/// What was read of a request; it rides in the extensions of the request.
#[derive(Debug, Clone)]
pub(crate) struct Opening(pub(crate) Arc<Result<Opened, Rejection>>);

/// Reads a request, holding at most `limit` bytes of its body, and says the facts by which it is judged. What was
/// read stays with the request for the responder.
pub async fn read(request: &mut Request, limit: usize) -> Fact<McpFacts> {
    let opened = open(request, limit).await;
    let fact = match &opened {
        Ok(opened) => Fact::Known(opened.objects.facts.clone()),
        Err(_) => Fact::Missing("the request is not an MCP message that can be taken"),
    };
    request.extensions_mut().insert(Opening(Arc::new(opened)));
    fact
}

/// Adds what the catalogue of a backend says a tool can do.
pub fn described(fact: Fact<McpFacts>, backend: &Backend, known: &dyn Known) -> Fact<McpFacts> {
    match fact {
        Fact::Known(McpFacts { method, object: McpObject::Tool { name, arguments, .. } }) => {
            let access = Catalogued::of(backend, known).access(&name);
            Fact::Known(McpFacts { method, object: McpObject::Tool { name, arguments, access } })
        }
        fact => fact,
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
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str())
        .or_else(|| request.headers().get(header::HOST).and_then(|host| host.to_str().ok()));
    let head = Head::parse(request.method(), authority, request.headers())?;
    if head.verb != Verb::Post {
        let revision = head.alone()?;
        // Neither reads a body, so none is sent on.
        *request.body_mut() = Body::empty();
        return Ok(Opened { head, revision, message: None, objects: Objects::base(), batch: Vec::new() });
    }
    let body = request.body_mut().hold(limit).await.map_err(|error| match error {
        HoldError::TooLarge { limit } => {
            let text = format!("The body has more than {limit} bytes");
            Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, text)
        }
        HoldError::Cut(_) => Rejection::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, "The body was cut"),
    })?;
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        let body = body.clone();
        let batch = batch::read(&head, request.headers(), &body)?;
        let revision = head.alone()?;
        return Ok(Opened { head, revision, message: None, objects: Objects::base(), batch });
    }
    let message = Message::parse(body.clone())?;
    let revision = head.agree(&message, request.headers())?;
    let objects = Objects::of(&message, revision.era())?;
    Ok(Opened { head, revision, message: Some(message), objects, batch: Vec::new() })
}
