//! Judges places under the current snapshot.

use std::{borrow::Cow, sync::Arc};

use exchange::{BoxFuture, Judge, Place, Purpose};
use mesh::{
    Caller, Denial, Facts, Identity, Peer, Reason,
    access::{self, Verdict},
    facts::Demand,
    names::SetName,
    resource::Authorizer,
    snapshot::Snapshot,
};

use crate::{report::Decisions, world::Worlds};

/// The judge of a waypoint.
#[derive(Debug)]
pub struct Court {
    worlds: Arc<Worlds>,
    decisions: Decisions,
    own: Option<Identity>,
}

impl Court {
    /// Judges by these worlds, and counts what it decides.
    pub fn new(worlds: Arc<Worlds>, decisions: Decisions) -> Self {
        Self { worlds, decisions, own: None }
    }

    /// Judges for a gateway of this identity: behind its edge it is the gateway itself that calls, for strangers who
    /// prove no identity. What they may is for the policies of the way in; what the gateway may, for those behind it.
    pub fn of_gateway(self, own: Identity) -> Self {
        Self { own: Some(own), ..self }
    }

    /// The facts by which a place judges: its own port, and who calls there.
    fn seen_at<'a>(&self, place: &Place, port: Option<u16>, facts: &'a Facts) -> Cow<'a, Facts> {
        let mut facts = Cow::Borrowed(facts);
        if let Some(port) = port.filter(|port| *port != facts.port) {
            facts.to_mut().port = port;
        }
        let way_in = matches!(place, Place::Listener { .. } | Place::Route(_));
        let stranger = facts.caller == (Caller { workload: Peer::Unknown, by: None });
        if let Some(own) = self.own.as_ref().filter(|_| stranger && !way_in) {
            facts.to_mut().caller.workload = Peer::Verified(own.clone());
        }
        facts
    }
}

impl Judge for Court {
    fn judge(&self, place: &Place, facts: &Facts, purpose: Purpose) -> Result<(), Denial> {
        let world = self.worlds.load();
        let Some((set, port)) = set_of(&world.snapshot, place) else {
            return match purpose {
                // Policies of what is gone say nothing; what still runs there ends with it.
                Purpose::Again => Ok(()),
                Purpose::Decide | Purpose::List => Err(not_held(place)),
            };
        };
        let facts = self.seen_at(place, port, facts);
        let judgement = access::judge(&world.snapshot, &set, &facts);
        if purpose == Purpose::Decide {
            self.decisions.count(place, &facts, &judgement);
        }
        match judgement.verdict {
            // Who asks the authorizers learns of them by `authorizers`.
            Verdict::Granted(_) | Verdict::Conditional(..) => Ok(()),
            Verdict::Refused(denial) => Err(denial),
        }
    }

    fn authorizers(&self, place: &Place, facts: &Facts) -> Result<Vec<Arc<Authorizer>>, Denial> {
        let world = self.worlds.load();
        let (set, port) = set_of(&world.snapshot, place).ok_or_else(|| not_held(place))?;
        let facts = self.seen_at(place, port, facts);
        match access::judge(&world.snapshot, &set, &facts).verdict {
            Verdict::Conditional(_, authorizers) => Ok(authorizers),
            Verdict::Granted(_) => Ok(Vec::new()),
            Verdict::Refused(denial) => Err(denial),
        }
    }

    fn generation(&self) -> u64 {
        self.worlds.generation()
    }

    fn changed(&self, seen: u64) -> BoxFuture<'static, ()> {
        self.worlds.changed(seen)
    }
}

fn not_held(place: &Place) -> Denial {
    Denial::plain(Reason::PolicyMissing, format!("{place:?} is not held"))
}

/// The set that protects a place now, and the port that it judges by.
pub fn set_of(snapshot: &Snapshot, place: &Place) -> Option<(SetName, Option<u16>)> {
    Some(match place {
        Place::Listener { gateway, listener } => {
            let found = snapshot.listeners().find(|it| it.gateway == *gateway && it.name == *listener)?;
            (found.set.clone(), Some(found.port))
        }
        Place::Route(name) => (snapshot.route(name)?.set.clone(), None),
        Place::Service { service, port } => {
            (snapshot.service(service)?.ports.get(port)?.set.clone(), Some(*port))
        }
        Place::Agent(name) => (snapshot.backend(name)?.set.clone(), None),
        Place::Workload { workload, port } => {
            let workload = snapshot.workload(workload)?;
            (workload.ports.get(port).unwrap_or(&workload.other_ports).set.clone(), Some(*port))
        }
    })
}

/// What the policies at these places want to know.
pub fn demand(snapshot: &Snapshot, places: &[Place]) -> Demand {
    let sets = places.iter().filter_map(|place| set_of(snapshot, place));
    sets.fold(Demand::default(), |demand, (set, _)| demand.and(access::demand(snapshot, &set)))
}
