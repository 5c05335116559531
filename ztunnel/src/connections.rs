//! Everything that is open, with what it depends on.
//!
//! *Flow*: a connection is registered before it is judged, says what the judgement used, and is judged again when
//! that changes. *Guarantees*: whoever was judged by an older snapshot than the current one is judged again, and
//! nobody who uses nothing of what changed is. A connection that is no longer allowed is closed alone, never its
//! tunnel. *Caveats*: closing cancels; who relays resets both ends.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use mesh::{
    Denial, Identity, Reason,
    names::{SetName, WorkloadUid},
    snapshot::{Snapshot, Touched},
};
use parking_lot::Mutex;
use serde::Serialize;
use transport::{Cancel, relay::Counts};

use crate::world::World;

/// Judges a connection again, and says by which sets: its port may have another one since.
type Again = Arc<dyn Fn(&Snapshot) -> Result<Vec<SetName>, Denial> + Send + Sync>;

/// What the judgement of a connection used.
#[derive(Clone)]
pub(crate) struct Uses {
    /// Workloads and their ports.
    pub(crate) workloads: Vec<WorkloadUid>,
    /// Policy sets.
    pub(crate) sets: Vec<SetName>,
    /// Who was proven or vouched for, with their trust domains.
    pub(crate) identities: Vec<Identity>,
    /// Says whether it would still be allowed.
    pub(crate) again: Again,
}

impl fmt::Debug for Uses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Uses")
            .field("workloads", &self.workloads)
            .field("sets", &self.sets)
            .finish_non_exhaustive()
    }
}

impl Uses {
    fn any_of(&self, touched: &Touched) -> bool {
        self.workloads.iter().any(|it| touched.workloads.contains(it))
            || self.sets.iter().any(|it| touched.sets.contains(it))
            || self.identities.iter().any(|it| {
                touched.identities.contains(it) || touched.trust_domains.contains(it.trust_domain())
            })
    }
}

/// Which way a connection goes, seen from the workload of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// It arrived in a tunnel.
    Inbound,
    /// The workload opened it.
    Outbound,
}

impl Direction {
    /// Its name in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// What people see of an open connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct View {
    pub(crate) direction: Direction,
    /// The workload of this node.
    pub(crate) workload: WorkloadUid,
    /// Whose identity it has here.
    #[serde(skip)]
    pub(crate) own: Identity,
    /// Who opened it.
    pub(crate) source: String,
    /// What was asked for.
    pub(crate) destination: String,
    /// When, in seconds since the Unix epoch.
    pub(crate) since: u64,
}

/// All that is open. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    most: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    /// The number of the snapshot by which all were judged.
    judged: u64,
    next: u64,
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    view: View,
    counts: Arc<Counts>,
    uses: Option<Uses>,
    closing: Arc<Closing>,
}

#[derive(Debug, Default)]
struct Closing {
    cancel: Cancel,
    why: Mutex<Option<Denial>>,
}

impl Closing {
    fn close(&self, why: Denial) {
        self.why.lock().get_or_insert(why);
        self.cancel.cancel();
    }
}

/// An open connection of its owner; dropping it takes it out.
#[derive(Debug)]
pub(crate) struct Guard {
    connections: Connections,
    id: u64,
    closing: Arc<Closing>,
    /// Bytes, counted as they move.
    pub(crate) counts: Arc<Counts>,
}

/// An open connection, as `strait get connections` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    view: View,
    sent: u64,
    received: u64,
    policies: Vec<SetName>,
}

