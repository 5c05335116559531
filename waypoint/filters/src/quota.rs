//! Takes each exchange from the quotas of requests that it meets, once it may happen.
//!
//! Quotas of tokens, and those of requests that name models, are reserved where the model is known, by the responder.

use std::sync::Arc;

use exchange::{Ask, BoxFuture, Exceeded, Exchange, Filter, Reservation, Response, Step};
use http::{HeaderName, HeaderValue, header};
use mesh::resource;

/// Refuses what is beyond a quota of requests.
#[derive(Default)]
pub struct Quota {
    exceeded: Option<Exceeded>,
    // Requests are not given back; what is held ends with the exchange.
    held: Option<Box<dyn Reservation>>,
}

impl Filter for Quota {
    fn name(&self) -> &'static str {
        "quota"
    }

    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        let quotas: Vec<Arc<resource::Quota>> = exchange.known.quotas(&exchange.way());
        let step = if quotas.is_empty() {
            Step::Continue
        } else {
            let ask = Ask { requests: 1, ..Ask::default() };
            match exchange.ledger.reserve(&exchange.facts, &quotas, &ask) {
                Ok(held) => {
                    self.held = Some(held);
                    Step::Continue
                }
                Err(exceeded) => {
                    let denial = exceeded.denial.clone();
                    self.exceeded = Some(exceeded);
                    Step::Refuse(denial)
                }
            }
        };
        Box::pin(std::future::ready(step))
    }

    /// Says when to come again, in whichever protocol the refusal was said.
    fn response<'a>(&'a mut self, _: &'a mut Exchange, response: &'a mut Response) -> BoxFuture<'a, ()> {
        if let Some(exceeded) = &self.exceeded {
            say(exceeded, response);
        }
        Box::pin(std::future::ready(()))
    }
}

fn say(exceeded: &Exceeded, response: &mut Response) {
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: u64| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    };
    put("x-ratelimit-limit-requests", exceeded.most);
    put("x-ratelimit-remaining-requests", exceeded.left);
    if let Some(millis) = exceeded.resets_in {
        let seconds = millis.div_ceil(1000).max(1);
        put("x-ratelimit-reset-requests", seconds);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

#[cfg(test)]
mod tests {
    use exchange::Body;
    use mesh::{Denial, Reason};

    use super::*;

    #[test]
    fn a_refusal_says_when_to_come_again() {
        for (resets_in, expected) in [(Some(1), Some("1")), (Some(60_001), Some("61")), (None, None)] {
            let denial = Denial::plain(Reason::QuotaExceeded, "");
            let exceeded = Exceeded { denial, most: 10, left: 0, resets_in, unit: "requests" };
            let mut response = Response::new(Body::empty());
            say(&exceeded, &mut response);
            let said = response.headers().get("retry-after").map(|value| value.to_str().unwrap());
            assert_eq!(said, expected);
            assert_eq!(response.headers()["x-ratelimit-limit-requests"], "10");
        }
    }
}
