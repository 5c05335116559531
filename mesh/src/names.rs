//! Names of things, each a type of its own so that none is taken for another.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($($(#[$doc:meta])* $kind:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $kind(Arc<str>);

        impl $kind {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl<T: AsRef<str>> From<T> for $kind {
            fn from(text: T) -> Self {
                Self(text.as_ref().into())
            }
        }
        impl std::borrow::Borrow<str> for $kind {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $kind {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
        impl fmt::Debug for $kind {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, out)
            }
        }
    )*};
}

name! {
    /// A workload, unique in the mesh: `<cluster>/<group and kind>/<namespace>/<name>`.
    WorkloadUid,
    /// One cluster.
    ClusterName,
    /// A network: addresses are unique inside it and reachable without a gateway.
    Network,
    /// A node, that is one ztunnel.
    NodeName,
    /// A DNS name, lower case, without the last dot.
    Hostname,
    /// A policy set: `<kind>/<namespace>/<name>[:port]`, or a digest for shared workload sets.
    SetName,
    /// The version of an encoded resource: a hash of its canonical bytes.
    Version,
}

/// An object as users name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectName {
    /// The Kubernetes kind, for example `AccessPolicy`.
    pub kind: Arc<str>,
    /// Empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ObjectName {
    /// Names an object; `namespace` is empty for cluster-scoped kinds.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(out, "{}/{}", self.kind, self.name)
        } else {
            write!(out, "{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// A text that is not the name that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {form}")]
pub struct NameError {
    text: String,
    form: &'static str,
}

fn no_name(text: &str, form: &'static str) -> NameError {
    NameError { text: text.to_owned(), form }
}

impl FromStr for ObjectName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        match *parts {
            [kind, name] if !kind.is_empty() && !name.is_empty() => Ok(Self::new(kind, "", name)),
            [kind, namespace, name] if !kind.is_empty() && !namespace.is_empty() && !name.is_empty() => {
                Ok(Self::new(kind, namespace, name))
            }
            _ => Err(no_name(text, "kind/name or kind/namespace/name")),
        }
    }
}

/// A Service in one namespace, by the name that clients dial. The resource name on the wire is `namespace/hostname`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The full name, for example `tools.shop.svc.cluster.local`.
    pub hostname: Hostname,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.namespace, self.hostname)
    }
}

impl FromStr for ServiceKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, hostname))
                if !namespace.is_empty() && !hostname.is_empty() && !hostname.contains('/') =>
            {
                Ok(Self { namespace: namespace.into(), hostname: hostname.into() })
            }
            _ => Err(no_name(text, "namespace/hostname")),
        }
    }
}

/// An address in a network. The resource name on the wire is `network/address`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkAddress {
    /// The network in which the address is meant.
    pub network: Network,
    /// The address.
    pub address: IpAddr,
}

impl fmt::Display for NetworkAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.network, self.address)
    }
}

impl FromStr for NetworkAddress {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = "network/address";
        let (network, address) = text.rsplit_once('/').ok_or_else(|| no_name(text, form))?;
        let address = address.parse().map_err(|_| no_name(text, form))?;
        Ok(Self { network: network.into(), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["AccessPolicy/shop/tools", "ClusterAccessPolicy/no-writes"] {
            assert_eq!(text.parse::<ObjectName>().map(|name| name.to_string()), Ok(text.to_owned()));
        }
        for bad in ["", "a", "a/", "/a", "a//b", "a/b/", "a/b/c/d"] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad:?}");
        }
        let text = "shop/tools.shop.svc.cluster.local";
        assert_eq!(text.parse::<ServiceKey>().map(|key| key.to_string()), Ok(text.to_owned()));
        for bad in ["", "a", "a/", "/a", "a/b/c"] {
            assert!(bad.parse::<ServiceKey>().is_err(), "{bad:?}");
        }
        for text in ["east/10.20.0.1", "east/fd00::1"] {
            assert_eq!(text.parse::<NetworkAddress>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
        for bad in ["", "10.20.0.1", "east/", "east/a"] {
            assert!(bad.parse::<NetworkAddress>().is_err(), "{bad:?}");
        }
    }
}
