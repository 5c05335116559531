//! What guards in audit mode would have refused in one exchange, for its log and for the counts of decisions.

use std::sync::Arc;

use exchange::Trail;
use mesh::{Denial, names::ObjectName};
use parking_lot::Mutex;

use crate::look::SHADOWS_MAX;

/// What would have been refused. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shadows(Arc<Mutex<Vec<Denial>>>);

impl Shadows {
    /// Adds what would have been refused, each rule of a guard once, and notes it in the log of the exchange.
    pub(crate) fn add(&self, trail: &Trail, shadows: &[Denial]) {
        let mut all = self.0.lock();
        for shadow in shadows {
            let known = all.iter().any(|it| it.policy == shadow.policy && it.rule == shadow.rule);
            if !known && all.len() < SHADOWS_MAX {
                trail.note("guard.audit", shadow);
                all.push(shadow.clone());
            }
        }
    }

    /// The first that a guard would have refused.
    pub(crate) fn of(&self, guard: &ObjectName) -> Option<Denial> {
        let all = self.0.lock();
        all.iter().find(|it| it.policy.as_ref().is_some_and(|(policy, _)| policy == guard)).cloned()
    }
}
