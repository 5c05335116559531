//! What may be seen and done in one exchange, after its filters and for as long as its streams live.

use std::sync::Arc;

use exchange::{Exchange, Judge, Place, Purpose, Register, Trail};
use mesh::{
    Denial, Facts, Peer,
    facts::{A2aFacts, Fact, Skill},
};

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

    /// May what was begun go on, under the snapshot of now?
    pub(crate) fn again(&self) -> Result<(), Denial> {
        self.places.iter().try_for_each(|place| self.judge.judge(place, &self.facts, Purpose::Again))
    }

    /// Counts the snapshots that were current.
    pub(crate) fn generation(&self) -> u64 {
        self.judge.generation()
    }

    /// May this skill be shown?
    pub(crate) fn shows(&self, skill: &str) -> bool {
        self.lists(Skill::Listed(skill.into()))
    }

    /// Is anything at all granted here? Any grant brings the card.
    pub(crate) fn knows_caller(&self) -> bool {
        self.lists(Skill::NotDeclared)
    }

    fn lists(&self, skill: Skill) -> bool {
        let tenant = self.facts.a2a.known().and_then(|facts| facts.tenant.clone());
        let a2a = A2aFacts { method: A2aFacts::CARD.into(), tenant, skill };
        let facts = Facts { a2a: Fact::Known(a2a), ..Facts::clone(&self.facts) };
        self.places.iter().all(|place| self.judge.judge(place, &facts, Purpose::List).is_ok())
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

    /// Whose tasks these are.
    pub(crate) fn principal(&self) -> String {
        principal(&self.facts)
    }
}

/// Whose tasks these are: a workload's, and of those of it, the user's behind it. Callers that cannot be told apart are
/// told apart by their address.
pub(crate) fn principal(facts: &Facts) -> String {
    let user = facts.user.as_ref();
    let workload = match (&facts.caller.workload, facts.source_address) {
        (Peer::Verified(identity), _) => identity.to_string(),
        (peer, _) if user.is_some() => peer.to_string(),
        (peer, Some(address)) => format!("{peer} at {address}"),
        (peer, None) => format!("{peer} at no address"),
    };
    match user {
        // Lengths, so that no two pairs are alike.
        Some(user) => {
            format!(
                "{workload} for {}:{}:{}{}",
                user.issuer.len(),
                user.subject.len(),
                user.issuer,
                user.subject
            )
        }
        None => workload,
    }
}
