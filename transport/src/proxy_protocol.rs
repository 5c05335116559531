//! PROXY protocol version 2: who a connection came from, said before its first byte.

use std::net::{IpAddr, SocketAddr};

use mesh::Identity;

/// The TLV that carries the source's SPIFFE identity.
pub const TLV_SOURCE_IDENTITY: u8 = 0xD0;
/// Longest header that is read: the fixed 16 bytes and what follows.
pub const HEADER_BYTES_MAX: usize = FIXED_BYTES + 4096;

const FIXED_BYTES: usize = 16;
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION: u8 = 0x20;
const COMMAND_LOCAL: u8 = 0;
const COMMAND_PROXY: u8 = 1;
const FAMILY_UNSPECIFIED: u8 = 0x00;
const FAMILY_TCP4: u8 = 0x11;
const FAMILY_TCP6: u8 = 0x21;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Source and destination; none for a connection that the proxy made for itself (`LOCAL`).
    pub addresses: Option<Addresses>,
    /// The source's identity.
    pub identity: Option<Identity>,
}

/// Both ends of the connection that the proxy accepted, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Who connected.
    pub source: SocketAddr,
    /// To where.
    pub destination: SocketAddr,
}

/// Why bytes are no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It does not begin as a header does.
    #[error("not a PROXY protocol version 2 header")]
    Signature,
    /// A command that is neither LOCAL nor PROXY.
    #[error("unknown command {0}")]
    Command(u8),
    /// An address family and protocol that are not TCP over IP.
    #[error("unknown address family and protocol {0:#04x}")]
    Family(u8),
    /// More than is accepted.
    #[error("a header of {0} bytes is longer than {HEADER_BYTES_MAX}")]
    TooLong(usize),
    /// The parts do not fit in the length that was said.
    #[error("the header's parts do not fit its length")]
    Length,
    /// The source identity is there twice, or is none.
    #[error("the source identity cannot be read")]
    Identity,
    /// Source and destination are of different families.
    #[error("source and destination are of different families")]
    Mixed,
}

impl Header {
    /// Writes the header.
    ///
    /// # Errors
    /// When source and destination are of different families.
    pub fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        let mut body = Vec::new();
        let (command, family) = match self.addresses {
            None => (COMMAND_LOCAL, FAMILY_UNSPECIFIED),
            Some(Addresses { source: SocketAddr::V4(source), destination: SocketAddr::V4(destination) }) => {
                body.extend_from_slice(&source.ip().octets());
                body.extend_from_slice(&destination.ip().octets());
                body.extend_from_slice(&source.port().to_be_bytes());
                body.extend_from_slice(&destination.port().to_be_bytes());
                (COMMAND_PROXY, FAMILY_TCP4)
            }
            Some(Addresses { source: SocketAddr::V6(source), destination: SocketAddr::V6(destination) }) => {
                body.extend_from_slice(&source.ip().octets());
                body.extend_from_slice(&destination.ip().octets());
                body.extend_from_slice(&source.port().to_be_bytes());
                body.extend_from_slice(&destination.port().to_be_bytes());
                (COMMAND_PROXY, FAMILY_TCP6)
            }
            Some(_) => return Err(HeaderError::Mixed),
        };
        if let Some(identity) = &self.identity {
            let text = identity.to_string();
            let length = u16::try_from(text.len()).map_err(|_| HeaderError::TooLong(text.len()))?;
            body.push(TLV_SOURCE_IDENTITY);
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        let length = u16::try_from(body.len()).map_err(|_| HeaderError::TooLong(body.len()))?;
        let mut header = Vec::with_capacity(FIXED_BYTES + body.len());
        header.extend_from_slice(&SIGNATURE);
        header.extend_from_slice(&[VERSION | command, family]);
        header.extend_from_slice(&length.to_be_bytes());
        header.append(&mut body);
        Ok(header)
    }

