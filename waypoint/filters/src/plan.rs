//! What a rule says of filters, compiled, and the one order in which a request meets them.

use std::sync::Arc;

use exchange::{Chain, Filter, Trail};
use mesh::resource::{self, RouteFilter};

use crate::{
    Mirrors,
    authorize::Authorize,
    broken::BrokenFilter,
    cors::{self, Cors},
    headers::{Edit, RequestHeaders, ResponseHeaders},
    mirror::Mirror,
    redirect::{self, Redirect},
    rewrite::{self, Rewrite},
};

/// The kinds of filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cors,
    Authenticate,
    Authorize,
    External,
    Guard,
    Quota,
    RequestHeaders,
    Redirect,
    Rewrite,
    Mirror,
    ResponseHeaders,
}

/// The order, as a request meets them; a response meets them from the end.
const ORDER: [Kind; 11] = [
    // Before authorization: browsers send preflights without credentials. And outermost on the way back, so that a
    // refusal too can be read by the script that caused it.
    Kind::Cors,
    // Before anything is said of what is here, to who must first say who he is.
    Kind::Authenticate,
    // Before anything changes the request: it judges what the caller sent, and nothing is told to who may not ask.
    Kind::Authorize,
    // Asked only about what everything else grants.
    Kind::External,
    // What content may pass is told only to who may ask; and it looks at what the caller sent.
    Kind::Guard,
    // What is refused costs no allowance.
    Kind::Quota,
    // Before the redirect and rewrite, which win over an edit of the same field.
    Kind::RequestHeaders,
    // It answers, so nothing after it matters.
    Kind::Redirect,
    Kind::Rewrite,
    // The copy is what the backend is sent.
    Kind::Mirror,
    // Innermost on the way back: the edits of a route apply to what its backend said.
    Kind::ResponseHeaders,
];

/// The filters of one rule or one backend of it.
#[derive(Debug, Default)]
pub struct Plan {
    cors: Option<Arc<cors::Rules>>,
    request_headers: Vec<Arc<Edit>>,
    redirect: Option<Arc<redirect::Rule>>,
    rewrite: Option<Arc<rewrite::Rule>>,
    mirrors: Vec<Arc<resource::Mirror>>,
    response_headers: Vec<Arc<Edit>>,
}

/// What filters are given of the world.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Who sends copies.
    pub mirrors: Mirrors,
    /// A random number, of this exchange.
    pub chance: u64,
}

/// Filters of one exchange that other crates made; this one puts them in their places.
#[derive(Default)]
pub struct Guests {
    /// Refuses who must say who he is.
    pub authenticate: Option<Box<dyn Filter>>,
    /// Asks external authorizers.
    pub external: Option<Box<dyn Filter>>,
    /// Looks at content.
    pub guard: Option<Box<dyn Filter>>,
    /// Takes from allowances.
    pub quota: Option<Box<dyn Filter>>,
}

impl std::fmt::Debug for Guests {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let guests = [&self.authenticate, &self.external, &self.guard, &self.quota];
        out.debug_list().entries(guests.into_iter().flatten().map(|filter| filter.name())).finish()
    }
}

impl Plan {
    /// Compiles what a route says. Of a kind that occurs twice, header edits and mirrors apply one after the other;
    /// of the others the first counts (Gateway API: at most one of each).
    ///
    /// # Errors
    /// When one of them cannot be realised.
    pub fn compile(filters: &[RouteFilter]) -> Result<Self, BrokenFilter> {
        let mut plan = Self::default();
        for filter in filters {
            match filter {
                RouteFilter::Cors(it) => first(&mut plan.cors, cors::Rules::compile(it)?),
                RouteFilter::RequestHeaders(it) => plan.request_headers.push(Arc::new(Edit::compile(it)?)),
                RouteFilter::ResponseHeaders(it) => plan.response_headers.push(Arc::new(Edit::compile(it)?)),
                RouteFilter::Redirect(it) => first(&mut plan.redirect, redirect::Rule::compile(it)?),
                RouteFilter::Rewrite(it) => first(&mut plan.rewrite, rewrite::Rule::compile(it)?),
                RouteFilter::Mirror(it) if it.denominator == 0 || it.numerator > it.denominator => {
                    let (numerator, denominator) = (it.numerator, it.denominator);
                    return Err(BrokenFilter::Fraction { numerator, denominator });
                }
                RouteFilter::Mirror(it) => plan.mirrors.push(Arc::new(it.clone())),
            }
        }
        Ok(plan)
    }

    /// True if the rule answers by itself and needs no backend.
    pub fn answers(&self) -> bool {
        self.redirect.is_some()
    }

    /// The filters of one exchange: authorization, its guests, what these plans say (of the rule, then of the backend that was
    /// chosen), in the order above.
    pub fn chain(plans: &[&Self], guests: Guests, surroundings: &Surroundings, trail: Trail) -> Chain {
        let Guests { mut authenticate, mut external, mut guard, mut quota } = guests;
        let mut filters: Vec<Box<dyn Filter>> = Vec::with_capacity(4);
        for kind in ORDER {
            match kind {
                Kind::Cors => {
                    let rules = plans.iter().find_map(|plan| plan.cors.clone());
                    filters.extend(rules.map(|rules| Box::new(Cors::new(rules)) as Box<dyn Filter>));
                }
                Kind::Authenticate => filters.extend(authenticate.take()),
                Kind::Authorize => filters.push(Box::new(Authorize)),
                Kind::External => filters.extend(external.take()),
                Kind::Guard => filters.extend(guard.take()),
                Kind::Quota => filters.extend(quota.take()),
                Kind::RequestHeaders => {
                    for edit in plans.iter().flat_map(|plan| &plan.request_headers) {
                        filters.push(Box::new(RequestHeaders(Arc::clone(edit))));
                    }
                }
                Kind::Redirect => {
                    let rule = plans.iter().find_map(|plan| plan.redirect.clone());
                    filters.extend(rule.map(|rule| Box::new(Redirect(rule)) as Box<dyn Filter>));
                }
                Kind::Rewrite => {
                    for rule in plans.iter().filter_map(|plan| plan.rewrite.as_ref()) {
                        filters.push(Box::new(Rewrite(Arc::clone(rule))));
                    }
                }
                Kind::Mirror => {
                    for (index, mirror) in plans.iter().flat_map(|plan| &plan.mirrors).enumerate() {
                        // Each mirror draws for itself.
                        let chance = surroundings.chance.rotate_left(index as u32 * 7);
                        let mirrors = surroundings.mirrors.clone();
                        filters.push(Box::new(Mirror::new(Arc::clone(mirror), mirrors, chance)));
                    }
                }
                Kind::ResponseHeaders => {
                    // Pushed in reverse, because a response meets them in reverse: the rule's edits come first.
                    for edit in plans.iter().flat_map(|plan| &plan.response_headers).rev() {
                        filters.push(Box::new(ResponseHeaders(Arc::clone(edit))));
                    }
                }
            }
        }
        Chain::new(filters, trail)
    }
}

fn first<T>(place: &mut Option<Arc<T>>, value: T) {
    if place.is_none() {
        *place = Some(Arc::new(value));
    }
}
