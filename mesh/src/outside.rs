//! Which addresses are of the public Internet: what a name that somebody else controls may resolve to.
//!
//! Pure. Whoever connects on the word of a name resolves it, asks here for each address, and connects to that very
//! address, so that a second resolution cannot say something else. A form of IPv6 that carries an IPv4 address is
//! judged by what it carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is, for somebody who was told to connect to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// One of the public Internet.
    Public,
    /// A single host's, and not public: loopback, link-local, private, shared, reserved for some other use.
    Private,
    /// No host's: unspecified, multicast, broadcast, reserved.
    Nobody,
}

/// True if the address is one of the public Internet (IANA special-purpose registries, RFC 6890).
pub fn public(address: IpAddr) -> bool {
    standing(address) == Standing::Public
}

/// What an address is.
pub fn standing(address: IpAddr) -> Standing {
    match address.to_canonical() {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    }
}

fn of_v4(address: Ipv4Addr) -> Standing {
    match address.octets() {
        // This network, multicast, reserved and broadcast.
        [0 | 224.., ..] => Standing::Nobody,
        // Private, loopback, link-local, shared (RFC 6598).
        [10 | 127, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..] | [100, 64..=127, ..] => {
            Standing::Private
        }
        // Protocol assignments, documentation, the former 6to4 relays, benchmarking.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => {
            Standing::Private
        }
        _ => Standing::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Standing {
    let [one, two, three, four, five, six, ..] = address.segments();
    match (one, two) {
        (0, 0) if address.is_unspecified() => Standing::Nobody,
        (0xff00.., _) => Standing::Nobody,
        // The well-known prefix of translators (RFC 6052).
        (0x64, 0xff9b) if (three, four, five, six) == (0, 0, 0, 0) => of_v4(carried(address)),
        // Loopback, IPv4-compatible, translators' own prefixes, discard-only, unique local, link-local, site-local,
        // and everything that was never assigned: only 2000::/3 is global unicast.
        (..=0x1fff | 0x4000.., _) => Standing::Private,
        // Protocol assignments (Teredo, ORCHID, benchmarking), documentation, 6to4, which carries an IPv4 address.
        (0x2001, ..=0x1ff | 0xdb8) | (0x2002, _) | (0x3fff, ..=0xfff) => Standing::Private,
        // An interface that carries an IPv4 address (ISATAP, RFC 5214).
        _ if matches!((five, six), (0 | 0x200, 0x5efe)) => of_v4(carried(address)),
        _ => Standing::Public,
    }
}

/// The IPv4 address in the last four bytes.
fn carried(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for (address, expected) in [
            // IPv4, and both sides of each range.
            ("8.8.8.8", Standing::Public),
            ("1.1.1.1", Standing::Public),
            ("0.0.0.0", Standing::Nobody),
            ("0.255.255.255", Standing::Nobody),
            ("1.0.0.0", Standing::Public),
            ("9.255.255.255", Standing::Public),
            ("10.0.0.0", Standing::Private),
            ("10.255.255.255", Standing::Private),
            ("11.0.0.0", Standing::Public),
            ("100.63.255.255", Standing::Public),
            ("100.64.0.0", Standing::Private),
            ("100.127.255.255", Standing::Private),
            ("100.128.0.0", Standing::Public),
            ("126.255.255.255", Standing::Public),
            ("127.0.0.1", Standing::Private),
            ("127.255.255.254", Standing::Private),
            ("128.0.0.1", Standing::Public),
            ("169.253.255.255", Standing::Public),
            ("169.254.169.254", Standing::Private),
            ("169.255.0.0", Standing::Public),
            ("172.15.255.255", Standing::Public),
            ("172.16.0.0", Standing::Private),
            ("172.31.255.255", Standing::Private),
            ("172.32.0.0", Standing::Public),
            ("192.0.0.8", Standing::Private),
            ("192.0.1.1", Standing::Public),
            ("192.0.2.1", Standing::Private),
            ("192.88.99.1", Standing::Private),
            ("192.167.255.255", Standing::Public),
            ("192.168.0.1", Standing::Private),
            ("192.169.0.0", Standing::Public),
            ("198.17.255.255", Standing::Public),
            ("198.18.0.1", Standing::Private),
            ("198.19.255.255", Standing::Private),
            ("198.20.0.0", Standing::Public),
            ("198.51.100.7", Standing::Private),
            ("203.0.113.7", Standing::Private),
            ("223.255.255.255", Standing::Public),
            ("224.0.0.1", Standing::Nobody),
            ("239.255.255.255", Standing::Nobody),
            ("240.0.0.1", Standing::Nobody),
            ("255.255.255.255", Standing::Nobody),
            // IPv6.
            ("2606:4700:4700::1111", Standing::Public),
            ("2a00:1450:4001::1", Standing::Public),
            ("::", Standing::Nobody),
            ("::1", Standing::Private),
            ("::127.0.0.1", Standing::Private),
            ("::8.8.8.8", Standing::Private),
            ("::ffff:127.0.0.1", Standing::Private),
            ("::ffff:169.254.169.254", Standing::Private),
            ("::ffff:0.0.0.0", Standing::Nobody),
            ("::ffff:8.8.8.8", Standing::Public),
            ("::ffff:0:127.0.0.1", Standing::Private),
            ("64:ff9b::127.0.0.1", Standing::Private),
            ("64:ff9b::10.1.2.3", Standing::Private),
            ("64:ff9b::8.8.8.8", Standing::Public),
            ("64:ff9b:1::8.8.8.8", Standing::Private),
            ("100::1", Standing::Private),
            ("2001::1", Standing::Private),
            ("2001:20::1", Standing::Private),
            ("2001:1ff::1", Standing::Private),
            ("2001:200::1", Standing::Public),
            ("2001:db8::1", Standing::Private),
            ("2002:7f00:1::1", Standing::Private),
            ("2003::1", Standing::Public),
            ("2600::5efe:10.0.0.1", Standing::Private),
            ("2600::200:5efe:8.8.8.8", Standing::Public),
            ("3fff:fff::1", Standing::Private),
            ("3fff:1000::1", Standing::Public),
            ("4000::1", Standing::Private),
            ("5f00::1", Standing::Private),
            ("fc00::1", Standing::Private),
            ("fd12:3456::1", Standing::Private),
            ("fe80::1", Standing::Private),
            ("fec0::1", Standing::Private),
            ("ff02::1", Standing::Nobody),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(standing(parsed), expected, "{address}");
            assert_eq!(public(parsed), expected == Standing::Public, "{address}");
        }
    }
}
