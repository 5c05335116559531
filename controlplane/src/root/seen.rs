//! Who has what a step needs, as far as it was seen: proxies by what they acknowledged, links by what they told when
//! they fetched the bundle, holders of certificates by what was issued to them.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use authority::{
    Bearer, Held,
    rotation::{Need, Which},
};
use mesh::{
    Identity, TrustDomain,
    resource::{Key, Kind, Resource},
};
use wire::{Caller, publish::Publisher};

use crate::{links::Links, roll::Roll, trust::Signer};

/// A certificate that was issued so long ago has arrived: who did not get the answer has asked again since.
const ARRIVED: Duration = Duration::from_secs(12);
/// Most names in one answer.
const NAMED_MAX: usize = 20;

/// Everybody who must be ready.
pub(crate) struct Everybody<'a> {
    pub(crate) publisher: &'a Publisher,
    pub(crate) roll: &'a Roll,
    pub(crate) signer: &'a Signer,
    pub(crate) links: &'a Links,
    /// The identity of the control plane itself.
    pub(crate) own: &'a Identity,
    pub(crate) now: SystemTime,
}

impl Everybody<'_> {
    /// Checks that these are links of ours.
    pub(crate) fn know(&self, links: &BTreeSet<String>) -> Result<(), String> {
        let known: BTreeSet<String> = self.links.peers().into_iter().map(|(name, ..)| name).collect();
        match links.difference(&known).next() {
            Some(unknown) => Err(format!("there is no link {unknown:?}")),
            None => Ok(()),
        }
    }

    /// What is missing, in words.
    pub(crate) fn waits(&self, held: &Held, needs: &[Need], excused: &BTreeSet<String>) -> Vec<String> {
        let mut waits = Vec::new();
        for need in needs {
            waits.extend(match need {
                // What everybody must have acknowledged last is the bundle of now; the table says what is in it.
                Need::Believed(_) | Need::Disbelieved(_) => self.not_acknowledged(held.sequence(), excused),
                Need::Unused(which) => self.in_use(held, *which),
            });
        }
        let more = waits.len().saturating_sub(NAMED_MAX);
        waits.truncate(NAMED_MAX);
        if more > 0 {
            waits.push(format!("and {more} more"));
        }
        waits
    }

    fn not_acknowledged(&self, sequence: u64, excused: &BTreeSet<String>) -> Vec<String> {
        let trust_domain = self.own.trust_domain();
        let mut waits = behind(self.publisher, self.roll, trust_domain);
        if published(self.publisher, trust_domain) != Some(sequence) {
            waits.push("the bundle is not published yet".to_owned());
        }
        for (name, _, told) in self.links.peers() {
            if !excused.contains(&name) && told.is_none_or(|told| told < sequence) {
                waits.push(format!(
                    "link {name} has not told that its proxies hold our bundle {sequence} \
                     (--without-links {name} goes on without it)"
                ));
            }
        }
        waits
    }

    /// Whose certificate of this root may still be in use.
    fn in_use(&self, held: &Held, which: Which) -> Vec<String> {
        let Some(ends) = held.unused_from(which) else {
            return vec!["it signs".to_owned()];
        };
        if ends <= self.now {
            return Vec::new();
        }
        let until = crate::status::time_text(crate::status::seconds(ends));
        let mut waits = Vec::new();
        let look = |waits: &mut Vec<String>,
                    who: &dyn std::fmt::Display,
                    bearer: &Bearer,
                    identity: &Identity| {
            let given = self.signer.given(bearer, identity);
            let arrived = given.and_then(|at| self.now.duration_since(at).ok());
            match arrived {
                Some(since) if since >= ARRIVED => {}
                Some(_) => waits.push(format!("{who} was given its next certificate of {identity} just now")),
                None => waits.push(format!(
                    "{who} has not fetched its next certificate of {identity} (waited for until {until})"
                )),
            }
        };
        look(&mut waits, &"the control plane", &Bearer::Workload(self.own.clone()), self.own);
        let mut streams: Vec<Caller> =
            self.publisher.subscribers().into_iter().map(|it| it.info.caller).collect();
        for (caller, identities) in self.roll.holders() {
            let bearer = bearer(&caller);
            for identity in &identities {
                look(&mut waits, &caller, &bearer, identity);
            }
            let before = streams.len();
            streams.retain(|stream| *stream != caller);
            // Several programs with one token cannot be told apart by what was issued.
            if before - streams.len() > 1 {
                waits.push(format!("{caller} runs more than once (waited for until {until})"));
            }
        }
        waits
    }
}

fn bearer(caller: &Caller) -> Bearer {
    match caller {
        Caller::Node { name } => Bearer::Node(name.clone()),
        Caller::Gateway { identity } => Bearer::Workload(identity.clone()),
    }
}

/// The sequence of a trust domain's bundle that every proxy of ours has acknowledged, if they all have the same.
pub(crate) fn applied(publisher: &Publisher, roll: &Roll, trust_domain: &TrustDomain) -> Option<u64> {
    // Read first: what everybody acknowledges after it may be newer, and never older.
    let sequence = published(publisher, trust_domain)?;
    behind(publisher, roll, trust_domain).is_empty().then_some(sequence)
}

fn published(publisher: &Publisher, trust_domain: &TrustDomain) -> Option<u64> {
    publisher.read(|table| match table.get(&key(trust_domain)) {
        Some(Resource::Bundle(bundle)) => Some(bundle.sequence),
        _ => None,
    })
}

fn key(trust_domain: &TrustDomain) -> Key {
    Key::new(Kind::Bundle, trust_domain)
}

/// Which proxies have not acknowledged the bundle of a trust domain as it is published now.
fn behind(publisher: &Publisher, roll: &Roll, trust_domain: &TrustDomain) -> Vec<String> {
    let key = key(trust_domain);
    let subscribers = publisher.subscribers();
    let mut waits = Vec::new();
    for (caller, _) in roll.holders() {
        if !subscribers.iter().any(|it| it.info.caller == caller) {
            waits.push(format!("{caller} is not connected"));
        }
    }
    let standing = publisher.standing(&key);
    let complete = standing.version.is_some() && standing.applied == standing.wanted;
    for subscriber in &subscribers {
        let caller = &subscriber.info.caller;
        // What else is under way to it does not matter.
        let busy = !complete && (subscriber.in_flight || subscriber.pending > 0);
        if let Some(refused) = subscriber.refused.iter().find(|it| it.key == key) {
            waits.push(format!("{caller} refused the bundle: {}", refused.reason));
        } else if subscriber.applied.is_none() || busy {
            waits.push(format!("{caller} has not acknowledged what it was sent"));
        }
    }
    if waits.is_empty() && !complete {
        waits.push(format!("{} of {} proxies hold the bundle", standing.applied, standing.wanted));
    }
    waits
}
