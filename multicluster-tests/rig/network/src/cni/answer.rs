//! What the plugin says: results, versions and errors, in the specification's JSON.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::attach::{Attachment, GATEWAY, Macs};
use super::config::VERSIONS;
use crate::netlink::Mac;

/// An error as the specification has it: a code that runtimes know, and a sentence for people.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (CNI error {code})")]
pub struct CniError {
    code: u32,
    message: String,
}

impl CniError {
    /// The configuration's version is not spoken here.
    pub(super) fn version(message: String) -> CniError {
        CniError { code: 1, message }
    }

    /// The container is not known.
    pub(super) fn unknown(message: String) -> CniError {
        CniError { code: 3, message }
    }

    /// A variable is missing or malformed.
    pub(super) fn environment(message: String) -> CniError {
        CniError { code: 4, message }
    }

    /// The configuration cannot be read.
    pub(super) fn decode(message: String) -> CniError {
        CniError { code: 6, message }
    }

    /// The configuration is wrong.
    pub(super) fn config(message: String) -> CniError {
        CniError { code: 7, message }
    }

    /// A file or the kernel refuses.
    pub(super) fn failed(act: &str, cause: impl std::fmt::Display) -> CniError {
        CniError { code: 5, message: format!("{act}: {cause}") }
    }

    /// No more pods for now.
    pub(super) fn full(message: String) -> CniError {
        CniError { code: 50, message }
    }

    /// An attachment is not as it was made.
    pub(super) fn broken(message: String) -> CniError {
        CniError { code: 100, message }
    }

    /// The specification's form.
    pub fn json(&self) -> Value {
        json!({ "cniVersion": VERSIONS[0], "code": self.code, "msg": self.message })
    }
}

pub(super) fn versions(asked: &str) -> Value {
    json!({ "cniVersion": asked, "supportedVersions": VERSIONS })
}

pub(super) fn attached(version: &str, attachment: &Attachment, address: Ipv4Addr, macs: &Macs) -> Value {
    json!({
        "cniVersion": version,
        "interfaces": [
            { "name": attachment.link(), "mac": mac(macs.node) },
            { "name": attachment.interface, "mac": mac(macs.pod), "sandbox": attachment.namespace },
        ],
        "ips": [{ "interface": 1, "address": format!("{address}/32"), "gateway": GATEWAY }],
        "routes": [{ "dst": "0.0.0.0/0", "gw": GATEWAY }],
        "dns": {},
    })
}

fn mac(bytes: Mac) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
