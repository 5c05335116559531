//! One file for each verb.

pub(crate) mod explain;
pub(crate) mod get;
