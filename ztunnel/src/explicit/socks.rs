//! SOCKS5 (RFC 1928) with user and password (RFC 1929), as bytes. Pure.
//!
//! Each function reads one message from the front of what arrived: `Ok(None)` if more must come.

use std::net::{IpAddr, SocketAddr};

use mesh::{hop::Destination, names::Hostname};

/// The version byte of every message but the password's.
pub(super) const VERSION: u8 = 5;
/// Says that none of the client's methods will do.
pub(super) const NO_METHOD: [u8; 2] = [VERSION, 0xff];
/// Asks for user and password.
pub(super) const SEND_PASSWORD: [u8; 2] = [VERSION, PASSWORD_METHOD];
/// The password is right.
pub(super) const PASSWORD_GOOD: [u8; 2] = [1, 0];
/// The password is wrong.
pub(super) const PASSWORD_BAD: [u8; 2] = [1, 1];

const PASSWORD_METHOD: u8 = 2;

/// Why a message is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SocksError {
    /// Another version.
    #[error("this is not SOCKS5")]
    Version,
    /// BIND, UDP ASSOCIATE or nothing known.
    #[error("only CONNECT is served")]
    Command,
    /// An address of a kind that is not known.
    #[error("the kind of address is not known")]
    AddressType,
    /// A name that is no text, or empty, or port 0.
    #[error("the address cannot be read")]
    Address,
}

/// How a request ended, in the words of RFC 1928, section 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Succeeded = 0,
    Failure = 1,
    NotAllowed = 2,
    HostUnreachable = 4,
    Refused = 5,
    NoSuchCommand = 7,
    NoSuchAddress = 8,
}

impl Reply {
    /// The message. The bound address that it names is none of the client's business.
    pub(super) fn bytes(self) -> [u8; 10] {
        [VERSION, self as u8, 0, 1, 0, 0, 0, 0, 0, 0]
    }
}

/// Something read, and how many bytes it took.
pub(super) type Read<T> = Result<Option<(T, usize)>, SocksError>;

/// The greeting: true if the client can send user and password.
pub(super) fn greeting(bytes: &[u8]) -> Read<bool> {
    version(bytes, VERSION)?;
    let Some((&count, methods)) = bytes.get(1..).and_then(<[u8]>::split_first) else { return Ok(None) };
    Ok(methods
        .get(..usize::from(count))
        .map(|methods| (methods.contains(&PASSWORD_METHOD), 2 + usize::from(count))))
}

/// User and password; the password is what counts.
pub(super) fn password(bytes: &[u8]) -> Read<Vec<u8>> {
    version(bytes, 1)?;
    let Some((_, rest)) = bytes.get(1..).and_then(sized) else { return Ok(None) };
    Ok(sized(rest).map(|(password, rest)| (password.to_vec(), bytes.len() - rest.len())))
}

/// The request.
pub(super) fn request(bytes: &[u8]) -> Read<Destination> {
    version(bytes, VERSION)?;
    let Some((head, rest)) = bytes.split_at_checked(4) else { return Ok(None) };
    if head[1] != 1 {
        return Err(SocksError::Command);
    }
    if head[2] != 0 {
        return Err(SocksError::Address);
    }
    let read = match head[3] {
        1 => rest.split_first_chunk::<4>().map(|(ip, rest)| (Host::Ip(IpAddr::from(*ip)), rest)),
        4 => rest.split_first_chunk::<16>().map(|(ip, rest)| (Host::Ip(IpAddr::from(*ip)), rest)),
        3 => sized(rest).map(|(name, rest)| (Host::Name(name), rest)),
        _ => return Err(SocksError::AddressType),
    };
    let Some((host, rest)) = read else { return Ok(None) };
    let Some((port, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
    let port = u16::from_be_bytes(*port);
    if port == 0 {
        return Err(SocksError::Address);
    }
    let destination = match host {
        Host::Ip(ip) => Destination::Address(SocketAddr::new(ip, port)),
        Host::Name(name) => match std::str::from_utf8(name) {
            Ok(name) if !name.is_empty() => Destination::Name { host: Hostname::from(name), port },
            _ => return Err(SocksError::Address),
        },
    };
    Ok(Some((destination, bytes.len() - rest.len())))
}

enum Host<'a> {
    Ip(IpAddr),
    Name(&'a [u8]),
}

fn version(bytes: &[u8], wanted: u8) -> Result<(), SocksError> {
    match bytes.first() {
        Some(version) if *version != wanted => Err(SocksError::Version),
        _ => Ok(()),
    }
}

/// A length and as many bytes, and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_offers_methods() {
        for (bytes, expected) in [
            (&[][..], Ok(None)),
            (&[5], Ok(None)),
            (&[5, 2, 0], Ok(None)),
            (&[5, 1, 2], Ok(Some((true, 3)))),
            (&[5, 2, 0, 2, 9], Ok(Some((true, 4)))),
            (&[5, 1, 0], Ok(Some((false, 3)))),
            (&[5, 0], Ok(Some((false, 2)))),
            (&[4, 1], Err(SocksError::Version)),
        ] {
            assert_eq!(greeting(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_password_follows_a_user() {
        for (bytes, expected) in [
            (&[][..], Ok(None)),
            (&[1, 1, b'u'], Ok(None)),
            (&[1, 1, b'u', 2, b'p'], Ok(None)),
            (&[1, 1, b'u', 2, b'p', b'q', 5], Ok(Some((b"pq".to_vec(), 6)))),
            (&[1, 0, 0], Ok(Some((Vec::new(), 3)))),
            (&[5, 1], Err(SocksError::Version)),
        ] {
            assert_eq!(password(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_request_names_where_to() {
        let address = |text: &str| Destination::Address(text.parse().expect("the table holds addresses"));
        let name = |host: &str, port| Destination::Name { host: host.into(), port };
        let v6 = [&[5, 1, 0, 4][..], &[0; 15], &[1, 0, 80]].concat();
        for (bytes, expected) in [
            (&[][..], Ok(None)),
            (&[5, 1, 0], Ok(None)),
            (&[5, 1, 0, 1, 10, 20, 0, 1, 0], Ok(None)),
            (&[5, 1, 0, 1, 10, 20, 0, 1, 0, 80, 7], Ok(Some((address("10.20.0.1:80"), 10)))),
            (&v6, Ok(Some((address("[::1]:80"), 22)))),
            (&[5, 1, 0, 3, 2, b'a', b'b', 1, 187], Ok(Some((name("ab", 443), 9)))),
            (&[5, 1, 0, 3, 2, b'a'], Ok(None)),
            (&[5, 1, 0, 3, 0, 1, 187], Err(SocksError::Address)),
            (&[5, 1, 0, 3, 1, 0xff, 1, 187], Err(SocksError::Address)),
            (&[5, 1, 0, 1, 10, 20, 0, 1, 0, 0], Err(SocksError::Address)),
            (&[5, 1, 1, 1, 10, 20, 0, 1, 0, 80], Err(SocksError::Address)),
            (&[5, 2, 0, 1], Err(SocksError::Command)),
            (&[5, 3, 0, 1], Err(SocksError::Command)),
            (&[5, 1, 0, 2], Err(SocksError::AddressType)),
            (&[4, 1, 0, 1], Err(SocksError::Version)),
        ] {
            assert_eq!(request(bytes), expected, "{bytes:?}");
        }
    }
}
