//! Asks external authorizers, whose yes is needed beside that of the policies. Deciding who is asked is pure and
//! stands in `mesh`; asking is a step of its own, after everything else was granted.
//!
//! *Guarantees*: whatever is not a yes is a no, also silence and nonsense; an answer changes no header that says who
//! somebody is, where the request goes or where it ends. *Caveats*: who answers "yes" once in an exchange is not asked
//! again for its endpoint; a call of ours (a mirror, the keys of an issuer, an authorizer itself) that leads to an
//! endpoint with an authorizer is refused, because nobody asked for it.

mod grpc;
mod http;

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::Bytes;
use exchange::{Asking, Body, BoxFuture, Errands, Exchange, Filter, HoldError, Response, Step, answer};
use mesh::{
    Denial, Reason,
    resource::{Authorizer, AuthorizerProtocol},
};

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Headers of an answer that go on.
const HEADERS_MAX: usize = 64;

/// The filter of one exchange.
#[derive(Debug)]
pub struct ExternalAuth {
    errands: Errands,
}

impl ExternalAuth {
    /// Asks by these errands.
    pub fn new(errands: Errands) -> Self {
        Self { errands }
    }
}

/// What an authorizer said.
#[derive(Debug)]
enum Said {
    Yes { set: Vec<(HeaderName, HeaderValue, bool)>, remove: Vec<HeaderName> },
    No { status: StatusCode, headers: HeaderMap, body: Bytes },
}

impl Filter for ExternalAuth {
    fn name(&self) -> &'static str {
        "external-auth"
    }

    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        Box::pin(async move {
            let mut authorizers: Vec<Arc<Authorizer>> = Vec::new();
            for place in &exchange.places {
                let asked = match exchange.judge.authorizers(place, &exchange.facts) {
                    Ok(asked) => asked,
                    Err(denial) => return Step::Refuse(denial),
                };
                for authorizer in asked {
                    if !authorizers.contains(&authorizer) {
                        authorizers.push(authorizer);
                    }
                }
            }
            for authorizer in authorizers {
                match self.ask(&authorizer, exchange).await {
                    Ok(Said::Yes { set, remove }) => {
                        exchange.trail.authorized(authorizer);
                        change(exchange.request.headers_mut(), set, remove);
                    }
                    Ok(Said::No { status, headers, body }) => return refuse(exchange, status, headers, body),
                    Err(denial) => return Step::Refuse(denial),
                }
            }
            Step::Continue
        })
    }
}

impl ExternalAuth {
    async fn ask(&self, authorizer: &Authorizer, exchange: &mut Exchange) -> Result<Said, Denial> {
        let failed = |error: &dyn std::fmt::Display| {
            Denial::plain(Reason::ExternalFailed, format!("the external authorizer gives no answer: {error}"))
        };
        let body = match usize::try_from(authorizer.body_bytes) {
            Ok(limit) if limit > 0 => match exchange.request.body_mut().hold(limit).await {
                Ok(body) => body.clone(),
                Err(HoldError::TooLarge { limit }) => {
                    let text =
                        format!("the content has more than {limit} bytes, which the authorizer is told");
                    return Err(Denial::plain(Reason::TooMuch, text));
                }
                Err(error) => return Err(failed(&error)),
            },
            _ => Bytes::new(),
        };
        let question = match &authorizer.protocol {
            AuthorizerProtocol::Grpc => grpc::question(authorizer, exchange, &body),
            AuthorizerProtocol::Http { path_prefix } => {
                http::question(authorizer, path_prefix, exchange, body)
            }
        };
        let mut question = question.map_err(|error| failed(&error))?;
        question.extensions_mut().insert(Asking);
        let timeout = authorizer.timeout.into();
        let said = self.errands.send(&authorizer.target, question, timeout, ANSWER_BYTES_MAX).await;
        let said = said.map_err(|error| failed(&error))?;
        match &authorizer.protocol {
            AuthorizerProtocol::Grpc => grpc::answer(said),
            AuthorizerProtocol::Http { .. } => http::answer(authorizer, said),
        }
        .map_err(|error| failed(&error))
    }
}

/// Headers that a question tells: those that are named, or all but those that say who we are.
fn told(authorizer: &Authorizer, headers: &HeaderMap) -> Vec<(String, String)> {
    let named =
        |name: &HeaderName| authorizer.headers.iter().any(|one| one.eq_ignore_ascii_case(name.as_str()));
    let all = authorizer.headers.is_empty() && authorizer.protocol == AuthorizerProtocol::Grpc;
    let names =
        headers.keys().filter(|name| (all || named(name)) && **name != header::HOST && !is_ours(name));
    names
        .map(|name| {
            let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            (name.as_str().to_owned(), values.collect::<Vec<_>>().join(","))
        })
        .collect()
}

/// Headers that say who somebody is, by our word.
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    name == "x-forwarded-client-cert" || name.starts_with("x-strait-")
}

/// Headers that no answer may touch: ours, those that say where a message goes or ends, and those of one connection.
fn may_change(name: &HeaderName) -> bool {
    const NEVER: [&str; 14] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "http2-settings",
        "content-encoding",
    ];
    !is_ours(name) && !NEVER.contains(&name.as_str().replace('_', "-").as_str())
}

fn change(headers: &mut HeaderMap, set: Vec<(HeaderName, HeaderValue, bool)>, remove: Vec<HeaderName>) {
    for name in remove.into_iter().take(HEADERS_MAX).filter(may_change) {
        headers.remove(name);
    }
    for (name, value, append) in set.into_iter().take(HEADERS_MAX).filter(|(name, ..)| may_change(name)) {
        if append {
            headers.append(name, value);
        } else {
            headers.insert(name, value);
        }
    }
}

/// What the caller is told: what the authorizer said, if it said something, else what the protocol says.
fn refuse(exchange: &Exchange, status: StatusCode, headers: HeaderMap, body: Bytes) -> Step {
    let denial = Denial::plain(Reason::ExternalDenied, "the external authorizer says no");
    if status == StatusCode::FORBIDDEN && headers.is_empty() && body.is_empty() {
        return Step::Refuse(denial);
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
    Step::Answer(response)
}

/// The status of a refusal: none that lets something through.
fn refusing(status: u16) -> StatusCode {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    if (300..600).contains(&status.as_u16()) { status } else { StatusCode::FORBIDDEN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_changes_no_header_that_says_who_or_where() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "a".parse().unwrap());
        headers.insert("x-old", "1".parse().unwrap());
        let set = |name: &'static str| (HeaderName::from_static(name), HeaderValue::from_static("x"), false);
        let all = [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "x-forwarded-client-cert",
            "x_forwarded_client_cert",
            "x-strait-origin",
            "upgrade",
            "x-user",
        ];
        let remove = vec![HeaderName::from_static("host"), HeaderName::from_static("x-old")];
        change(&mut headers, all.map(set).to_vec(), remove);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "x-user"]);
        assert_eq!(headers["host"], "a");
    }

    #[test]
    fn a_no_has_a_status_of_a_no() {
        for (status, expected) in
            [(0, 403), (200, 403), (204, 403), (302, 302), (401, 401), (503, 503), (999, 403)]
        {
            assert_eq!(refusing(status).as_u16(), expected, "{status}");
        }
    }
}
