//! Whether a program is ready, part by part, with the reason where it is not.
//!
//! A part is pending from the moment it is named, so a program cannot become ready by forgetting one.
//! A part whose owner goes away while pending stays pending.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Serialize;
use tokio::sync::watch;

/// How one part is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PartState {
    /// It holds the program back.
    Pending {
        /// What it waits for.
        why: String,
    },
    /// It is ready.
    Ready {
        /// What a person should know all the same, for example that it started from disk.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
}

type Parts = BTreeMap<String, PartState>;

/// The readiness of one program. Clones share it.
#[derive(Debug, Clone)]
pub struct Readiness {
    parts: Arc<watch::Sender<Parts>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Ready, as long as no part is named.
    pub fn new() -> Self {
        Self { parts: Arc::new(watch::Sender::new(Parts::new())) }
    }

    /// Names a part that is pending because of `why`. Naming it again takes over its state.
    pub fn part(&self, name: &str, why: &str) -> ReadyPart {
        let part = ReadyPart { name: name.to_owned(), parts: Arc::clone(&self.parts) };
        part.pending(why);
        part
    }

    /// Every part now.
    pub fn report(&self) -> Report {
        Report { parts: self.parts.borrow().clone() }
    }

    /// Waits until no part is pending.
    pub async fn ready(&self) {
        // `self` holds the sender, so the channel cannot be closed here.
        let _ = self.parts.subscribe().wait_for(|parts| parts.values().all(is_ready)).await;
    }

    /// Waits for the next change of any part after this call.
    pub fn changes(&self) -> ReadinessChanges {
        ReadinessChanges { parts: self.parts.subscribe() }
    }
}

/// Tells each change of readiness; changes between two looks are one.
#[derive(Debug)]
pub struct ReadinessChanges {
    parts: watch::Receiver<Parts>,
}

impl ReadinessChanges {
    /// The next report that differs from the last one seen; `None` when the program is gone.
    pub async fn next(&mut self) -> Option<Report> {
        self.parts.changed().await.ok()?;
        Some(Report { parts: self.parts.borrow_and_update().clone() })
    }
}

fn is_ready(state: &PartState) -> bool {
    matches!(state, PartState::Ready { .. })
}

/// One part's handle on its own state.
#[derive(Debug)]
pub struct ReadyPart {
    name: String,
    parts: Arc<watch::Sender<Parts>>,
}

impl ReadyPart {
    /// The part holds the program back, because of `why`.
    pub fn pending(&self, why: &str) {
        self.set(PartState::Pending { why: why.to_owned() });
    }

    /// The part is ready.
    pub fn ready(&self) {
        self.set(PartState::Ready { note: None });
    }

    /// The part is ready, and `note` is what a person should know.
    pub fn ready_with(&self, note: &str) {
        self.set(PartState::Ready { note: Some(note.to_owned()) });
    }

    fn set(&self, state: PartState) {
        self.parts.send_if_modified(|parts| {
            let changed = parts.get(&self.name) != Some(&state);
            if changed {
                parts.insert(self.name.clone(), state);
            }
            changed
        });
    }
}

/// The parts of a program at one moment; its text is the body of `/healthz/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// State by part.
    pub parts: BTreeMap<String, PartState>,
}

impl Report {
    /// True if nothing is pending.
    pub fn is_ready(&self) -> bool {
        self.parts.values().all(is_ready)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = self.is_ready();
        out.write_str(if ready { "ready" } else { "not ready, pending: " })?;
        let told = self.parts.iter().filter_map(|(name, state)| match state {
            PartState::Pending { why } => Some((name, Some(why))),
            PartState::Ready { note: Some(note) } if ready => Some((name, Some(note))),
            PartState::Ready { .. } => None,
        });
        for (at, (name, text)) in told.enumerate() {
            if ready || at > 0 {
                out.write_str(", ")?;
            }
            match text {
                Some(text) if !text.is_empty() => write!(out, "{name} ({text})")?,
                _ => out.write_str(name)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_ready_when_no_part_is_pending() {
        let readiness = Readiness::new();
        assert_eq!(readiness.report().to_string(), "ready");
        let a = readiness.part("configuration", "no checkpoint from the control plane");
        let b = readiness.part("listeners", "");
        assert_eq!(
            readiness.report().to_string(),
            "not ready, pending: configuration (no checkpoint from the control plane), listeners"
        );
        a.ready();
        assert_eq!(readiness.report().to_string(), "not ready, pending: listeners");
        b.ready();
        assert!(readiness.report().is_ready());
        a.pending("again");
        assert!(!readiness.report().is_ready());
    }

    #[test]
    fn a_note_is_told_when_ready() {
        let readiness = Readiness::new();
        readiness.part("configuration", "x").ready_with("from disk, 40 s old");
        readiness.part("listeners", "x").ready();
        assert_eq!(readiness.report().to_string(), "ready, configuration (from disk, 40 s old)");
    }

    #[test]
    fn a_part_that_goes_away_while_pending_stays_pending() {
        let readiness = Readiness::new();
        drop(readiness.part("identity", "no certificate"));
        assert!(!readiness.report().is_ready());
    }

    #[tokio::test]
    async fn waiting_ends_when_the_last_part_is_ready() {
        let readiness = Readiness::new();
        let part = readiness.part("identity", "no certificate");
        let mut changes = readiness.changes();
        let ((), ()) = tokio::join!(readiness.ready(), async { part.ready() });
        assert!(changes.next().await.is_some_and(|report| report.is_ready()));
    }
}
