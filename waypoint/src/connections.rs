//! Everything that runs: exchanges and relays, with what they depend on.
//!
//! *Flow*: whatever runs is registered before it is judged; after each swap those that depend on what was touched
//! are judged again, and those that would now be refused are closed. *Guarantees*: a holder of nothing that changed
//! is neither judged nor closed; no tunnel is closed. *Caveats*: an entry ends with its guard.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use exchange::{Closing, Judge, Place, Purpose, Trail};
use mesh::{
    Denial, Facts, Identity, Reason,
    snapshot::{Snapshot, Touched},
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{entrance::CameBy, judge::set_of};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An HTTP exchange.
    Exchange,
    /// Bytes that are relayed.
    Relay,
}

/// Something that runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// What it is.
    pub kind: Kind,
    /// How it came in.
    pub came: CameBy,
    /// By what it is judged.
    pub facts: Arc<Facts>,
    /// Where; endpoints that were chosen are in the trail.
    pub places: Vec<Place>,
    /// What became of it.
    pub trail: Trail,
    /// Ends it.
    pub closing: Closing,
    /// When it began.
    pub began: SystemTime,
}

/// All that runs. Clones are the same.
#[derive(Debug, Clone)]
pub struct Connections {
    running: Arc<Mutex<HashMap<u64, Running>>>,
    next: Arc<AtomicU64>,
    severed: Arc<watch::Sender<()>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self { running: Arc::default(), next: Arc::default(), severed: Arc::new(watch::Sender::new(())) }
    }
}

/// Keeps an entry; dropping it ends the entry.
#[derive(Debug)]
pub struct Registered {
    connections: Connections,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.running.lock().remove(&self.id);
    }
}

impl Connections {
    /// Adds something that runs.
    pub fn register(&self, running: Running) -> Registered {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.running.lock().insert(id, running);
        Registered { connections: self.clone(), id }
    }

    /// A copy of all that runs, by id.
    pub fn list(&self) -> Vec<(u64, Running)> {
        let mut list: Vec<_> = self.running.lock().iter().map(|(id, it)| (*id, it.clone())).collect();
        list.sort_by_key(|(id, _)| *id);
        list
    }

    /// How many run.
    pub fn len(&self) -> usize {
        self.running.lock().len()
    }

    /// True if nothing runs.
    pub fn is_empty(&self) -> bool {
        self.running.lock().is_empty()
    }

    /// Judges again what depends on what was touched; closes what would now be refused, and says how many.
    pub fn judge_again(&self, snapshot: &Snapshot, touched: &Touched, judge: &dyn Judge) -> usize {
        if touched.is_empty() {
            return 0;
        }
        let concerned: Vec<Running> =
            self.running.lock().values().filter(|it| it.concerned(snapshot, touched)).cloned().collect();
        let mut closed = 0;
        for running in concerned {
            if let Err(denial) = running.judge(snapshot, touched, judge) {
                running.closing.close(Denial { reason: no_longer(denial.reason), ..denial });
                closed += 1;
            }
        }
        closed
    }

    /// Closes everything that runs and has the tunnels cut that carried it: we are nobody any more.
    pub fn sever(&self, denial: &Denial) {
        self.close_all(denial);
        self.severed.send_replace(());
    }

    /// Tells when the tunnels that are open now are to be cut.
    pub fn severed(&self) -> watch::Receiver<()> {
        self.severed.subscribe()
    }

    /// Closes everything that runs, for example when a drain is over.
    pub fn close_all(&self, denial: &Denial) {
        for running in self.running.lock().values() {
            running.closing.close(denial.clone());
        }
    }
}

// A revocation stays what it is; every other change is one of what is allowed.
fn no_longer(reason: Reason) -> Reason {
    match reason {
        Reason::Revoked | Reason::TrustDomainUnknown | Reason::CertificateEnded => reason,
        _ => Reason::NoLongerAllowed,
    }
}

impl Running {
    fn places(&self) -> impl Iterator<Item = Place> {
        self.places.iter().cloned().chain(self.trail.places())
    }

    fn identities(&self) -> impl Iterator<Item = Identity> {
        let caller = self.facts.caller.workload.verified().cloned();
        let upstream = self.trail.record().upstream.and_then(|upstream| upstream.identity);
        let peer = self.came.arrival().map(|arrival| arrival.peer.identity.clone());
        [peer, caller, upstream].into_iter().flatten()
    }

    fn concerned(&self, snapshot: &Snapshot, touched: &Touched) -> bool {
        self.identities().any(|identity| {
            touched.identities.contains(&identity) || touched.trust_domains.contains(identity.trust_domain())
        }) || self.came.arrival().is_some_and(|arrival| touched.workloads.contains(&arrival.workload))
            || self.places().any(|place| {
                let set = set_of(snapshot, &place).is_some_and(|(set, _)| touched.sets.contains(&set));
                // The thing itself may have another set now.
                set || match &place {
                    Place::Listener { gateway, listener } => {
                        touched.listeners.contains(format!("{gateway}/{listener}").as_str())
                    }
                    Place::Route(name) => touched.routes.contains(name),
                    Place::Service { service, .. } => touched.services.contains(service),
                    Place::Agent(name) => touched.backends.contains(name),
                    Place::Workload { workload, .. } => touched.workloads.contains(workload),
                }
            })
    }

    fn judge(&self, snapshot: &Snapshot, touched: &Touched, judge: &dyn Judge) -> Result<(), Denial> {
        self.came.admit(snapshot)?;
        let upstream = self.trail.record().upstream.and_then(|upstream| upstream.identity);
        if let Some(identity) = upstream {
            if snapshot.bundle(identity.trust_domain()).is_none() {
                return Err(Denial::plain(Reason::TrustDomainUnknown, format!("{identity} answers it")));
            }
            // Under which of its certificates it answers is not kept: a revocation that just came ends it.
            if touched.identities.contains(&identity) {
                return Err(Denial::plain(Reason::Revoked, format!("{identity} answers it")));
            }
        }
        self.places().try_for_each(|place| judge.judge(&place, &self.facts, Purpose::Again))
    }
}
