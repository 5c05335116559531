//! What the two ends of a tunnel say before bytes flow: the CONNECT request and its answer.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{HeaderMap, HeaderValue};
use mesh::{
    Identity,
    names::{Hostname, Network},
};

/// Longest host name, in bytes (RFC 1035, section 2.3.4, without the length octets).
pub const HOST_BYTES_MAX: usize = 253;

const BAGGAGE: &str = "baggage";
const FORWARDED: &str = "forwarded";
const NETWORK: &str = "x-forwarded-network";
const ORIGIN: &str = "x-strait-origin";
const ORIGIN_UNKNOWN: &str = "unknown";
const TRACE: &str = "traceparent";
/// Says why a CONNECT was refused.
pub(crate) const DENIED: &str = "x-strait-denied";

/// Where a stream wants to go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Authority {
    /// An address of this network.
    Address(SocketAddr),
    /// A service by name, as it is said to another network.
    Name {
        /// The service's host name, lower case.
        host: Hostname,
        /// The service's port.
        port: u16,
    },
}

/// Why a text is no authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither IP:port nor host:port")]
pub struct AuthorityError(pub String);

/// On whose behalf a voucher opens a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A workload that the voucher verified.
    Identity(Identity),
    /// A caller that has no identity.
    Unknown,
}

/// The origin as it stood in a request: what is neither absent nor exactly one must be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginField {
    /// The field did not occur.
    Absent,
    /// It occurred once and could be read.
    One(Origin),
    /// It occurred once and could not be read.
    Malformed,
    /// It occurred so many times.
    Many(usize),
}

/// What a CONNECT request says beside its authority. Everything but `origin` only describes; nothing of it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectHead {
    /// `x-strait-origin`.
    pub origin: OriginField,
    /// `forwarded`.
    pub forwarded: Option<String>,
    /// `baggage`.
    pub baggage: Option<String>,
    /// `x-forwarded-network`.
    pub network: Option<Network>,
    /// `traceparent`.
    pub trace: Option<String>,
}

/// What we say when we open a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Where it shall go.
    pub authority: Authority,
    /// `x-strait-origin`: only from a voucher.
    pub origin: Option<Origin>,
    /// `forwarded`.
    pub forwarded: Option<String>,
    /// `baggage`.
    pub baggage: Option<String>,
    /// `x-forwarded-network`.
    pub network: Option<Network>,
    /// `traceparent`.
    pub trace: Option<String>,
}

/// What a 200 says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// `baggage`: describes the destination.
    pub baggage: Option<String>,
}

impl fmt::Display for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(out, "{address}"),
            Self::Name { host, port } => write!(out, "{host}:{port}"),
        }
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    /// Strict, because a second spelling of an address is a way around what was decided about the first: no zone, no
    /// IPv4 address inside an IPv6 one, no name that some resolver would take for a number, no port 0.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_authority(text).ok_or_else(|| AuthorityError(text.chars().take(HOST_BYTES_MAX).collect()))
    }
}

fn parse_authority(text: &str) -> Option<Authority> {
    let (host, port) = text.rsplit_once(':')?;
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) || port.starts_with('0') {
        return None;
    }
    let port: u16 = port.parse().ok()?;
    if let Some(inside) = host.strip_prefix('[') {
        let address: Ipv6Addr = inside.strip_suffix(']')?.parse().ok()?;
        return match address.to_ipv4_mapped() {
            Some(_) => None,
            None => Some(Authority::Address((address, port).into())),
        };
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Some(Authority::Address((address, port).into()));
    }
    is_host(host).then(|| Authority::Name { host: Hostname::from(host.to_ascii_lowercase()), port })
}

fn is_host(host: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(legal);
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= HOST_BYTES_MAX
        && host.split('.').all(is_label)
        && !last.starts_with(|first: char| first.is_ascii_digit())
}

impl ConnectHead {
    /// Reads what is known; what is not text is passed over, for these fields decide nothing.
    pub(crate) fn read(fields: &HeaderMap) -> Self {
        let text = |name: &str| fields.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            origin: OriginField::read(fields),
            forwarded: text(FORWARDED),
            baggage: text(BAGGAGE),
            network: text(NETWORK).map(Network::from),
            trace: text(TRACE),
        }
    }
}

