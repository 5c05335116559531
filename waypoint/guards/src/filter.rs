//! The guards of one exchange, as a filter.
//!
//! *Flow*: [`Guarding::begin`] holds the request's body and looks at it before any protocol reads it, so that what is
//! judged is what is sent on; the filter stands after authorization and only there tells what was refused, asks guards
//! elsewhere, and looks at the answer on its way back. *Guarantees*: nothing that a guard reads goes on unread, or when
//! reading it fails.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use exchange::{
    Body, BoxFuture, Closing, Convention, End, Errands, Exchange, Filter, HoldError, Register, Response,
    Step, Trail, answer, messages, sse::Events,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use mesh::{Denial, Facts, resource::Direction};
use serde_json::Value;

use crate::{
    asked::asked,
    compile::Rules,
    external::External,
    measured::{Measured, measured},
    screen::{Kind, Screened, screen},
    shadows::Shadows,
    stream::{Stream, rpc_error},
    watch::Watch,
};

/// Time in which an answer that is held must have arrived, whatever the request may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// The guards of one exchange.
pub struct Guarding {
    rules: Rules,
    errands: Errands,
    refused: Option<Denial>,
    // The JSON-RPC id of the request.
    answers: Option<Value>,
    // What guards elsewhere are told.
    content: Bytes,
    shadows: Shadows,
    // Whom to tell of guards in audit, and of what.
    met: Option<(Arc<dyn Register>, Arc<Facts>)>,
}

impl Guarding {
    /// Looks at the request of an exchange, at most at `held_max` bytes of it. Before the bounds that the caller sets
    /// to the wait, nothing of the body has gone on.
    pub async fn begin(rules: Rules, errands: Errands, exchange: &mut Exchange, held_max: usize) -> Self {
        let mut guarding = Self::new(rules, errands);
        guarding.refused = guarding.rules.broken();
        if guarding.refused.is_none() {
            guarding.refused = guarding.meet(exchange, held_max).await.err();
        }
        if guarding.rules.reads(Direction::Response) {
            let rules = guarding.rules.clone();
            exchange.watches =
                Some(Arc::new(move || Box::new(Watch::new(rules.clone(), Direction::Response))));
        }
        guarding
    }

    /// As [`Guarding::begin`], of a request whose body did not come in time.
    pub fn late(rules: Rules, errands: Errands) -> Self {
        let refused = Some(rules.unreadable(Direction::Request, "the content did not come in time"));
        Self { refused, ..Self::new(rules, errands) }
    }

    fn new(rules: Rules, errands: Errands) -> Self {
        Self {
            rules,
            errands,
            refused: None,
            answers: None,
            content: Bytes::new(),
            shadows: Shadows::default(),
            met: None,
        }
    }

