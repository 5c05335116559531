//! The quotas of tokens that a call meets: which apply to its model, what is reserved, what is refused.

use std::sync::Arc;

use exchange::{Ask, Exceeded, Exchange, Reservation, Response, ledger::applies};
use mesh::{
    Denial, Facts, Reason,
    resource::{Allowance, LlmApi, Mode, Quota},
};

use crate::{
    candidates::Candidate,
    error::{self, Said},
    estimate::{Estimate, EstimateError, estimate},
    json::Object,
    opening::Opened,
    operation::{Dialect, Operation},
    upstream::Body,
};

/// Requests up to this length are counted where they are; longer ones off the worker, which serves others meanwhile.
const COUNTED_HERE_BYTES_MAX: usize = 32 * 1024;

/// The quotas of one candidate.
pub(crate) struct Allowed {
    quotas: Vec<Arc<Quota>>,
    /// Set: some quota of tokens decides about this model; its least default for the output.
    pub default_output: Option<u64>,
    // Some quota of tokens only counts.
    counts: bool,
}

/// Why a call is not let in.
pub(crate) enum Refused {
    /// An allowance is used up.
    Exceeded(Exceeded),
    /// It cannot be counted beforehand.
    Uncountable(Denial),
    /// It is malformed.
    Bad(Said),
}

impl Refused {
    pub(crate) fn response(self, exchange: &Exchange, dialect: Dialect) -> Response {
        match self {
            Self::Exceeded(exceeded) => error::exceeded(exchange, dialect, &exceeded),
            Self::Uncountable(denial) => error::denied(exchange, dialect, &denial),
            Self::Bad(said) => error::response(dialect, &said, None),
        }
    }
}

impl Allowed {
    pub(crate) fn of(exchange: &Exchange, model: &str) -> Self {
        let quotas = exchange.known.quotas(&exchange.way());
        let mut allowed = Self { quotas, default_output: None, counts: false };
        for quota in &allowed.quotas {
            for limit in quota.limits.iter().filter(|limit| applies(limit, Some(model))) {
                let Allowance::Tokens { default_output, .. } = limit.most else { continue };
                match quota.mode {
                    Mode::Enforce => {
                        let least = allowed.default_output.unwrap_or(u64::MAX);
                        allowed.default_output = Some(least.min(u64::from(default_output).max(1)));
                    }
                    Mode::Audit => allowed.counts = true,
                }
            }
        }
        allowed
    }

    /// Reserves the most that the call can use.
    pub(crate) async fn reserve(
        &self,
        exchange: &Exchange,
        facts: &Facts,
        opened: &Opened,
        candidate: &Candidate,
        body: &Body,
    ) -> Result<(Option<Box<dyn Reservation>>, Estimate), Refused> {
        let nothing = Estimate { input: 0, output: None, answers: 1 };
        if self.quotas.is_empty() || opened.operation == Operation::CountTokens {
            return Ok((None, nothing));
        }
        let decides = self.default_output.is_some();
        let estimate = if decides || self.counts {
            let (api, model) = (candidate.provider.api, Arc::clone(&candidate.model));
            match count(&opened.operation, body, api, &model).await {
                Ok(estimate) => estimate,
                Err(EstimateError::Uncountable { field }) if decides => {
                    let text = format!("{field} cannot be counted beforehand, and a quota of tokens applies");
                    let denial =
                        Denial { field: Some(field.into()), ..Denial::plain(Reason::NotBuilt, text) };
                    return Err(Refused::Uncountable(denial));
                }
                Err(EstimateError::Uncountable { .. }) => nothing,
                Err(bad) => return Err(Refused::Bad(Said::bad(bad.to_string()))),
            }
        } else {
            nothing
        };
        // Where a quota decides, the body names a limit, so that there is none that nobody heeds.
        let output = estimate.output.unwrap_or(0).saturating_mul(estimate.answers);
        let ask = Ask {
            requests: 1,
            tokens_in: estimate.input,
            tokens_out: output,
            model: Some(Arc::clone(&candidate.model)),
        };
        match exchange.ledger.reserve(facts, &self.quotas, &ask) {
            Ok(reservation) => Ok((Some(reservation), estimate)),
            Err(exceeded) => Err(Refused::Exceeded(exceeded)),
        }
    }
}

async fn count(
    operation: &Operation,
    body: &Body,
    api: LlmApi,
    model: &Arc<str>,
) -> Result<Estimate, EstimateError> {
    if body.bytes.len() <= COUNTED_HERE_BYTES_MAX {
        return estimate(operation, &body.object, api, model);
    }
    let (operation, object, model): (Operation, Object, _) =
        (operation.clone(), body.object.clone(), Arc::clone(model));
    let counted = tokio::task::spawn_blocking(move || estimate(&operation, &object, api, &model)).await;
    // A count that did not come to its end lets nothing in.
    counted.unwrap_or_else(|_| Err(EstimateError::Uncountable { field: "the request".to_owned() }))
}
