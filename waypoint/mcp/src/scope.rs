//! What may be seen and done in one exchange, after its filters and for as long as its streams live.

use std::sync::Arc;

use exchange::{Exchange, Judge, Place, Purpose, Register, Trail};
use mesh::{
    Denial, Facts, Peer, Reason,
    facts::{Arguments, Fact, McpFacts, McpObject},
};

use crate::{names, object::base_facts, shelf::Catalogued};

/// Asks the judge about messages of one exchange.
#[derive(Clone)]
pub(crate) struct Scope {
    judge: Arc<dyn Judge>,
    register: Arc<dyn Register>,
    places: Vec<Place>,
    // One of several servers, and the ports of it that were used: there things have the names that it gives them.
    inner: Option<(Arc<str>, Vec<Place>)>,
    facts: Arc<Facts>,
    trail: Trail,
    catalogued: Catalogued,
}

impl Scope {
    /// Every place that the exchange has passed so far, the chosen endpoint included.
    pub(crate) fn of(exchange: &Exchange) -> Self {
        Self {
            judge: Arc::clone(&exchange.judge),
            register: Arc::clone(&exchange.register),
            places: exchange.places.iter().cloned().chain(exchange.trail.places()).collect(),
            inner: None,
            facts: Arc::clone(&exchange.facts),
            trail: exchange.trail.clone(),
            catalogued: Catalogued::of(&exchange.backend, &*exchange.known),
        }
    }

    /// The places before one of several servers, and the ports of that server that were used. What other servers' ports
    /// say is none of its business.
    pub(crate) fn at(exchange: &Exchange, server: &Arc<str>, used: Vec<Place>) -> Self {
        let places = exchange.places.clone();
        Self { places, inner: Some((Arc::clone(server), used)), ..Self::of(exchange) }
    }

    /// The catalogue of the backend, as it was when the exchange began.
    pub(crate) fn catalogued(&self) -> &Catalogued {
        &self.catalogued
    }

    /// May this be done? With what is known of the exchange, but for the message.
    pub(crate) fn judge(&self, mut message: McpFacts, purpose: Purpose) -> Result<(), Denial> {
        if let McpObject::Tool { name, access, .. } = &mut message.object {
            *access = self.catalogued.access(name);
        }
        let inner = self.inner.as_ref().map(|(server, used)| (names::inner(server, &message), used));
        let mut facts = Facts { mcp: Fact::Known(message), ..(*self.facts).clone() };
        self.places.iter().try_for_each(|place| self.judge.judge(place, &facts, purpose))?;
        if let Some((message, used)) = inner {
            facts.mcp = Fact::Known(message);
            used.iter().try_for_each(|place| self.judge.judge(place, &facts, purpose))?;
        }
        Ok(())
    }

    /// As [`Scope::judge`], of what one message reaches for beside its object: an external authorizer is asked about one
    /// object at a time, so where one must be asked about more it is refused.
    pub(crate) fn decide(&self, message: McpFacts) -> Result<(), Denial> {
        let facts = Facts { mcp: Fact::Known(message.clone()), ..(*self.facts).clone() };
        self.judge(message, Purpose::Decide)?;
        for place in &self.places {
            if !self.judge.authorizers(place, &facts)?.is_empty() {
                let text = "an external authorizer is asked about one object of a message only: send one message for each";
                return Err(Denial::plain(Reason::ExternalFailed, text));
            }
        }
        Ok(())
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

    /// Adds something to be logged.
    pub(crate) fn note(&self, key: &'static str, value: &str) {
        self.trail.note(key, value);
    }

    /// May a tool be shown, whatever its arguments?
    pub(crate) fn shows_tool(&self, method: &Arc<str>, name: &Arc<str>) -> bool {
        let object = McpObject::Tool { name: Arc::clone(name), arguments: Arguments::Listing, access: None };
        self.shows(McpFacts { method: Arc::clone(method), object })
    }

    /// Whose sessions these are. Callers that cannot be told apart are told apart by their address.
    pub(crate) fn principal(&self) -> String {
        let workload = match (&self.facts.caller.workload, self.facts.source_address) {
            (Peer::Verified(identity), _) => identity.to_string(),
            (peer, Some(address)) => format!("{peer} at {address}"),
            (peer, None) => format!("{peer} at no address"),
        };
        match &self.facts.user {
            Some(user) => format!("{workload} for {} of {}", user.subject, user.issuer),
            None => workload,
        }
    }
}