    /// Reads a header from the front of `bytes`; says how many it took, or `None` when more are needed.
    ///
    /// # Errors
    /// When the bytes cannot become a header, whatever follows.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeaderError> {
        let seen = bytes.len().min(SIGNATURE.len());
        if bytes[..seen] != SIGNATURE[..seen] {
            return Err(HeaderError::Signature);
        }
        let Some((fixed, rest)) = bytes.split_at_checked(FIXED_BYTES) else {
            return Ok(None);
        };
        let (command, family) = (fixed[12], fixed[13]);
        let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        if FIXED_BYTES + length > HEADER_BYTES_MAX {
            return Err(HeaderError::TooLong(FIXED_BYTES + length));
        }
        let proxied = match command {
            0x21 => true,
            0x20 => false,
            other => return Err(HeaderError::Command(other)),
        };
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        // Section 2.2: what a LOCAL header says of addresses must be passed over.
        let header =
            if proxied { read_proxied(family, body)? } else { Self { addresses: None, identity: None } };
        Ok(Some((header, FIXED_BYTES + length)))
    }
}

fn read_proxied(family: u8, body: &[u8]) -> Result<Header, HeaderError> {
    let (source, destination, address_bytes): (IpAddr, IpAddr, usize) = match family {
        FAMILY_TCP4 => {
            let source: [u8; 4] = part(body, 0)?;
            let destination: [u8; 4] = part(body, 4)?;
            (source.into(), destination.into(), 8)
        }
        FAMILY_TCP6 => {
            let source: [u8; 16] = part(body, 0)?;
            let destination: [u8; 16] = part(body, 16)?;
            (source.into(), destination.into(), 32)
        }
        other => return Err(HeaderError::Family(other)),
    };
    let source_port = u16::from_be_bytes(part(body, address_bytes)?);
    let destination_port = u16::from_be_bytes(part(body, address_bytes + 2)?);
    let identity = read_identity(&body[address_bytes + 4..])?;
    let addresses = Addresses {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    };
    Ok(Header { addresses: Some(addresses), identity })
}

