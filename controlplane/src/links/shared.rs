//! What a link says and told, shared between all links and those who follow one.

use std::collections::BTreeMap;

use api::link::ClusterLinkSpec;
use mesh::{Identity, TrustDomain};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use transport::tls::SpkiPin;
use wire::export::Exported;

/// What a link says, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) trust_domain: TrustDomain,
    pub(super) endpoint: http::Uri,
    pub(super) pin: SpkiPin,
    pub(super) control_plane: String,
    pub(super) identity: Identity,
}

impl Plan {
    pub(super) fn of(spec: &ClusterLinkSpec) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        Ok(Self {
            trust_domain: spec.trust_domain.as_str().parse().map_err(|error| text(&error))?,
            endpoint: spec.bundle.endpoint.as_str().parse().map_err(|error| text(&error))?,
            pin: spec.bundle.pin.as_str().parse().map_err(|error| text(&error))?,
            control_plane: spec.control_plane.address.as_str().to_owned(),
            identity: spec.control_plane.identity.as_str().parse().map_err(|error| text(&error))?,
        })
    }
}

/// What is known of one link, for people.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct LinkRow {
    pub(super) name: String,
    pub(super) trust_domain: String,
    pub(super) roots: usize,
    pub(super) bundle_fetched: Option<String>,
    pub(super) connected: bool,
    pub(super) services: usize,
    pub(super) problem: Option<String>,
}

#[derive(Default)]
pub(super) struct Shared {
    /// What each link told, until the World has taken it.
    pub(super) told: Mutex<Told>,
    pub(super) rows: Mutex<BTreeMap<String, LinkRow>>,
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct Told {
    pub(super) bundles: BTreeMap<TrustDomain, authority::Bundle>,
    pub(super) exports: BTreeMap<String, (TrustDomain, Vec<Exported>)>,
}