    async fn meet(&mut self, exchange: &mut Exchange, held_max: usize) -> Result<(), Denial> {
        const DIRECTION: Direction = Direction::Request;
        let shadows = self.rules.origin(exchange.request.headers())?;
        self.shadows.add(&exchange.trail, &shadows);
        let reads_any = self.rules.enforces(DIRECTION) || self.rules.enforces(Direction::Response);
        if reads_any && exchange.request.headers().contains_key(header::UPGRADE) {
            return Err(self.rules.unreadable(DIRECTION, "nobody could read what follows an upgrade"));
        }
        if self.rules.reads(Direction::Response) {
            // An answer that is compressed could not be read.
            exchange.request.headers_mut().remove(header::ACCEPT_ENCODING);
        }
        if self.rules.is_idle(DIRECTION) {
            return Ok(());
        }
        if Convention::of(exchange.request.headers()) == Convention::Grpc {
            let body = std::mem::take(exchange.request.body_mut());
            *exchange.request.body_mut() = measured(&self.rules, body)?;
            return Ok(());
        }
        if self.rules.enforces(DIRECTION) && is_encoded(exchange.request.headers()) {
            return Err(self.rules.unreadable(DIRECTION, "the content is compressed"));
        }
        let limit = self.rules.bytes_max(DIRECTION).min(held_max);
        let body = match exchange.request.body_mut().hold(limit).await {
            Ok(body) => body.clone(),
            Err(HoldError::TooLarge { .. }) => return Err(self.rules.too_large(DIRECTION)),
            Err(HoldError::Cut(_)) => return Err(self.rules.unreadable(DIRECTION, "the content was cut")),
        };
        let Screened { body: changed, refused, shadows } =
            screen(&self.rules, DIRECTION, content_type(exchange.request.headers()), &body);
        self.shadows.add(&exchange.trail, &shadows);
        self.content = changed.clone().unwrap_or(body);
        let id = serde_json::from_slice::<Value>(&self.content).ok();
        self.answers = id.filter(|it| it.get("jsonrpc").is_some()).and_then(|it| it.get("id").cloned());
        if let Some(denial) = refused {
            return Err(denial);
        }
        if let Some(changed) = changed {
            exchange.request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(changed.len()));
            *exchange.request.body_mut() = Body::held_bytes(changed);
        }
        Ok(())
    }

    fn external(&self, exchange: &Exchange) -> External {
        External::new(self.rules.clone(), self.errands.clone(), Arc::clone(&exchange.facts))
    }

    /// Looks at an answer; the refusal, if it may not go on.
    async fn answer(&self, exchange: &Exchange, response: &mut Response) -> Result<(), Denial> {
        const DIRECTION: Direction = Direction::Response;
        if let Some(denial) = self.rules.broken() {
            return Err(denial);
        }
        if self.rules.is_idle(DIRECTION) || response.body().is_empty() {
            return Ok(());
        }
        if self.rules.enforces(DIRECTION) && is_encoded(response.headers()) {
            return Err(self.rules.unreadable(DIRECTION, "the answer is compressed"));
        }
        let kind = Kind::of(content_type(response.headers()));
        if kind == Kind::Events {
            self.answer_events(exchange, response);
            return Ok(());
        }
        let limit = self.rules.bytes_max(DIRECTION);
        if !self.rules.reads(DIRECTION) || is_binary(content_type(response.headers())) {
            let body = std::mem::take(response.body_mut());
            if body.size_hint().lower() > limit as u64 {
                return Err(self.rules.too_large(DIRECTION));
            }
            *response.body_mut() = Body::piped(Measured::new(body, limit));
            return Ok(());
        }
        let body = held(&self.rules, response.body_mut(), limit).await?;
        let Screened { body: changed, refused, shadows } =
            screen(&self.rules, DIRECTION, content_type(response.headers()), &body);
        self.shadows.add(&exchange.trail, &shadows);
        if let Some(denial) = refused {
            return Err(denial);
        }
        let external = self.external(exchange);
        if external.asks(DIRECTION) && !body.is_empty() {
            let shadows = external.ask(DIRECTION, changed.as_ref().unwrap_or(&body)).await?;
            self.shadows.add(&exchange.trail, &shadows);
        }
        if let Some(changed) = changed {
            forget_length(response.headers_mut());
            *response.body_mut() = Body::held_bytes(changed);
        }
        Ok(())
    }

    fn answer_events(&self, exchange: &Exchange, response: &mut Response) {
        let limit = self.rules.bytes_max(Direction::Response);
        let (register, facts, trail) =
            (Arc::clone(&exchange.register), Arc::clone(&exchange.facts), exchange.trail.clone());
        let (shadows, shadowed) = (self.shadows.clone(), exchange.trail.clone());
        let stream = Stream::new(
            self.rules.clone(),
            self.answers.clone(),
            Box::new(move |denial| recorded(&register, &facts, &trail, denial)),
            Box::new(move |shadow| shadows.add(&shadowed, std::slice::from_ref(shadow))),
        );
        forget_length(response.headers_mut());
        let body = std::mem::take(response.body_mut());
        let external = self.external(exchange);
        // Whoever made the stream ends it when the exchange is closed.
        *response.body_mut() = if external.asks(Direction::Response) {
            asked(body, limit, stream, external, (self.shadows.clone(), exchange.trail.clone()))
        } else {
            messages::through(body, Box::new(Events::new(limit)), Box::new(stream), &Closing::default())
        };
    }
}

impl Filter for Guarding {
    fn name(&self) -> &'static str {
        "guard"
    }

    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        Box::pin(async move {
            self.met = Some((Arc::clone(&exchange.register), Arc::clone(&exchange.facts)));
            if let Some(denial) = self.refused.take() {
                return Step::Refuse(denial);
            }
            let external = self.external(exchange);
            if external.asks(Direction::Request) && !self.content.is_empty() {
                match external.ask(Direction::Request, &self.content).await {
                    Ok(shadows) => self.shadows.add(&exchange.trail, &shadows),
                    Err(denial) => return Step::Refuse(denial),
                }
            }
            Step::Continue
        })
    }

    fn response<'a>(
        &'a mut self,
        exchange: &'a mut Exchange,
        response: &'a mut Response,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Err(denial) = self.answer(exchange, response).await {
                *response = self.refusal(exchange, &denial);
            }
        })
    }

    fn on_end(&mut self, trail: &Trail, _: &End) {
        // Of who did not come so far nothing was looked at.
        if let Some((register, facts)) = self.met.take() {
            for guard in self.rules.in_audit() {
                register.audited(guard, self.shadows.of(guard).as_ref(), &facts, trail);
            }
        }
    }
}