impl OriginField {
    fn read(fields: &HeaderMap) -> Self {
        let mut values = fields.get_all(ORIGIN).iter();
        let (Some(first), more) = (values.next(), values.count()) else {
            return Self::Absent;
        };
        if more > 0 {
            return Self::Many(1 + more);
        }
        match first.to_str() {
            Ok(ORIGIN_UNKNOWN) => Self::One(Origin::Unknown),
            Ok(text) => {
                text.parse().map_or(Self::Malformed, |identity| Self::One(Origin::Identity(identity)))
            }
            Err(_) => Self::Malformed,
        }
    }
}

impl ResponseHead {
    pub(crate) fn read(fields: &HeaderMap) -> Self {
        Self { baggage: fields.get(BAGGAGE).and_then(|value| value.to_str().ok()).map(str::to_owned) }
    }

    pub(crate) fn write(&self, fields: &mut HeaderMap) {
        put(fields, BAGGAGE, self.baggage.as_deref());
    }
}

impl ConnectRequest {
    /// Says where to go, and nothing else.
    pub fn to(authority: Authority) -> Self {
        Self { authority, origin: None, forwarded: None, baggage: None, network: None, trace: None }
    }

    pub(crate) fn write(&self, fields: &mut HeaderMap) {
        put(fields, BAGGAGE, self.baggage.as_deref());
        put(fields, FORWARDED, self.forwarded.as_deref());
        put(fields, TRACE, self.trace.as_deref());
        put(fields, NETWORK, self.network.as_ref().map(Network::as_str));
        match &self.origin {
            None => {}
            Some(Origin::Unknown) => put(fields, ORIGIN, Some(ORIGIN_UNKNOWN)),
            Some(Origin::Identity(identity)) => put(fields, ORIGIN, Some(&identity.to_string())),
        }
    }
}

/// What cannot stand in a header field is left out. An origin always can: identities are plain ASCII.
pub(crate) fn put(fields: &mut HeaderMap, name: &'static str, text: Option<&str>) {
    if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
        fields.insert(name, value);
    }
}