impl Connections {
    /// At most so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Arc::default() }
    }

    /// Registers a connection, before anything is decided about it.
    ///
    /// # Errors
    /// When too many are open.
    pub(crate) fn register(&self, view: View) -> Result<Guard, Denial> {
        let mut open = self.open.lock();
        if open.entries.len() >= self.most {
            return Err(Denial::plain(Reason::TooMuch, format!("{} connections are open", self.most)));
        }
        let id = open.next;
        open.next += 1;
        let (closing, counts): (Arc<Closing>, Arc<Counts>) = Default::default();
        let entry = Entry { view, counts: counts.clone(), uses: None, closing: closing.clone() };
        open.entries.insert(id, entry);
        Ok(Guard { connections: self.clone(), id, closing, counts })
    }

    /// Judges again who used what changed; how many were closed.
    pub(crate) fn judge(&self, number: u64, snapshot: &Snapshot, touched: &Touched) -> usize {
        let mut open = self.open.lock();
        open.judged = open.judged.max(number);
        let mut closed = 0;
        for entry in open.entries.values_mut().filter(|entry| !entry.closing.cancel.is_cancelled()) {
            let Some(uses) = entry.uses.as_mut().filter(|uses| uses.any_of(touched)) else { continue };
            match (uses.again)(snapshot) {
                Ok(sets) => uses.sets = sets,
                Err(denial) => {
                    entry.closing.close(denial);
                    closed += 1;
                }
            }
        }
        closed
    }

    /// Closes everything that is open in the name of an identity of ours.
    pub(crate) fn close_identity(&self, identity: &Identity, why: &Denial) {
        let open = self.open.lock();
        for entry in open.entries.values().filter(|entry| entry.view.own == *identity) {
            entry.closing.close(why.clone());
        }
    }

    /// The identities in whose name something is open.
    pub(crate) fn identities(&self) -> std::collections::BTreeSet<Identity> {
        self.open.lock().entries.values().map(|entry| entry.view.own.clone()).collect()
    }

    /// Closes everything.
    pub(crate) fn close_all(&self, why: &Denial) {
        self.open.lock().entries.values().for_each(|entry| entry.closing.close(why.clone()));
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().entries.len()
    }

    /// All of them, oldest first.
    pub(crate) fn rows(&self) -> Vec<Row> {
        use std::sync::atomic::Ordering::Relaxed;
        let open = self.open.lock();
        let sorted: BTreeMap<_, _> = open.entries.iter().collect();
        sorted
            .into_values()
            .map(|entry| Row {
                view: entry.view.clone(),
                sent: entry.counts.sent.load(Relaxed),
                received: entry.counts.received.load(Relaxed),
                policies: entry.uses.iter().flat_map(|uses| uses.sets.clone()).collect(),
            })
            .collect()
    }
}

impl Guard {
    /// Ends when the connection must.
    pub(crate) fn closed(&self) -> &Cancel {
        &self.closing.cancel
    }

    /// Why it had to end, if it had to.
    pub(crate) fn why(&self) -> Option<Denial> {
        self.closing.why.lock().clone()
    }

    /// Decides by the current snapshot and remembers what that used. If another swap came between, it decides again.
    ///
    /// # Errors
    /// What `decide` says.
    pub(crate) fn decide<T>(
        &self,
        world: &World,
        decide: impl Fn(&Snapshot) -> Result<(T, Uses), Denial>,
    ) -> Result<T, Denial> {
        loop {
            let held = world.load();
            let (decided, uses) = decide(&held.snapshot)?;
            let mut open = self.connections.open.lock();
            if held.number < open.judged {
                continue;
            }
            if let Some(entry) = open.entries.get_mut(&self.id) {
                entry.uses = Some(uses);
            }
            return Ok(decided);
        }
    }

