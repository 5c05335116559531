//! When a probe is due, and what its outcomes mean. Pure: time is an argument.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Probe;

use super::{Kind, Verdict};

/// How one question was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Well.
    Passed,
    /// Not well, and why.
    Failed(String),
}

/// What a probe says of its times and counts, with Kubernetes' defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) initial_delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) successes: u32,
    pub(crate) failures: u32,
}

/// One probe of one life of a container.
#[derive(Debug)]
pub(crate) struct State {
    kind: Kind,
    terms: Terms,
    due: Option<Instant>,
    /// What was reported last; `None` at first.
    passing: Option<bool>,
    successes: u32,
    failures: u32,
}

impl Terms {
    pub(crate) fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            let value = value.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0);
            Duration::from_secs(value.unwrap_or(default))
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
        }
    }
}

impl State {
    /// Of a container that began at `began`; asked from `now` on.
    pub(crate) fn new(kind: Kind, terms: Terms, began: Instant, now: Instant) -> Self {
        let due = Some((began + terms.initial_delay).max(now));
        // A container lives until its liveness says otherwise; that it lives needs no report.
        let passing = (kind == Kind::Liveness).then_some(true);
        Self { kind, terms, due, passing, successes: 0, failures: 0 }
    }

    /// Of a container that was reported to pass before.
    pub(crate) fn resume(&mut self) {
        self.passing = Some(true);
    }

    /// When to ask next; `None` if all is said.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes the answer to a question that was put at `asked`, at the time `now`.
    pub(crate) fn outcome(&mut self, outcome: Outcome, asked: Instant, now: Instant) -> Option<Verdict> {
        self.due = Some((asked + self.terms.period).max(now));
        match outcome {
            Outcome::Passed => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                if self.passing == Some(true) || self.successes < self.terms.successes {
                    return None;
                }
                self.passing = Some(true);
                if self.kind == Kind::Startup {
                    self.due = None;
                }
                Some(Verdict::Passed)
            }
            Outcome::Failed(why) => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                if self.failures < self.terms.failures {
                    return Some(Verdict::Missed(why));
                }
                if self.passing == Some(false) {
                    return None;
                }
                self.passing = Some(false);
                if self.kind != Kind::Readiness {
                    // The container is stopped for this; there is nothing left to ask.
                    self.due = None;
                }
                Some(Verdict::Failed(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn terms() -> Terms {
        Terms { initial_delay: 3 * SECOND, period: 2 * SECOND, timeout: SECOND, successes: 2, failures: 2 }
    }

    fn failed() -> Outcome {
        Outcome::Failed("no".to_owned())
    }

    /// Puts outcomes one after the other, and collects the verdicts.
    fn verdicts(kind: Kind, outcomes: &[Outcome]) -> Vec<Option<Verdict>> {
        let now = Instant::now();
        let mut state = State::new(kind, terms(), now, now);
        outcomes.iter().map(|outcome| state.outcome(outcome.clone(), now, now)).collect()
    }

    #[test]
    fn the_first_question_waits_and_the_next_come_by_the_period() {
        let began = Instant::now();
        let mut state = State::new(Kind::Readiness, terms(), began, began);
        assert_eq!(state.due(), Some(began + 3 * SECOND));
        state.outcome(Outcome::Passed, began + 3 * SECOND, began + 4 * SECOND);
        assert_eq!(state.due(), Some(began + 5 * SECOND));
        // An answer that took longer than the period is followed at once.
        state.outcome(Outcome::Passed, began + 5 * SECOND, began + 9 * SECOND);
        assert_eq!(state.due(), Some(began + 9 * SECOND));
    }

    #[test]
    fn after_a_start_that_took_long_the_delay_is_over() {
        let began = Instant::now();
        let now = began + 60 * SECOND;
        assert_eq!(State::new(Kind::Liveness, terms(), began, now).due(), Some(now));
    }

    #[test]
    fn readiness_changes_at_its_thresholds_and_is_told_once() {
        let passed = Outcome::Passed;
        let (pass, fail, miss) = (
            Some(Verdict::Passed),
            Some(Verdict::Failed("no".to_owned())),
            Some(Verdict::Missed("no".to_owned())),
        );
        let outcomes = [passed.clone(), passed.clone(), passed.clone(), failed(), failed(), failed()];
        assert_eq!(
            verdicts(Kind::Readiness, &outcomes),
            [None, pass, None, miss.clone(), fail.clone(), None]
        );
        // A success between begins the count anew.
        let outcomes = [failed(), passed, failed(), failed()];
        assert_eq!(verdicts(Kind::Readiness, &outcomes), [miss.clone(), None, miss, fail]);
    }

    #[test]
    fn liveness_is_silent_while_it_passes_and_ends_with_its_failure() {
        let now = Instant::now();
        let mut state = State::new(Kind::Liveness, terms(), now, now);
        assert_eq!(state.outcome(Outcome::Passed, now, now), None);
        assert_eq!(state.outcome(Outcome::Passed, now, now), None);
        assert!(matches!(state.outcome(failed(), now, now), Some(Verdict::Missed(_))));
        assert!(matches!(state.outcome(failed(), now, now), Some(Verdict::Failed(_))));
        assert_eq!(state.due(), None);
    }

    #[test]
    fn startup_ends_when_it_has_passed() {
        let now = Instant::now();
        let mut state = State::new(Kind::Startup, Terms { successes: 1, ..terms() }, now, now);
        assert_eq!(state.outcome(Outcome::Passed, now, now), Some(Verdict::Passed));
        assert_eq!(state.due(), None);
    }

    #[test]
    fn what_a_probe_leaves_out_is_as_kubernetes_has_it() {
        let terms = Terms::of(&Probe::default());
        assert_eq!((terms.period, terms.timeout), (10 * SECOND, SECOND));
        assert_eq!((terms.successes, terms.failures), (1, 3));
    }
}
