//! Which Service has which address. Pure.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use super::Key;

/// A range of addresses and who has them.
#[derive(Debug)]
pub(super) struct Pool {
    first: u32,
    last: u32,
    held: BTreeMap<Key, u32>,
}

/// Why a Service got no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All addresses are held.
    Exhausted { first: Ipv4Addr, last: Ipv4Addr },
    /// What was asked for is no address of the pool.
    Foreign { wanted: String, first: Ipv4Addr, last: Ipv4Addr },
    /// What was asked for is held by another.
    Taken { wanted: Ipv4Addr, holder: Key },
}

impl Refusal {
    /// The event's reason.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Exhausted { .. } => "AddressPoolExhausted",
            Self::Foreign { .. } => "AddressNotInPool",
            Self::Taken { .. } => "AddressTaken",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted { first, last } => {
                write!(
                    f,
                    "all addresses from {first} to {last} are held; delete a Service of type LoadBalancer"
                )
            }
            Self::Foreign { wanted, first, last } => {
                write!(
                    f,
                    "{wanted} is not one of the addresses from {first} to {last}; ask for one of them, or none"
                )
            }
            Self::Taken { wanted, holder } => {
                write!(f, "{wanted} is held by Service {}/{}; ask for another, or none", holder.0, holder.1)
            }
        }
    }
}

impl Pool {
    /// A pool from `first` to `last`, both included.
    pub(super) fn new(first: Ipv4Addr, last: Ipv4Addr) -> Self {
        Self { first: first.into(), last: last.into(), held: BTreeMap::new() }
    }

    /// Gives the Service the address it asks for, else the one it has, else the lowest free one.
    pub(super) fn assign(
        &mut self,
        key: &Key,
        wanted: Option<String>,
        current: Option<Ipv4Addr>,
    ) -> Result<Ipv4Addr, Refusal> {
        let address = match wanted {
            Some(wanted) => self.wanted(key, wanted)?,
            None => self
                .kept(key, current)
                .or_else(|| self.lowest())
                .ok_or(Refusal::Exhausted { first: self.first.into(), last: self.last.into() })?,
        };
        self.held.insert(key.clone(), address);
        Ok(address.into())
    }

    /// Takes back what a Service has; whether there was something.
    pub(super) fn release(&mut self, key: &Key) -> bool {
        self.held.remove(key).is_some()
    }

    /// Whether a Service has an address of ours.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.held.contains_key(key)
    }

    /// All that have an address of ours.
    pub(super) fn holders(&self) -> Vec<Key> {
        self.held.keys().cloned().collect()
    }

    fn wanted(&self, key: &Key, wanted: String) -> Result<u32, Refusal> {
        let address = wanted.parse::<Ipv4Addr>().map(u32::from).ok().filter(|one| self.contains(*one));
        let Some(address) = address else {
            return Err(Refusal::Foreign { wanted, first: self.first.into(), last: self.last.into() });
        };
        match self.holder(address) {
            Some(holder) if holder != key => {
                Err(Refusal::Taken { wanted: address.into(), holder: holder.clone() })
            }
            _ => Ok(address),
        }
    }

    /// What the Service has, by our own book or, after a restart, by its status.
    fn kept(&self, key: &Key, current: Option<Ipv4Addr>) -> Option<u32> {
        if let Some(address) = self.held.get(key) {
            return Some(*address);
        }
        current.map(u32::from).filter(|one| self.contains(*one) && self.holder(*one).is_none())
    }

    fn lowest(&self) -> Option<u32> {
        (self.first..=self.last).find(|address| self.holder(*address).is_none())
    }

    fn contains(&self, address: u32) -> bool {
        (self.first..=self.last).contains(&address)
    }

    fn holder(&self, address: u32) -> Option<&Key> {
        self.held.iter().find(|(_, held)| **held == address).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("default".to_owned(), name.to_owned())
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 51, 1, last)
    }

    fn pool() -> Pool {
        Pool::new(address(1), address(3))
    }

    #[test]
    fn a_service_keeps_its_address_and_others_get_the_next() {
        let mut pool = pool();
        assert_eq!(pool.assign(&key("a"), None, None), Ok(address(1)));
        assert_eq!(pool.assign(&key("b"), None, None), Ok(address(2)));
        assert_eq!(pool.assign(&key("a"), None, Some(address(1))), Ok(address(1)));
    }

    #[test]
    fn the_last_address_is_given_and_the_next_asker_is_told_that_there_is_none() {
        let mut pool = pool();
        for (name, last) in [("a", 1), ("b", 2), ("c", 3)] {
            assert_eq!(pool.assign(&key(name), None, None), Ok(address(last)));
        }
        let refusal = pool.assign(&key("d"), None, None).expect_err("the pool is empty");
        assert_eq!(refusal.reason(), "AddressPoolExhausted");
        assert!(pool.release(&key("b")));
        assert_eq!(pool.assign(&key("d"), None, None), Ok(address(2)));
    }

    #[test]
    fn an_address_asked_for_is_given_when_it_is_free_and_ours() {
        let mut pool = pool();
        assert_eq!(pool.assign(&key("a"), Some("10.51.1.3".to_owned()), None), Ok(address(3)));
        let taken = pool.assign(&key("b"), Some("10.51.1.3".to_owned()), None).expect_err("a has it");
        assert_eq!(taken.reason(), "AddressTaken");
        for foreign in ["10.51.1.4", "192.0.2.1", "east"] {
            let refusal = pool.assign(&key("b"), Some(foreign.to_owned()), None).expect_err("not ours");
            assert_eq!(refusal.reason(), "AddressNotInPool");
        }
    }

    #[test]
    fn after_a_restart_the_status_says_who_has_what() {
        let mut pool = pool();
        assert_eq!(pool.assign(&key("a"), None, Some(address(2))), Ok(address(2)));
        // Two that claim the same: the first seen keeps it.
        assert_eq!(pool.assign(&key("b"), None, Some(address(2))), Ok(address(1)));
        assert!(!pool.release(&key("c")));
    }
}
