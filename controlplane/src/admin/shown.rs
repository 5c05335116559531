//! What the pages read.

use std::sync::Arc;

use api::Input;
use arc_swap::ArcSwap;
use identity::Keeper;
use mesh::TrustDomain;
use wire::publish::Publisher;

use crate::{
    commands::Commands, links::Links, reports::Reports, status::Statuses, trust::Recording, watch::Compiler,
};

/// What the pages read.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) publisher: Publisher,
    pub(crate) statuses: Statuses,
    pub(crate) reports: Reports,
    pub(crate) links: Links,
    pub(crate) recording: Recording,
    pub(crate) problems: Arc<ArcSwap<Input>>,
    pub(crate) keeper: Keeper,
    pub(crate) cluster: String,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) commands: Commands,
    pub(crate) compiler: Compiler,
}
