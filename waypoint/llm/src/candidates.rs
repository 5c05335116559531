//! Which providers may serve a call, and in which order they are tried.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use exchange::{Backend, Exchange};
use mesh::{
    Facts,
    facts::{Fact, Model},
    resource::{BackendKind, LlmApi, LlmGroup, LlmProvider},
};
use parking_lot::Mutex;

use crate::opening::Opened;

/// How long a provider that failed is tried only after the others.
pub const AVOIDED_FOR: Duration = Duration::from_secs(15);
/// Longest time that a provider can ask to be left alone.
pub const AVOIDED_MAX: Duration = Duration::from_secs(300);
/// Most providers that are remembered to have failed.
pub const AVOIDED_COUNT_MAX: usize = 1024;

/// A provider, and the model by its own name.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub provider: LlmProvider,
    pub model: Arc<str>,
}

impl Candidate {
    /// The facts of an exchange, with the model that this one would use.
    pub(crate) fn facts(&self, exchange: &Exchange, opened: &Opened) -> Facts {
        let provider = Arc::clone(&self.provider.name);
        let model = Model::Used { provider, model: Arc::clone(&self.model) };
        Facts { llm: Fact::Known(opened.facts(model)), ..Facts::clone(&exchange.facts) }
    }
}

/// The groups of a backend. A Service is a backend of one provider, under its own short name.
pub(crate) fn groups(backend: &Backend) -> Result<Vec<LlmGroup>, Arc<str>> {
    match backend {
        Backend::Service { service, .. } => {
            let name = service.hostname.to_string();
            let name = name.split('.').next().unwrap_or_default();
            let provider = LlmProvider {
                name: name.into(),
                api: LlmApi::OpenAi,
                target: backend.target(),
                path_prefix: "/v1".into(),
                auth: None,
                models: Default::default(),
            };
            Ok(vec![LlmGroup { providers: vec![provider] }])
        }
        Backend::Nowhere => Err("there is no backend".into()),
        Backend::Agent(agent) => match (&agent.broken, &agent.kind) {
            (Some(broken), _) => Err(Arc::clone(broken)),
            (None, BackendKind::Llm { groups }) => Ok(groups.clone()),
            (None, _) => Err("the backend has no models".into()),
        },
    }
}

/// The candidates for a model, in the order of their groups and within a group by chance; those to be avoided last.
pub(crate) fn of(
    groups: &[LlmGroup],
    model: &Arc<str>,
    chance: u64,
    avoided: impl Fn(&str) -> bool,
) -> Vec<Candidate> {
    let mut chance = chance;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for group in groups {
        let mut candidates: Vec<Candidate> =
            group.providers.iter().filter_map(|provider| candidate(provider, model)).collect();
        for at in (1..candidates.len()).rev() {
            // The steps of SplitMix64: one random number gives as many as are wanted.
            chance = chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (chance ^ (chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let other = ((mixed ^ (mixed >> 31)) >> 33) as usize % (at + 1);
            candidates.swap(at, other);
        }
        for candidate in candidates {
            if avoided(&candidate.provider.name) { bad.push(candidate) } else { good.push(candidate) }
        }
    }
    good.extend(bad);
    good
}

fn candidate(provider: &LlmProvider, model: &Arc<str>) -> Option<Candidate> {
    let real = if provider.models.is_empty() { Some(model) } else { provider.models.get(model) };
    Some(Candidate { provider: provider.clone(), model: Arc::clone(real?) })
}

/// A backend and a provider of it.
type Names = (Arc<str>, Arc<str>);

/// Remembers which providers failed.
#[derive(Debug, Default)]
pub(crate) struct Avoided {
    until: Mutex<HashMap<Names, Instant>>,
}

impl Avoided {
    /// This provider of this backend failed, and may have said for how long it wants to be left alone.
    pub(crate) fn failed(
        &self,
        backend: &Arc<str>,
        provider: &Arc<str>,
        now: Instant,
        span: Option<Duration>,
    ) {
        let mut until = self.until.lock();
        until.retain(|_, until| *until > now);
        if until.len() >= AVOIDED_COUNT_MAX {
            return;
        }
        let span = span.unwrap_or(AVOIDED_FOR).min(AVOIDED_MAX);
        until.insert((Arc::clone(backend), Arc::clone(provider)), now + span);
    }

    /// This provider answered.
    pub(crate) fn answered(&self, backend: &Arc<str>, provider: &Arc<str>) {
        let mut until = self.until.lock();
        if !until.is_empty() {
            until.remove(&(Arc::clone(backend), Arc::clone(provider)));
        }
    }

    /// True if it failed a short time ago.
    pub(crate) fn is(&self, backend: &Arc<str>, provider: &str, now: Instant) -> bool {
        let until = self.until.lock();
        !until.is_empty()
            && until.get(&(Arc::clone(backend), Arc::from(provider))).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mesh::resource::BackendTarget;

    use super::*;

    fn here() -> Arc<str> {
        "shop/models".into()
    }

    fn group(names: &[&str]) -> LlmGroup {
        let provider = |name: &&str| LlmProvider {
            name: Arc::from(*name),
            api: LlmApi::OpenAi,
            target: BackendTarget::Broken("".into()),
            path_prefix: "/v1".into(),
            auth: None,
            models: [("small".into(), format!("{name}-small").into())].into(),
        };
        LlmGroup { providers: names.iter().map(provider).collect() }
    }

    fn names(candidates: &[Candidate]) -> Vec<String> {
        candidates.iter().map(|candidate| candidate.provider.name.to_string()).collect()
    }

    #[test]
    fn groups_are_tried_in_order_and_their_providers_by_chance() {
        let groups = [group(&["a", "b", "c"]), group(&["d"])];
        let orders: BTreeSet<Vec<String>> =
            (0..1000).map(|chance| names(&of(&groups, &"small".into(), chance << 40, |_| false))).collect();
        assert_eq!(orders.len(), 6);
        assert!(orders.iter().all(|order| order[3] == "d"));
    }

    #[test]
    fn a_model_that_no_provider_has_has_no_candidate() {
        assert!(of(&[group(&["a"])], &"large".into(), 0, |_| false).is_empty());
        let found = of(&[group(&["a"])], &"small".into(), 0, |_| false);
        assert_eq!(&*found[0].model, "a-small");
    }

    #[test]
    fn who_failed_is_tried_last_for_a_while() {
        let now = Instant::now();
        let avoided = Avoided::default();
        avoided.failed(&here(), &"a".into(), now, None);
        let groups = [group(&["a"]), group(&["b"])];
        let order = |now| names(&of(&groups, &"small".into(), 0, |name| avoided.is(&here(), name, now)));
        assert_eq!(order(now), ["b", "a"]);
        assert_eq!(order(now + AVOIDED_FOR), ["a", "b"]);
        avoided.answered(&here(), &"a".into());
        assert_eq!(order(now), ["a", "b"]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let now = Instant::now();
        let avoided = Avoided::default();
        for index in 0..AVOIDED_COUNT_MAX + 10 {
            avoided.failed(&here(), &index.to_string().into(), now, Some(Duration::MAX));
        }
        assert_eq!(avoided.until.lock().len(), AVOIDED_COUNT_MAX);
        assert!(!avoided.is(&here(), "0", now + AVOIDED_MAX));
    }
}
