//! World to resources and statuses: what every proxy must know, from what users wrote.
//!
//! Pure: it knows the vocabulary of `mesh` and the kinds of `api`; no clock, no client, no wire. It recomputes
//! only what an edit touches, found by what each computation read.

mod access;
mod addresses;
mod attach;
mod backing;
mod binding;
mod compute;
mod content;
mod exports;
mod facts;
mod labels;
mod link;
mod made;
mod names;
mod ports;
mod protocol;
mod reader;
mod references;
mod secrets;
mod sets;
mod settings;
mod status;
mod translator;
mod upstream;
mod vouchers;
mod world;

pub use addresses::Owner;
pub use exports::{EXPORTS_MAX, ExportedName, ExportedPort, ExportedService, ServedBy, clusterset_hostname};
pub use made::Exports;
pub use names::workload_uid;
pub use settings::{Access, PROXY_PORT, Settings, TUNNEL_PORT, Tunnels};
pub use status::{
    Ancestor, Condition, ConditionKind, ListenerStatus, Parent, Reference, RouteKind, Status, Truth,
};
pub use translator::{Difference, Output, Translator};
pub use world::{Bundle, Edit, Mark, Past, Since, World};