    /// Says better who it is and what it asks for.
    pub(crate) fn describe(&self, source: impl fmt::Display, destination: impl fmt::Display) {
        if let Some(entry) = self.connections.open.lock().entries.get_mut(&self.id) {
            entry.view.source = source.to_string();
            entry.view.destination = destination.to_string();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.connections.open.lock().entries.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn view(own: &str) -> View {
        View {
            direction: Direction::Inbound,
            workload: "w".into(),
            own: own.parse().expect("tests name identities"),
            source: String::new(),
            destination: String::new(),
            since: 0,
        }
    }

    fn uses(set: &str, verdict: Result<(), Denial>, asked: Arc<AtomicUsize>) -> Uses {
        renamed(set, set, verdict, asked)
    }

    /// It was judged by a set, and will be by another.
    fn renamed(set: &str, now: &str, verdict: Result<(), Denial>, asked: Arc<AtomicUsize>) -> Uses {
        let now = now.to_owned();
        let again = move |_: &Snapshot| {
            asked.fetch_add(1, Ordering::Relaxed);
            verdict.clone().map(|()| vec![now.as_str().into()])
        };
        Uses { workloads: Vec::new(), sets: vec![set.into()], identities: Vec::new(), again: Arc::new(again) }
    }

    fn touched(set: &str) -> Touched {
        Touched { sets: [set.into()].into(), ..Touched::default() }
    }

    #[test]
    fn who_was_judged_again_depends_on_what_that_used() {
        let (world, connections) = (World::default(), Connections::new(9));
        let asked: Arc<AtomicUsize> = Arc::default();
        let guard = connections.register(view("spiffe://a/b")).expect("there is room");
        let uses = renamed("a", "b", Ok(()), asked.clone());
        guard.decide(&world, |_| Ok(((), uses.clone()))).expect("it is allowed");
        let judged = |number, set| {
            connections.judge(number, &Snapshot::default(), &touched(set));
            asked.load(Ordering::Relaxed)
        };
        assert_eq!((judged(1, "b"), judged(2, "a")), (0, 1));
        // The set of its port is another since.
        assert_eq!((judged(3, "a"), judged(4, "b")), (1, 2));
    }

    #[test]
    fn only_who_used_what_changed_is_judged_again_and_closed() {
        let (world, connections) = (World::default(), Connections::new(9));
        let asked: Arc<AtomicUsize> = Arc::default();
        let open = |set: &str, verdict: Result<(), Denial>| {
            let guard = connections.register(view("spiffe://a/b")).expect("there is room");
            let uses = uses(set, verdict, asked.clone());
            guard.decide(&world, |_| Ok(((), uses.clone()))).expect("it is allowed");
            guard
        };
        let denied = || Denial::plain(Reason::Denied, "x");
        let (kept, closed, other) = (open("a", Ok(())), open("a", Err(denied())), open("b", Err(denied())));
        assert_eq!(connections.judge(1, &Snapshot::default(), &touched("a")), 1);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(!kept.closed().is_cancelled() && !other.closed().is_cancelled());
        assert!(closed.closed().is_cancelled());
        assert_eq!(closed.why().map(|why| why.reason), Some(Reason::Denied));
        // What is closed already is not asked again.
        connections.judge(2, &Snapshot::default(), &touched("a"));
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        drop((kept, closed, other));
        assert_eq!(connections.len(), 0);
    }

    #[test]
    fn who_was_judged_by_an_older_snapshot_is_judged_by_the_new_one() {
        let (world, connections) = (World::default(), Connections::new(9));
        let guard = connections.register(view("spiffe://a/b")).expect("there is room");
        let rounds = AtomicUsize::new(0);
        guard
            .decide(&world, |_| {
                if rounds.fetch_add(1, Ordering::Relaxed) == 0 {
                    // A swap comes while it is judged.
                    let number = world.swap(Snapshot::default());
                    connections.judge(number, &Snapshot::default(), &touched("a"));
                }
                Ok(((), uses("a", Ok(()), Arc::default())))
            })
            .expect("it is allowed");
        assert_eq!(rounds.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn connections_are_bounded_and_closed_by_identity() {
        let connections = Connections::new(2);
        let one = connections.register(view("spiffe://a/b")).expect("there is room");
        let two = connections.register(view("spiffe://a/c")).expect("there is room");
        let three = connections.register(view("spiffe://a/b")).map(|_| ()).map_err(|denial| denial.reason);
        assert_eq!(three, Err(Reason::TooMuch));
        let identity = "spiffe://a/b".parse().expect("an identity");
        connections.close_identity(&identity, &Denial::plain(Reason::CertificateEnded, "x"));
        assert!(one.closed().is_cancelled() && !two.closed().is_cancelled());
    }
}
