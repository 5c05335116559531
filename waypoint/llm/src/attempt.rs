//! One attempt at one provider: the call, and what becomes of its answer.

use std::{sync::Arc, time::Duration};

use exchange::{Body, CallError, Exchange, Response, Upstreams};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mesh::{Denial, Facts, resource::Retries};
use serde_json::Value;

use crate::{
    account::Account,
    candidates::Candidate,
    chat,
    config::{Config, Sources},
    error::{self, Said},
    json::{self, Object},
    messages,
    neutral::Usage,
    opening::Opened,
    operation::{Dialect, Operation},
    responses,
    stream::{Bounds, First, Standing, Stream},
    turn::{Broken, Turner, Turning},
    upstream,
};

/// Longest error of a provider that is read, in bytes.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// Time in which an error of a provider must arrive.
const ERROR_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers of a provider's answer that go on: by these its operators find the call.
const KEPT: [HeaderName; 2] =
    [HeaderName::from_static("x-request-id"), HeaderName::from_static("request-id")];

/// One attempt.
pub(crate) struct Attempt<'a> {
    pub config: &'a Config,
    pub sources: Sources,
    pub exchange: &'a Exchange,
    pub opened: &'a Opened,
    pub candidate: &'a Candidate,
    pub facts: Arc<Facts>,
    pub body: upstream::Body,
}

/// What came of it.
pub(crate) enum Outcome {
    /// An answer.
    Answer(Response),
    /// An error that no other provider would say otherwise, or a decision.
    Final(Response),
    /// The provider's endpoint may not be used by this caller.
    Denied(Denial),
    /// The next may be asked.
    Failed(Failure),
}

/// A provider that failed.
pub(crate) struct Failure {
    /// For the log.
    pub why: String,
    pub status: Option<StatusCode>,
    pub retry_after: Option<Duration>,
    /// What the caller is told if nobody else answers.
    pub said: Option<Said>,
}

impl Failure {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), status: None, retry_after: None, said: None }
    }
}

