//! Answers calls of models: finds who may serve them, asks one after the other, and says what came of it.

use std::sync::Arc;

use exchange::{Backend, BoxFuture, Exchange, ModelUse, Purpose, Responder, Response, Upstreams};
use http::StatusCode;
use mesh::{Denial, Facts, Reason};

use crate::{
    account::Account,
    attempt::{Attempt, Outcome},
    candidates::{self, Avoided, Candidate},
    config::{Config, Sources},
    error::{self, Said},
    listing,
    opening::{self, Opened, Opening},
    operation::{Dialect, Operation},
    quota::Allowed,
    upstream::Body as UpstreamBody,
};

/// The responder for models behind a Service port or an AgentBackend.
#[derive(Debug)]
pub struct Llm {
    config: Config,
    sources: Sources,
    avoided: Avoided,
}

impl Llm {
    /// Serves within these bounds.
    pub fn new(config: Config, sources: Sources) -> Self {
        Self { config, sources, avoided: Avoided::default() }
    }

    async fn answer(&self, exchange: &mut Exchange, upstreams: &dyn Upstreams) -> Response {
        let opening = opening::of(&mut exchange.request, self.config.body_bytes_max).await;
        let opened = match &*opening.0 {
            Ok(opened) => opened,
            Err((dialect, said)) => return rejected(exchange, *dialect, said),
        };
        let dialect = opened.operation.dialect();
        let groups = match candidates::groups(&exchange.backend) {
            Ok(groups) => groups,
            Err(broken) => {
                return error::denied(exchange, dialect, &Denial::plain(Reason::BackendBroken, broken));
            }
        };
        if opened.operation.lists() {
            return listing::answer(exchange, upstreams, opened, &groups).await;
        }
        exchange.trail.note("llm.operation", opened.operation.name());
        let name = place(exchange);
        let now = (self.sources.now)();
        let avoided = |provider: &str| self.avoided.is(&name, provider, now);
        let all = candidates::of(&groups, &opened.model, (self.sources.chance)(), avoided);
        if all.is_empty() {
            return error::unknown_model(exchange, dialect, &opened.model);
        }
        // Who may not is not asked. Where nobody may, the first says why.
        let may = |candidate: &&Candidate| {
            exchange.judge(&candidate.facts(exchange, opened), Purpose::List).is_ok()
        };
        let granted: Vec<&Candidate> = all.iter().filter(may).take(self.config.attempts_max).collect();
        if granted.is_empty() {
            let denial = exchange.judge(&all[0].facts(exchange, opened), Purpose::Decide).err();
            let denial =
                denial.unwrap_or_else(|| Denial::plain(Reason::NoLongerAllowed, "the policy changed"));
            return error::denied(exchange, dialect, &denial);
        }
        let mut story = Story::default();
        for candidate in granted {
            match self.try_one(exchange, upstreams, opened, candidate, &mut story).await {
                Some(response) => return response,
                None => continue,
            }
        }
        story.end(exchange, dialect)
    }

    /// Asks one provider. `None`: the next may be asked.
    async fn try_one(
        &self,
        exchange: &Exchange,
        upstreams: &dyn Upstreams,
        opened: &Opened,
        candidate: &Candidate,
        story: &mut Story,
    ) -> Option<Response> {
        let dialect = opened.operation.dialect();
        let facts = Arc::new(candidate.facts(exchange, opened));
        let judged = match exchange.judge(&facts, Purpose::Decide) {
            Ok(()) => ask(exchange, upstreams, &facts).await,
            Err(denial) => Err(denial),
        };
        if let Err(denial) = judged {
            story.denial = Some(denial);
            return None;
        }
        let allowed = Allowed::of(exchange, &candidate.model);
        let body = match UpstreamBody::of(opened, candidate, allowed.default_output) {
            Ok(body) => body,
            Err(cannot) => {
                story.untranslatable.get_or_insert(cannot);
                return None;
            }
        };
        let (reservation, estimate) = match allowed.reserve(exchange, &facts, opened, candidate, &body).await
        {
            Ok(reserved) => reserved,
            Err(refused) => return Some(refused.response(exchange, dialect)),
        };
        let model = ModelUse {
            operation: opened.operation.name().into(),
            provider: Arc::clone(&candidate.provider.name),
            asked: Arc::clone(&opened.model),
            model: Arc::clone(&candidate.model),
            tokens_in: estimate.input,
            tokens_out: estimate.output.unwrap_or(0).saturating_mul(estimate.answers),
            tokens_cached: 0,
            told: false,
            first_token: None,
        };
        let account = Account::new(reservation, &exchange.trail, model);
        let attempt =
            Attempt { config: &self.config, sources: self.sources, exchange, opened, candidate, facts, body };
        let name = place(exchange);
        let outcome = attempt.run(upstreams, account).await;
        let provider = &candidate.provider.name;
        match outcome {
            Outcome::Answer(response) => {
                self.avoided.answered(&name, provider);
                Some(response)
            }
            // The request's own fault, or a decision: nobody else is asked.
            Outcome::Final(response) => Some(response),
            Outcome::Denied(denial) => {
                story.denial = Some(denial);
                None
            }
            Outcome::Failed(failure) => {
                let now = (self.sources.now)();
                self.avoided.failed(&name, provider, now, failure.retry_after);
                exchange.trail.note("llm.failed", format!("{provider}: {}", failure.why));
                story.failures.push(failure);
                None
            }
        }
    }
}

