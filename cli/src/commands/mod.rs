//! One file for each verb.

pub(crate) mod check;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod link;
pub(crate) mod proxy;
pub(crate) mod run;
pub(crate) mod token;