impl ConnectHead {
    /// The address in `forwarded`, which only describes (RFC 7239, section 4): `for=ADDRESS` or `for="ADDRESS:PORT"`,
    /// IPv6 in brackets. Said twice it is not said.
    pub fn forwarded_for(&self) -> Option<IpAddr> {
        let pairs =
            self.forwarded.as_deref()?.split([';', ',']).filter_map(|pair| pair.trim().split_once('='));
        let mut said = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for")).map(|(_, value)| value);
        let (Some(only), None) = (said.next(), said.next()) else { return None };
        let node = only.trim_matches('"');
        if let Some(rest) = node.strip_prefix('[') {
            return rest.split_once(']')?.0.parse().ok();
        }
        node.split(':').next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_authority_is_an_address_or_a_name_with_a_port() {
        let cases = [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[2001:db8::1]:65535", "[2001:db8::1]:65535"),
            ("[2001:0db8:0::1]:1", "[2001:db8::1]:1"),
            ("tools.shop.svc.cluster.local:80", "tools.shop.svc.cluster.local:80"),
            ("Tools.shop:80", "tools.shop:80"),
            ("a_b-c:80", "a_b-c:80"),
        ];
        for (text, read) in cases {
            assert_eq!(text.parse::<Authority>().map(|found| found.to_string()), Ok(read.to_owned()));
        }
        let long = format!("{}:80", "a.".repeat(127));
        for bad in [
            "",
            ":",
            "10.0.0.1",
            "10.0.0.1:",
            "10.0.0.1:0",
            "10.0.0.1:080",
            "10.0.0.1:65536",
            "10.0.0.1:+80",
            "10.0.0.1:8 0",
            "10.1:80",
            "010.0.0.1:80",
            "0x7f.0.0.1:80",
            "2130706433:80",
            "1.2.3.0x4:80",
            "2001:db8::1:80",
            "[10.0.0.1]:80",
            "[::ffff:10.0.0.1]:80",
            "[fe80::1%1]:80",
            "[fe80::1%eth0]:80",
            "[::1:80",
            "::1]:80",
            "a..b:80",
            ".a:80",
            "a.:80",
            "user@a:80",
            "a/b:80",
            "a:80/",
            "a b:80",
            "ä:80",
            &long,
        ] {
            assert!(bad.parse::<Authority>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_host_has_at_most_253_bytes() {
        let longest = format!("{}ab", "a.".repeat(125));
        assert_eq!(longest.len(), HOST_BYTES_MAX - 1);
        assert!(format!("{longest}c:80").parse::<Authority>().is_ok());
        assert!(format!("{longest}cd:80").parse::<Authority>().is_err());
    }

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in pairs {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn an_origin_is_there_once_or_says_how_it_is_not() {
        let one = "spiffe://a/b";
        let cases = [
            (vec![], OriginField::Absent),
            (vec![(ORIGIN, one)], OriginField::One(Origin::Identity(one.parse().expect("an identity")))),
            (vec![(ORIGIN, "unknown")], OriginField::One(Origin::Unknown)),
            (vec![(ORIGIN, "Unknown")], OriginField::Malformed),
            (vec![(ORIGIN, "")], OriginField::Malformed),
            (vec![(ORIGIN, "spiffe://a/b, spiffe://a/c")], OriginField::Malformed),
            (vec![(ORIGIN, one), (ORIGIN, one)], OriginField::Many(2)),
            (vec![(ORIGIN, one), (ORIGIN, "unknown"), (ORIGIN, "")], OriginField::Many(3)),
        ];
        for (pairs, expected) in cases {
            assert_eq!(ConnectHead::read(&fields(&pairs)).origin, expected, "{pairs:?}");
        }
    }

    #[test]
    fn what_one_end_writes_the_other_reads() {
        let request = ConnectRequest {
            authority: "10.0.0.1:80".parse().expect("an authority"),
            origin: Some(Origin::Unknown),
            forwarded: Some("for=\"10.0.0.2:1\";host=a.b".to_owned()),
            baggage: Some("k8s.cluster.name=east".to_owned()),
            network: Some("east".into()),
            trace: Some("00-1-2-00".to_owned()),
        };
        let mut written = HeaderMap::new();
        request.write(&mut written);
        let read = ConnectHead::read(&written);
        assert_eq!(read.origin, OriginField::One(Origin::Unknown));
        assert_eq!(
            (read.forwarded, read.baggage, read.network, read.trace),
            (request.forwarded, request.baggage, request.network, request.trace)
        );
    }

    proptest! {
        #[test]
        fn every_text_is_an_authority_or_not_and_reads_back(text in "\\PC{0,40}") {
            if let Ok(found) = text.parse::<Authority>() {
                prop_assert_eq!(found.to_string().parse::<Authority>(), Ok(found));
            }
        }

        #[test]
        fn every_address_reads_back(address: SocketAddr) {
            let mapped = matches!(address.ip(), std::net::IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
            let plain = SocketAddr::new(address.ip(), address.port());
            prop_assert_eq!(plain.to_string().parse::<Authority>().is_ok(), address.port() != 0 && !mapped);
        }
    }

    #[test]
    fn forwarded_says_one_address_or_none() {
        for (text, expected) in [
            ("for=\"10.20.0.1:80\";host=a", Some("10.20.0.1")),
            ("for=10.20.0.1", Some("10.20.0.1")),
            ("host=a; For=\"[fd00::1]:80\"", Some("fd00::1")),
            ("for=\"[fd00::1]\"", Some("fd00::1")),
            ("for=10.20.0.1, for=10.20.0.2", None),
            ("for=10.20.0.1, FOR=10.20.0.2", None),
            ("for=unknown", None),
            ("for=", None),
            ("", None),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(FORWARDED, HeaderValue::from_static(text));
            let read = ConnectHead::read(&fields).forwarded_for().map(|address| address.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