impl Attempt<'_> {
    pub(crate) async fn run(&self, upstreams: &dyn Upstreams, account: Account) -> Outcome {
        let request = match upstream::request(self.exchange, self.opened, self.candidate, &self.body) {
            Ok(request) => request,
            Err(error) => {
                account.release();
                return Outcome::Failed(Failure::new(error.to_string()));
            }
        };
        let mut call = self.exchange.call(self.candidate.provider.target.clone(), request);
        call.facts = Arc::clone(&self.facts);
        // An attempt that is billed has a reservation of its own, so nobody tries again on the way.
        call.traffic.retries = Some(Retries { attempts: 0, codes: Vec::new(), backoff: None });
        let began = (self.sources.now)();
        let reply = match upstreams.call(call).await {
            Ok(reply) => reply,
            Err(error) => return self.no_answer(error, account),
        };
        // Now that the endpoint is known, its policies speak too.
        let response = reply.response;
        let status = response.status();
        if !status.is_success() {
            return self.error(response, account).await;
        }
        let kind = essence(response.headers());
        let wait = self.config.answer_timeout;
        let streamed = kind == "text/event-stream";
        let outcome = match (self.opened.stream(), kind.as_str()) {
            _ if response.headers().contains_key(header::CONTENT_ENCODING) => {
                drop(account);
                return Outcome::Failed(Failure::new("the answer is compressed, which was not asked for"));
            }
            (true, "text/event-stream") => {
                tokio::time::timeout(wait, self.stream(response, account, began)).await
            }
            (false, "application/json") => tokio::time::timeout(wait, self.whole(response, account)).await,
            _ => {
                drop(account);
                let what =
                    if streamed { "a stream, which was not asked for" } else { "not what was asked for" };
                return Outcome::Failed(Failure::new(format!("the answer is {what}")));
            }
        };
        outcome.unwrap_or_else(|_| Outcome::Failed(Failure::new("the answer did not begin in time")))
    }

    fn no_answer(&self, error: CallError, account: Account) -> Outcome {
        match error {
            CallError::Denied(denial) => {
                account.release();
                Outcome::Denied(denial)
            }
            CallError::Unresolved(_) | CallError::Unavailable(_) | CallError::PinGone(_) => {
                account.release();
                Outcome::Failed(Failure::new(error.to_string()))
            }
            CallError::Closed(denial) => {
                Outcome::Final(error::denied(self.exchange, self.opened.operation.dialect(), &denial))
            }
            // It may have been served and billed.
            CallError::TimedOut(_) | CallError::BadAnswer(_) | CallError::Request(_) => {
                drop(account);
                Outcome::Failed(Failure::new(error.to_string()))
            }
        }
    }

    /// The provider answered with an error.
    async fn error(&self, response: Response, account: Account) -> Outcome {
        let status = response.status();
        if status.is_server_error() || status.is_redirection() || status.is_informational() {
            account.failed();
        } else {
            account.release();
        }
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(seconds);
        let mut body = response.into_body();
        let bytes = match tokio::time::timeout(ERROR_TIMEOUT, body.hold(ERROR_BYTES_MAX)).await {
            Ok(Ok(bytes)) => bytes.clone(),
            _ => bytes::Bytes::new(),
        };
        let key = upstream::key(self.exchange, self.candidate);
        let said = error::of_provider(status, &bytes, key.as_deref());
        if error::is_of_the_request(status) {
            self.exchange.trail.failed(format!("the provider answered {status}"));
            return Outcome::Final(error::response(self.opened.operation.dialect(), &said, None));
        }
        let said = (status == StatusCode::NOT_FOUND).then_some(said);
        let why = format!("the provider answered {status}");
        Outcome::Failed(Failure { why, status: Some(status), retry_after, said })
    }

    /// An answer that comes whole.
    async fn whole(&self, response: Response, mut account: Account) -> Outcome {
        let headers = kept(response.headers());
        let mut body = response.into_body();
        let bytes = match body.hold(self.config.answer_bytes_max).await {
            Ok(bytes) => bytes.clone(),
            Err(error) => return Outcome::Failed(Failure::new(error.to_string())),
        };
        let object = match json::object(&bytes) {
            Ok(object) => object,
            Err(error) => {
                return Outcome::Failed(Failure::new(format!("the answer cannot be read: {error}")));
            }
        };
        let Some((usage, output)) = used(&self.opened.operation, self.body.dialect, &object) else {
            return Outcome::Failed(Failure::new("the answer is none of its API"));
        };
        account.answered(usage, output);
        let caller = self.opened.operation.dialect();
        let mut text = if caller == self.body.dialect {
            bytes
        } else {
            match self.translated(caller, &object) {
                Ok(value) => value.to_string().into(),
                Err(why) => return Outcome::Failed(Failure::new(why)),
            }
        };
        if let Some(key) = upstream::key(self.exchange, self.candidate).filter(|key| !key.is_empty())
            && let Ok(said) = std::str::from_utf8(&text)
            && said.contains(&*key)
        {
            text = said.replace(&*key, "(hidden)").into();
        }
        let mut response = Response::new(Body::held_bytes(text));
        *response.headers_mut() = headers;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Outcome::Answer(response)
    }

    fn translated(&self, caller: Dialect, object: &Object) -> Result<Value, String> {
        let answer = match self.body.dialect {
            Dialect::Chat => chat::answer(object),
            Dialect::Messages => messages::answer(object),
            Dialect::Responses => None,
        };
        let answer = answer.ok_or("the answer is none of its API")?;
        match caller {
            Dialect::Chat => Ok(chat::write_answer(&answer, self.created())),
            Dialect::Responses => Ok(responses::write_answer(&answer, self.created())),
            Dialect::Messages => messages::write_answer(&answer).map_err(|error| error.to_string()),
        }
    }

    fn created(&self) -> u64 {
        let time = (self.sources.time)().duration_since(std::time::UNIX_EPOCH);
        time.map_or(0, |since| since.as_secs())
    }

    /// An answer that comes in pieces. It is passed on when something of it has come.
    async fn stream(&self, response: Response, account: Account, began: std::time::Instant) -> Outcome {
        let headers = kept(response.headers());
        let caller = self.opened.operation.dialect();
        let (_, answers) = crate::estimate::limits(&self.opened.request).unwrap_or((None, 1));
        let turner = Turner::new(&Turning {
            upstream: self.body.dialect,
            caller,
            tells_usage: self.opened.tells_usage(),
            answers,
            created: self.created(),
            watches: self.exchange.watches.as_ref(),
        });
        let bounds = Bounds {
            event_bytes_max: self.config.event_bytes_max,
            stream_bytes_max: self.config.stream_bytes_max,
        };
        let mut stream = Stream::new(
            response.into_body(),
            turner,
            caller,
            account,
            Standing::of(self.exchange, &self.facts),
            bounds,
            upstream::key(self.exchange, self.candidate),
            Box::pin(self.exchange.closing.closed()),
            First { began, now: self.sources.now },
        );
        match stream.begin().await {
            Ok(()) => {}
            Err(Broken::Refused(denial)) => {
                return Outcome::Final(error::denied(self.exchange, caller, &denial));
            }
            // What it says may repeat what was sent, so only its kind is written down.
            Err(broken) => return Outcome::Failed(Failure::new(broken.to_string())),
        }
        let mut response = Response::new(Body::piped(stream));
        *response.headers_mut() = headers;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Outcome::Answer(response)
    }
}

/// What a whole answer says it used, and whether something came. `None`: it is no answer.
fn used(operation: &Operation, dialect: Dialect, object: &Object) -> Option<(Option<Usage>, bool)> {
    let usage = object.get("usage");
    match (operation, dialect) {
        (Operation::Embeddings, _) => {
            object.get("data").filter(|data| data.is_array())?;
            Some((usage.and_then(chat::usage), false))
        }
        (Operation::CountTokens, _) => {
            object.get("input_tokens")?.as_u64()?;
            Some((None, false))
        }
        (_, Dialect::Chat) => {
            let choices = object.get("choices")?.as_array()?;
            Some((usage.and_then(chat::usage), !choices.is_empty()))
        }
        (_, Dialect::Messages) => {
            let content = object.get("content")?.as_array()?;
            Some((usage.and_then(messages::usage), !content.is_empty()))
        }
        (_, Dialect::Responses) => {
            let some = responses::is_answer(object).then(|| !json::list(object, "output").is_empty())?;
            Some((usage.and_then(responses::usage), some))
        }
    }
}

fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in &KEPT {
        if let Some(value) = headers.get(name) {
            out.insert(name.clone(), value.clone());
        }
    }
    out
}

fn essence(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
