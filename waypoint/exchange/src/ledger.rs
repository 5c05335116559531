//! Allowances: reserved before something is done, settled when it is known what it took.

use std::sync::Arc;

use mesh::{
    Denial, Facts,
    matching::Text,
    resource::{Quota, QuotaLimit},
};

/// What is asked of the allowances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// Requests: 1 once for each exchange, 0 for what only adds tokens.
    pub requests: u64,
    /// Tokens in, as estimated; each limit adds its own margin.
    pub tokens_in: u64,
    /// The most tokens out.
    pub tokens_out: u64,
    /// The model that is really used, by the provider's own name; limits that name models ask for it.
    pub model: Option<Arc<str>>,
}

/// What it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens, in and out together.
    pub tokens: u64,
}

/// Part of the allowances, held for somebody. Dropped without being settled, it counts whole.
pub trait Reservation: Send {
    /// Says what it took; what was not used is given back, and what was used beyond it is charged.
    fn settle(self: Box<Self>, used: Used);
}

/// Holds the allowances.
pub trait Ledger: Send + Sync {
    /// Reserves from every limit that applies, or from none.
    ///
    /// # Errors
    /// `QuotaExceeded`, naming quota and limit (as policy and rule), and in its detail what is left and when it begins
    /// anew.
    #[allow(clippy::result_large_err, reason = "a refusal is cold, and carries what decided by value")]
    fn reserve(
        &self,
        facts: &Facts,
        quotas: &[Arc<Quota>],
        ask: &Ask,
    ) -> Result<Box<dyn Reservation>, Exceeded>;
}

/// A limit that does not let a request in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// The refusal.
    pub denial: Denial,
    /// How much the limit allows in a window.
    pub most: u64,
    /// How much is left.
    pub left: u64,
    /// In how many milliseconds the window ends; `None`: the request asks for more than there ever is.
    pub resets_in: Option<u64>,
    /// What is counted: `requests` or `tokens`.
    pub unit: &'static str,
}

/// True if a limit speaks of calls of this model. One that cannot be read speaks of all.
pub fn applies(limit: &QuotaLimit, model: Option<&str>) -> bool {
    match (&limit.models, model) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(terms), Some(model)) => {
            terms.iter().any(|term| Text::new(term).map_or(true, |term| term.matches(model)))
        }
    }
}
