//! What may be seen and done in one exchange, after its filters and for as long as its streams live.

use std::sync::Arc;

use exchange::{Exchange, Judge, Place, Purpose, Register, Trail};
use mesh::{
    Denial, Facts, Peer,
    facts::{Fact, McpFacts},
};

use crate::object::base_facts;

/// Asks the judge about messages of one exchange.
#[derive(Clone)]
pub(crate) struct Scope {
    judge: Arc<dyn Judge>,
    register: Arc<dyn Register>,
    places: Vec<Place>,
    facts: Arc<Facts>,
    trail: Trail,
}

impl Scope {
    /// Every place that the exchange has passed so far, the chosen endpoint included.
    pub(crate) fn of(exchange: &Exchange) -> Self {
        Self {
            judge: Arc::clone(&exchange.judge),
            register: Arc::clone(&exchange.register),
            places: exchange.places.iter().cloned().chain(exchange.trail.places()).collect(),
            facts: Arc::clone(&exchange.facts),
            trail: exchange.trail.clone(),
        }
    }

    /// May this be done? With what is known of the exchange, but for the message.
    pub(crate) fn judge(&self, message: McpFacts, purpose: Purpose) -> Result<(), Denial> {
        let facts = Facts { mcp: Fact::Known(message), ..(*self.facts).clone() };
        self.places.iter().try_for_each(|place| self.judge.judge(place, &facts, purpose))
    }

    /// May this be shown?
    pub(crate) fn shows(&self, message: McpFacts) -> bool {
        self.judge(message, Purpose::List).is_ok()
    }

    /// Is anything at all granted here? Any grant brings the base protocol.
    pub(crate) fn knows_caller(&self) -> bool {
        self.shows(base_facts())
    }

    /// Records a refusal and says its id.
    pub(crate) fn refused(&self, denial: &Denial) -> Arc<str> {
        let id = self.register.refused(denial, &self.facts, &self.trail);
        self.trail.refused(denial, &id);
        id
    }

    /// Writes down what went wrong.
    pub(crate) fn failed(&self, what: &str) {
        self.trail.failed(what);
    }

    /// Whose sessions these are. Callers that cannot be told apart are told apart by their address.
    pub(crate) fn principal(&self) -> String {
        match (&self.facts.caller.workload, self.facts.source_address) {
            (Peer::Verified(identity), _) => identity.to_string(),
            (peer, Some(address)) => format!("{peer} at {address}"),
            (peer, None) => format!("{peer} at no address"),
        }
    }
}