impl std::fmt::Debug for Guarding {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Guarding").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Guarding {
    /// What the caller is told whose answer may not go on.
    fn refusal(&self, exchange: &Exchange, denial: &Denial) -> Response {
        let headers = exchange.facts.http.known().map(|http| &http.headers);
        let grpc = headers
            .and_then(|it| it.get("content-type"))
            .is_some_and(|it| it.starts_with("application/grpc"));
        let convention = if grpc { Convention::Grpc } else { Convention::Http };
        let id = exchange.refused(denial);
        let mut response = answer::refusal(convention, denial, &id);
        if let Some(request) = &self.answers {
            *response.body_mut() = Body::held_bytes(rpc_error(request, denial, &id).to_string());
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if exchange.facts.http.known().is_some_and(|http| *http.method == *Method::HEAD.as_str()) {
            *response.body_mut() = Body::empty();
        }
        response
    }
}

fn recorded(register: &Arc<dyn Register>, facts: &Facts, trail: &Trail, denial: &Denial) -> Arc<str> {
    let id = register.refused(denial, facts, trail);
    trail.refused(denial, &id);
    id
}

/// Holds an answer that is looked at whole.
async fn held(rules: &Rules, body: &mut Body, limit: usize) -> Result<Bytes, Denial> {
    const DIRECTION: Direction = Direction::Response;
    match tokio::time::timeout(ANSWER_TIME_MAX, body.hold(limit)).await {
        Ok(Ok(body)) => Ok(body.clone()),
        Ok(Err(HoldError::TooLarge { .. })) => Err(rules.too_large(DIRECTION)),
        Ok(Err(HoldError::Cut(_))) => Err(rules.unreadable(DIRECTION, "the answer was cut")),
        Err(_) => {
            let text = format!("the answer did not end within {ANSWER_TIME_MAX:?}");
            Err(rules.unreadable(DIRECTION, &text))
        }
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.into_iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Kinds that are no text and stream: held for nothing, they are only measured.
fn is_binary(content_type: Option<&str>) -> bool {
    let kind = content_type.unwrap_or_default().trim_start().to_ascii_lowercase();
    ["image/", "audio/", "video/", "font/", "application/grpc"].iter().any(|begin| kind.starts_with(begin))
        && !kind.contains("svg")
}

fn forget_length(headers: &mut HeaderMap) {
    for name in ["content-length", "etag", "content-md5", "digest", "content-digest", "repr-digest"] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use exchange::BodyError;
    use http_body::Frame;
    use mesh::{
        Reason,
        resource::{Finds, Guard, GuardAction, GuardPattern, GuardSizes, Mode},
    };

    use super::*;
    use crate::Guards;

    fn rules(mode: Mode, reads: bool, size: Option<u64>) -> Rules {
        let pattern = GuardPattern {
            name: "key".into(),
            finds: Finds::Secret,
            direction: Direction::Request,
            action: GuardAction::Refuse,
        };
        Guards::default().rules(&[Arc::new(Guard {
            name: "GuardPolicy/shop/keys".parse().unwrap(),
            mode,
            broken: None,
            patterns: reads.then_some(pattern).into_iter().collect(),
            sizes: GuardSizes { request: size, response: None },
            origins: None,
            external: None,
        })])
    }

    struct Pieces(Vec<&'static str>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
        }
    }

    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_end_is_not_waited_for_without_end() {
        let rules = rules(Mode::Enforce, true, None);
        let began = tokio::time::Instant::now();
        let denial = held(&rules, &mut Body::piped(Silent), 64).await.unwrap_err();
        assert_eq!((denial.reason, began.elapsed().as_secs()), (Reason::GuardFailed, 120));
    }

    /// Whoever calls its content gRPC gets past no guard.
    #[tokio::test]
    async fn attack_content_that_is_called_a_stream_does_not_pass_unread() {
        let body = || Body::held_bytes("x".repeat(8));
        let refused = measured(&rules(Mode::Enforce, true, None), body()).unwrap_err();
        assert_eq!(refused.reason, Reason::GuardFailed);
        assert!(measured(&rules(Mode::Audit, true, None), body()).is_ok(), "it only reports");
        assert!(measured(&rules(Mode::Enforce, false, Some(8)), body()).is_ok());
        let large = measured(&rules(Mode::Enforce, false, Some(7)), body()).unwrap_err();
        assert_eq!(large.reason, Reason::TooMuch);
        // Of a length that is not known beforehand, too.
        let stream = Body::piped(Pieces(vec!["1234", "5678"]));
        let mut stream = measured(&rules(Mode::Enforce, false, Some(7)), stream).unwrap();
        assert!(stream.hold(64).await.is_err());
    }
}
