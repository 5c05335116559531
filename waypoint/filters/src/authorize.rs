//! Asks the judge whether the exchange may happen, by what the caller sent and before anything changes it.

use exchange::{BoxFuture, Exchange, Filter, Purpose, Step};

/// Refuses what a policy at one of the exchange's places refuses.
#[derive(Debug, Default)]
pub struct Authorize;

impl Filter for Authorize {
    fn name(&self) -> &'static str {
        "authorize"
    }

    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        let step = match exchange.judge(&exchange.facts, Purpose::Decide) {
            Ok(()) => Step::Continue,
            Err(denial) => Step::Refuse(denial),
        };
        Box::pin(std::future::ready(step))
    }
}