/// What came of the providers that were asked.
#[derive(Default)]
struct Story {
    failures: Vec<crate::attempt::Failure>,
    denial: Option<Denial>,
    untranslatable: Option<Denial>,
}

impl Story {
    /// Nobody answered: why.
    fn end(self, exchange: &Exchange, dialect: Dialect) -> Response {
        if let Some(last) = self.failures.last() {
            if let Some(said) = &last.said {
                return error::response(dialect, said, None);
            }
            let busy =
                self.failures.iter().all(|failure| failure.status == Some(StatusCode::TOO_MANY_REQUESTS));
            if busy {
                let said = Said::new(StatusCode::TOO_MANY_REQUESTS, "Every provider of this model is busy");
                let mut response = error::response(dialect, &said, None);
                let wait = self.failures.iter().filter_map(|failure| failure.retry_after).min();
                if let Some(wait) = wait {
                    response
                        .headers_mut()
                        .insert(http::header::RETRY_AFTER, http::HeaderValue::from(wait.as_secs().max(1)));
                }
                return response;
            }
            let whys: Vec<&str> = self.failures.iter().map(|failure| failure.why.as_str()).collect();
            let denial = Denial::plain(Reason::ProviderFailed, whys.join("; "));
            return error::denied(exchange, dialect, &denial);
        }
        let denial = self.denial.or(self.untranslatable);
        let denial = denial.unwrap_or_else(|| Denial::plain(Reason::ProviderFailed, "nobody was asked"));
        error::denied(exchange, dialect, &denial)
    }
}

/// The backend, by a name under which its providers are remembered.
fn place(exchange: &Exchange) -> Arc<str> {
    match &exchange.backend {
        Backend::Agent(backend) => backend.name.to_string().into(),
        Backend::Service { service, port, .. } => format!("{}:{port}", service.hostname).into(),
        Backend::Nowhere => "".into(),
    }
}

/// The answer to what cannot be taken.
fn rejected(exchange: &Exchange, dialect: Dialect, said: &Said) -> Response {
    let reason = match said.status {
        StatusCode::PAYLOAD_TOO_LARGE => Reason::TooMuch,
        StatusCode::NOT_FOUND => Reason::NotBuilt,
        _ => Reason::Malformed,
    };
    let id = exchange.refused(&Denial::plain(reason, said.message.as_str()));
    error::response(dialect, said, Some((reason, &id)))
}

impl Responder for Llm {
    fn respond<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        upstreams: &'a dyn Upstreams,
    ) -> BoxFuture<'a, Response> {
        Box::pin(self.answer(exchange, upstreams))
    }

    fn refuse(&self, exchange: &Exchange, denial: &Denial) -> Response {
        let opening = exchange.request.extensions().get::<Opening>().map(|opening| &*opening.0);
        let dialect = match opening {
            Some(Ok(opened)) => opened.operation.dialect(),
            Some(Err((dialect, _))) => *dialect,
            None => Operation::dialect_of(exchange.request.uri().path(), exchange.request.headers()),
        };
        error::denied(exchange, dialect, denial)
    }
}

/// Asks the external authorizers about a model that is used: the filters ask before one is chosen. What their yes changes
/// of the caller's headers reaches no provider. Who said yes to the whole exchange is not asked again.
async fn ask(exchange: &Exchange, upstreams: &dyn Upstreams, facts: &Arc<Facts>) -> Result<(), Denial> {
    for place in &exchange.places {
        for authorizer in exchange.judge.authorizers(place, facts)? {
            let trail = &exchange.trail;
            if trail.is_authorized(&authorizer, facts) {
                continue;
            }
            if !trail.is_authorized(&authorizer, &exchange.facts) {
                upstreams.authorize(&authorizer, facts, &exchange.request).await?;
            }
            trail.authorized(authorizer, facts);
        }
    }
    Ok(())
}
