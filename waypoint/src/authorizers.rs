//! Asks external authorizers, whose yes is needed beside that of the policies. Deciding who is asked is pure and
//! stands in `mesh`; asking is a step of its own, after everything else was granted.
//!
//! *Flow*: the filter asks those of the way to the responder; `upstreams` those of the chosen endpoint; the responders of
//! models and of several messages in one request those of what only they know. *Guarantees*: whatever is not a yes is a
//! no, also silence and nonsense; an answer changes no header that says who somebody is, where the request goes or where
//! it ends. *Caveats*: who answers "yes" is not asked again about the same facts; a question itself asks nobody, so an
//! authorizer behind an authorizer is not reached; only the filter gives the caller the authorizer's own words, others
//! refuse as their protocol does.

mod ask;
mod grpc;
mod headers;
mod http;
mod said;

use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, StatusCode};
use bytes::Bytes;
use exchange::{Body, BoxFuture, Exchange, Filter, Response, Step, Upstreams, answer};
use mesh::{Denial, Identity, resource::Authorizer};

pub(crate) use self::ask::{ask, hold, no};
use self::headers::{HEADERS_MAX, may_change};
pub use self::said::Said;

/// The filter of one exchange.
pub struct ExternalAuth {
    own: Identity,
    upstreams: Arc<dyn Upstreams>,
}

impl ExternalAuth {
    /// Asks in the name of `own`, by these upstreams.
    pub fn new(own: Identity, upstreams: Arc<dyn Upstreams>) -> Self {
        Self { own, upstreams }
    }

    async fn ask_all(&self, exchange: &mut Exchange) -> Result<Option<Response>, Denial> {
        for authorizer in asked_by(exchange)? {
            hold(&authorizer, exchange.request.body_mut()).await?;
            let said =
                ask(&*self.upstreams, &self.own, &authorizer, &exchange.facts, &exchange.request).await?;
            match said {
                Said::Yes(changes) => {
                    exchange.trail.authorized(authorizer, &exchange.facts);
                    changes.apply(exchange.request.headers_mut());
                }
                Said::No { status, headers, body } => return told_no(exchange, status, headers, body),
            }
        }
        Ok(None)
    }
}

impl std::fmt::Debug for ExternalAuth {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ExternalAuth").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Filter for ExternalAuth {
    fn name(&self) -> &'static str {
        "external-auth"
    }

    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        Box::pin(async move {
            match self.ask_all(exchange).await {
                Ok(None) => Step::Continue,
                Ok(Some(response)) => Step::Answer(response),
                Err(denial) => Step::Refuse(denial),
            }
        })
    }
}

/// Whom the places of an exchange ask, each once.
fn asked_by(exchange: &Exchange) -> Result<Vec<Arc<Authorizer>>, Denial> {
    let mut authorizers = Vec::new();
    for place in &exchange.places {
        for authorizer in exchange.judge.authorizers(place, &exchange.facts)? {
            if !authorizers.contains(&authorizer) {
                authorizers.push(authorizer);
            }
        }
    }
    Ok(authorizers)
}

/// What the caller is told: what the authorizer said, if it said something, else what the protocol says.
fn told_no(
    exchange: &Exchange,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Option<Response>, Denial> {
    let denial = no();
    if status == StatusCode::FORBIDDEN && headers.is_empty() && body.is_empty() {
        return Err(denial);
    }
    let id = exchange.refused(&denial);
    let mut response = Response::new(Body::held_bytes(body));
    *response.status_mut() = status;
    for (name, value) in headers.iter().take(HEADERS_MAX).filter(|(name, _)| may_change(name)) {
        response.headers_mut().append(name, value.clone());
    }
    if let Ok(value) = HeaderValue::from_str(&format!("id={id}; reason={}", denial.reason)) {
        response.headers_mut().insert(answer::DENIED, value);
    }
    Ok(Some(response))
}
