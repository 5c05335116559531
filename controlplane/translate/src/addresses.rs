//! Mesh addresses: which were asked for, which were given, and to whom.
//!
//! What was given is kept, so that a newcomer moves nobody; who asks for an address by name comes before
//! who was merely given it. A given address depends on its owner's name alone, unless it is taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use api::{Kind, Name};
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Owner {
    /// A workload, Service, Gateway or AgentBackend.
    Object(Name),
    /// A service that came over links: local namespace and name.
    Import {
        /// The namespace here.
        namespace: Arc<str>,
        /// The name.
        name: Arc<str>,
    },
}

/// Where an address listens: two addresses that listen at one place are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Spot(Ipv4Addr);

/// An entry in the order that settles ties: created first, then namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) created: (bool, String),
    pub(crate) owner: Name,
    pub(crate) address: Ipv4Addr,
}

/// Who has and who wants which address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    given: BTreeMap<Owner, Ipv4Addr>,
    taken: BTreeMap<Spot, Owner>,
    claims: BTreeMap<Spot, BTreeSet<Claim>>,
}

/// Most places that are tried for one owner.
const TRIES_MAX: u32 = 1 << 20;

impl Addresses {
    /// Takes over what was given in an earlier run.
    pub(crate) fn restore(&mut self, settings: &Settings, given: BTreeMap<Owner, Ipv4Addr>) {
        for (owner, address) in given {
            let spot = spot(settings, address);
            if inside(settings, address)
                && !self.taken.contains_key(&spot)
                && !self.claims.contains_key(&spot)
            {
                self.taken.insert(spot, owner.clone());
                self.given.insert(owner, address);
            }
        }
    }

    pub(crate) fn given(&self) -> &BTreeMap<Owner, Ipv4Addr> {
        &self.given
    }

    pub(crate) fn claims(&self, spot: Spot) -> impl Iterator<Item = &Claim> {
        self.claims.get(&spot).into_iter().flatten()
    }

    /// Notes that an object asks for an address; tells who has to move.
    pub(crate) fn claim(&mut self, settings: &Settings, claim: Claim) -> Option<Owner> {
        let spot = spot(settings, claim.address);
        self.claims.entry(spot).or_default().insert(claim);
        let moved = self.taken.remove(&spot)?;
        self.given.remove(&moved);
        Some(moved)
    }

    pub(crate) fn unclaim(&mut self, settings: &Settings, claim: &Claim) {
        let spot = spot(settings, claim.address);
        if let Some(claims) = self.claims.get_mut(&spot) {
            claims.remove(claim);
            if claims.is_empty() {
                self.claims.remove(&spot);
            }
        }
    }

    /// The address of an owner that asked for none. None: the ranges are full.
    pub(crate) fn give(&mut self, settings: &Settings, owner: &Owner) -> Option<Ipv4Addr> {
        if let Some(address) = self.given.get(owner) {
            return Some(*address);
        }
        let seed = seed(owner);
        let address = settings.ranges.iter().find_map(|range| {
            let size = u32::MAX.checked_shr(u32::from(range.prefix_len())).unwrap_or(0).saturating_add(1);
            let first = u32::from(range.network());
            (0..size.min(TRIES_MAX))
                .map(|step| Ipv4Addr::from(first + (seed % size).wrapping_add(step) % size))
                .find(|address| self.is_free(settings, *address))
        })?;
        self.taken.insert(spot(settings, address), owner.clone());
        self.given.insert(owner.clone(), address);
        Some(address)
    }

    pub(crate) fn release(&mut self, settings: &Settings, owner: &Owner) {
        if let Some(address) = self.given.remove(owner) {
            self.taken.remove(&spot(settings, address));
        }
    }

    fn is_free(&self, settings: &Settings, address: Ipv4Addr) -> bool {
        let [_, _, third, last] = address.octets();
        let spot = spot(settings, address);
        // Where the third byte is 0 the programs themselves listen; 0 and 255 are no hosts.
        third != 0
            && last != 0
            && last != 255
            && !self.taken.contains_key(&spot)
            && !self.claims.contains_key(&spot)
    }
}

/// Where an address listens.
pub(crate) fn spot(settings: &Settings, address: Ipv4Addr) -> Spot {
    match settings.tunnels.address(address) {
        std::net::IpAddr::V4(listens) => Spot(listens),
        std::net::IpAddr::V6(_) => Spot(address),
    }
}

/// True if an address is of the installation's ranges.
pub(crate) fn inside(settings: &Settings, address: Ipv4Addr) -> bool {
    settings.ranges.iter().any(|range| range.contains(&address))
}

fn seed(owner: &Owner) -> u32 {
    let text = match owner {
        Owner::Object(name) => format!("{}/{}/{}", name.kind, name.namespace, name.name),
        Owner::Import { namespace, name } => format!("Import/{namespace}/{name}"),
    };
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(4).fold(0, |seed, byte| (seed << 8) | u32::from(*byte))
}

/// Which kinds ask for addresses.
pub(crate) fn has_address(kind: Kind) -> bool {
    matches!(kind, Kind::MeshWorkload | Kind::Service | Kind::Gateway | Kind::AgentBackend)
}
