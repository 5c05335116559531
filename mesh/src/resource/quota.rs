//! Quotas: how much may be used.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Millis, Mode, TextMatch};
use crate::{identity::Identity, names::ObjectName};

/// One QuotaPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// The object.
    pub name: ObjectName,
    /// Whether it decides or only reports.
    pub mode: Mode,
    /// Set: the object cannot be realised, and refuses, for this reason.
    pub broken: Option<Arc<str>>,
    /// The limits; all apply.
    pub limits: Vec<QuotaLimit>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaLimit {
    /// Its name, unique in the quota.
    pub name: Arc<str>,
    /// Who shares one allowance.
    pub per: QuotaKey,
    /// How long an allowance lasts; it begins with its first use. At most a day.
    pub window: Millis,
    /// How much.
    pub most: Allowance,
    /// Only calls of models that match one of these, by the provider's own name; absent: all.
    pub models: Option<Vec<TextMatch>>,
}

/// Who shares one allowance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum QuotaKey {
    /// Everybody together.
    Everyone,
    /// Each identity of a workload has its own; those that are not proven share one.
    Identity,
    /// Each verified user has its own; requests without one share one.
    User,
    /// Each value of a label of service accounts has its own; identities without it share one.
    Label {
        /// The label.
        label: Arc<str>,
        /// The values, by identity, as the control plane knows them.
        values: BTreeMap<Identity, Arc<str>>,
    },
}

/// How much of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Allowance {
    /// Requests.
    Requests(u64),
    /// Tokens of models, in and out. A request is admitted only when its estimate with this margin, in percent, and
    /// its output limit are left.
    Tokens {
        /// How many.
        most: u64,
        /// What is added to the estimate of a prompt, in percent.
        margin: u8,
        /// The output limit that a request gets which names none.
        default_output: u32,
    },
}
