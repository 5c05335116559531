//! Finds the direction of a packet by its addresses. Pure.

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::direction::{Direction, Fate};
use super::shape::Shape;
use crate::plan::Plan;

/// One direction, as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// The number of the cluster that sends.
    pub from: u8,
    /// The number of the cluster that receives.
    pub to: u8,
    /// How packets fare.
    pub shape: Shape,
    /// What became of them.
    pub counts: Counts,
}

/// All directions between the clusters of a plan.
pub(super) struct Switch {
    sites: Vec<(Ipv4Net, u8)>,
    ways: Vec<(u8, u8, Direction)>,
}

impl Switch {
    pub(super) fn new(plan: &Plan, seed: u64) -> Switch {
        let mut sites = Vec::new();
        let mut ways = Vec::new();
        for cluster in plan.clusters() {
            let number = cluster.number();
            let ranges = cluster.reachable().into_iter().chain([cluster.uplink()]);
            sites.extend(ranges.map(|range| (range, number)));
            for other in plan.clusters().filter(|other| other.number() != number) {
                // A seed of its own, so that what happens in one direction is nothing to another.
                let own = seed ^ (u64::from(number) << 56 | u64::from(other.number()) << 48);
                ways.push((number, other.number(), Direction::new(own)));
            }
        }
        Switch { sites, ways }
    }

    /// Takes a packet that has come. One that goes from no cluster to another is gone.
    pub(super) fn offer(&mut self, now: Instant, packet: &[u8]) -> Fate {
        let ends = addresses(packet).and_then(|(from, to)| Some((self.site(from)?, self.site(to)?)));
        let Some((from, to)) = ends else { return Fate::Gone };
        self.direction(from, to).map_or(Fate::Gone, |direction| direction.offer(now, packet))
    }

    /// When the next packet arrives anywhere.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ways.iter().filter_map(|(_, _, direction)| direction.next()).min()
    }

    /// A packet that has arrived by now, anywhere.
    pub(super) fn due(&mut self, now: Instant) -> Option<Box<[u8]>> {
        self.ways.iter_mut().find_map(|(_, _, direction)| direction.due(now))
    }

    /// Changes a direction; false if there is none.
    pub(super) fn reshape(&mut self, now: Instant, from: u8, to: u8, shape: Shape) -> bool {
        let direction = self.direction(from, to);
        direction.map(|direction| direction.reshape(now, shape)).is_some()
    }

    pub(super) fn ways(&self) -> Vec<Way> {
        let told = |(from, to, direction): &(u8, u8, Direction)| Way {
            from: *from,
            to: *to,
            shape: direction.shape().clone(),
            counts: direction.counts(),
        };
        self.ways.iter().map(told).collect()
    }

    fn direction(&mut self, from: u8, to: u8) -> Option<&mut Direction> {
        let found = self.ways.iter_mut().find(|(own_from, own_to, _)| (*own_from, *own_to) == (from, to));
        found.map(|(_, _, direction)| direction)
    }

    fn site(&self, address: Ipv4Addr) -> Option<u8> {
        self.sites.iter().find(|(range, _)| range.contains(&address)).map(|(_, number)| *number)
    }
}

/// Source and destination of an IPv4 packet (RFC 791, section 3.1); none of anything else.
fn addresses(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    if packet.first()? >> 4 != 4 {
        return None;
    }
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    Some((address(12)?, address(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Reach;

    fn packet(from: &str, to: &str) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&from.parse::<Ipv4Addr>().unwrap().octets());
        packet[16..20].copy_from_slice(&to.parse::<Ipv4Addr>().unwrap().octets());
        packet
    }

    #[test]
    fn a_cut_direction_leaves_the_others_alone() {
        let now = Instant::now();
        let mut switch = Switch::new(&Plan::new("t", 3, 1, Reach::Flat).unwrap(), 0);
        assert!(switch.reshape(now, 1, 2, Shape { partition: true, ..Shape::default() }));
        assert!(!switch.reshape(now, 1, 4, Shape::default()));
        for (from, to, expected) in [
            ("10.11.1.1", "10.52.1.1", Fate::Gone),
            ("10.99.1.2", "10.12.1.1", Fate::Gone),
            ("10.52.0.11", "10.11.1.1", Fate::Arrives),
            ("10.11.1.1", "10.53.0.1", Fate::Arrives),
            ("10.11.1.1", "192.0.2.1", Fate::Gone),
            ("10.11.1.1", "10.11.2.1", Fate::Gone),
        ] {
            assert_eq!(switch.offer(now, &packet(from, to)), expected, "{from} to {to}");
        }
        let cut = switch.ways().into_iter().find(|way| (way.from, way.to) == (1, 2)).unwrap();
        assert_eq!(cut.counts, Counts { cut: 2, ..Counts::default() });
    }

    #[test]
    fn what_is_no_whole_ipv4_header_goes_nowhere() {
        let mut switch = Switch::new(&Plan::new("t", 2, 1, Reach::Flat).unwrap(), 0);
        let whole = packet("10.11.1.1", "10.12.1.1");
        assert_eq!(switch.offer(Instant::now(), &whole), Fate::Arrives);
        for len in 0..20 {
            assert_eq!(switch.offer(Instant::now(), &whole[..len]), Fate::Gone);
        }
        assert_eq!(switch.offer(Instant::now(), &[0x60; 40]), Fate::Gone);
    }
}
