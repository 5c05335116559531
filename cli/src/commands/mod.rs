//! One file for each verb.

pub(crate) mod audit;
pub(crate) mod can;
pub(crate) mod check;
pub(crate) mod denied;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod link;
pub(crate) mod mcp;
pub(crate) mod proxy;
pub(crate) mod revoke;
pub(crate) mod root;
pub(crate) mod run;
pub(crate) mod token;
pub(crate) mod trace;