/// The identity among the TLVs; those of other types are passed over.
fn read_identity(mut tlvs: &[u8]) -> Result<Option<Identity>, HeaderError> {
    let mut identity = None;
    while !tlvs.is_empty() {
        let [kind, high, low] = part(tlvs, 0)?;
        let end = 3 + usize::from(u16::from_be_bytes([high, low]));
        let value = tlvs.get(3..end).ok_or(HeaderError::Length)?;
        tlvs = &tlvs[end..];
        if kind == TLV_SOURCE_IDENTITY {
            let text = std::str::from_utf8(value).map_err(|_| HeaderError::Identity)?;
            let read: Identity = text.parse().map_err(|_| HeaderError::Identity)?;
            if identity.replace(read).is_some() {
                return Err(HeaderError::Identity);
            }
        }
    }
    Ok(identity)
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], HeaderError> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(HeaderError::Length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(source: &str, destination: &str, identity: Option<&str>) -> Header {
        let address = |text: &str| text.parse().expect("an address");
        Header {
            addresses: Some(Addresses { source: address(source), destination: address(destination) }),
            identity: identity.map(|text| text.parse().expect("an identity")),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let cases = [
            header("10.0.0.1:40000", "10.0.0.2:80", None),
            header("10.0.0.1:40000", "10.0.0.2:80", Some("spiffe://a/ns/b/sa/c")),
            header("[2001:db8::1]:1", "[2001:db8::2]:65535", Some("spiffe://a/b")),
            Header { addresses: None, identity: None },
        ];
        for case in cases {
            let mut bytes = case.encode().expect("one family");
            let whole = bytes.len();
            for end in 0..whole {
                assert_eq!(Header::decode(&bytes[..end]), Ok(None), "{end} of {whole} bytes were enough");
            }
            bytes.extend_from_slice(b"first bytes of the application");
            assert_eq!(Header::decode(&bytes), Ok(Some((case, whole))));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let bytes = header("1.2.3.4:258", "5.6.7.8:772", Some("spiffe://a/b")).encode().expect("one family");
        let expected: &[&[u8]] = &[
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x1b",
            &[1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4],
            b"\xd0\0\x0cspiffe://a/b",
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn families_do_not_mix() {
        assert_eq!(header("1.2.3.4:1", "[::1]:1", None).encode(), Err(HeaderError::Mixed));
    }

    fn raw(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("a short body").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let v4 = [0_u8; 12];
        let with = |tlvs: &[u8]| [&v4[..], tlvs].concat();
        let twice = [&b"\xd0\0\x0cspiffe://a/b"[..], &b"\xd0\0\x0cspiffe://a/b"[..]].concat();
        let cases = [
            (b"GET / HTTP/1.1".to_vec(), HeaderError::Signature),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(), HeaderError::Signature),
            (raw(0x22, FAMILY_TCP4, &v4), HeaderError::Command(0x22)),
            (raw(0x11, FAMILY_TCP4, &v4), HeaderError::Command(0x11)),
            (raw(0x21, 0x12, &v4), HeaderError::Family(0x12)),
            (raw(0x21, FAMILY_UNSPECIFIED, &[]), HeaderError::Family(0)),
            (raw(0x21, FAMILY_TCP4, &v4[..11]), HeaderError::Length),
            (raw(0x21, FAMILY_TCP6, &v4), HeaderError::Length),
            (raw(0x21, FAMILY_TCP4, &with(b"\xd0")), HeaderError::Length),
            (raw(0x21, FAMILY_TCP4, &with(b"\xd0\0\x05abcd")), HeaderError::Length),
            (raw(0x21, FAMILY_TCP4, &with(b"\xd0\0\0")), HeaderError::Identity),
            (raw(0x21, FAMILY_TCP4, &with(b"\xd0\0\x01\xff")), HeaderError::Identity),
            (raw(0x21, FAMILY_TCP4, &with(&twice)), HeaderError::Identity),
        ];
        for (bytes, error) in cases {
            assert_eq!(Header::decode(&bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn other_tlvs_and_the_body_of_a_local_header_are_passed_over() {
        let body = [&[0_u8; 12][..], b"\x04\0\x02xx\xd0\0\x0cspiffe://a/b\xd1\0\0"].concat();
        let (read, taken) = Header::decode(&raw(0x21, FAMILY_TCP4, &body)).expect("a header").expect("whole");
        assert_eq!(
            (read.identity.map(|found| found.to_string()), taken),
            (Some("spiffe://a/b".into()), 16 + body.len())
        );
        let local = Header::decode(&raw(0x20, 0xff, b"anything"));
        assert_eq!(local, Ok(Some((Header { addresses: None, identity: None }, 24))));
    }

    #[test]
    fn the_longest_header_has_its_bound() {
        let filler = |length: usize| {
            let value = u16::try_from(length - 15).expect("short").to_be_bytes();
            [&[0_u8; 12][..], &[4], &value, &vec![0; length - 15]].concat()
        };
        let longest = HEADER_BYTES_MAX - FIXED_BYTES;
        assert!(matches!(Header::decode(&raw(0x21, FAMILY_TCP4, &filler(longest))), Ok(Some(_))));
        let error = HeaderError::TooLong(HEADER_BYTES_MAX + 1);
        assert_eq!(Header::decode(&raw(0x21, FAMILY_TCP4, &filler(longest + 1))), Err(error));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), body in prop::collection::vec(any::<u8>(), 0..64), family: u8) {
            let _ = Header::decode(&bytes);
            let _ = Header::decode(&raw(0x21, family, &body));
            let _ = Header::decode(&raw(0x21, FAMILY_TCP4, &body));
        }

        #[test]
        fn every_pair_of_addresses_reads_back(source: [u8; 4], destination: [u8; 4], ports: (u16, u16)) {
            let header = Header {
                addresses: Some(Addresses { source: (source, ports.0).into(), destination: (destination, ports.1).into() }),
                identity: None,
            };
            let bytes = header.encode().expect("one family");
            prop_assert_eq!(Header::decode(&bytes), Ok(Some((header, bytes.len()))));
        }
    }
}
