//! What is asked for on demand: an address or a name that is not held.

use std::{fmt, net::IpAddr, str::FromStr};

use mesh::{
    names::{Hostname, NetworkAddress},
    resource::{Absence, Key, Kind},
};

/// Longest text of a want, in bytes: a network's name (253), a slash and an address, or a host name.
pub const WANT_BYTES_MAX: usize = 320;

/// An address or name that a proxy asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Want {
    /// Who has this address.
    Address(NetworkAddress),
    /// Which services have this name.
    Name(Hostname),
}

impl Want {
    /// The answer that it is not in the mesh.
    pub fn absence(&self) -> Absence {
        match self {
            Self::Address(address) => Absence::Address(address.clone()),
            Self::Name(name) => Absence::Name(name.clone()),
        }
    }

    /// The key of that answer.
    pub fn absence_key(&self) -> Key {
        Key::new(Kind::Absence, self)
    }
}

impl fmt::Display for Want {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Name(name) => name.fmt(out),
        }
    }
}

/// Why a text is no want.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither network/address nor a host name in lower case of at most {WANT_BYTES_MAX} bytes")]
pub struct WantError(pub String);

impl FromStr for Want {
    type Err = WantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || WantError(text.chars().take(WANT_BYTES_MAX).collect());
        if text.is_empty() || text.len() > WANT_BYTES_MAX {
            return Err(refused());
        }
        if let Some((network, address)) = text.split_once('/') {
            let parsed: IpAddr = address.parse().map_err(|_| refused())?;
            // One address has one text, so that the answer has the name that was asked for.
            if network.is_empty() || parsed.to_string() != address {
                return Err(refused());
            }
            return Ok(Self::Address(NetworkAddress { network: network.into(), address: parsed }));
        }
        let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        if text.bytes().all(legal) && !text.ends_with('.') {
            Ok(Self::Name(text.into()))
        } else {
            Err(refused())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_is_an_address_in_a_network_or_a_name() {
        for good in ["east/10.20.0.5", "east/fd00::1", "tools.shop.svc.cluster.local", "toolbox"] {
            assert_eq!(good.parse::<Want>().map(|want| want.to_string()), Ok(good.to_owned()));
        }
        for bad in
            ["", "*", "/10.0.0.1", "east/", "east/10.0.0", "east/FD00::1", "Tools", "a.", "a b", "a/b/c"]
        {
            assert!(bad.parse::<Want>().is_err(), "{bad:?} was accepted");
        }
        let longest = "a".repeat(WANT_BYTES_MAX);
        assert!(longest.parse::<Want>().is_ok());
        assert!(format!("{longest}a").parse::<Want>().is_err());
    }
}
