//! A small kubelet: it runs the pods that the scheduler gave to one node.
//!
//! It watches the pods of its node, makes for each a network namespace (by a CNI chain) and its
//! containers (by runc), keeps them as the pod says, and writes back what is. It lives inside the
//! node's network namespace; files of pods live under the node's root, a folder. It pulls no images:
//! an image is a folder, see [`images`].
//!
//! The rooms, from the ground up: [`config`], [`paths`], [`containers`] and [`registry`] say what
//! there is; [`runc`] and [`shim`] run one container; [`log`], [`probes`] and [`server`] are what
//! others see of it; `pods` decides and holds all together.

pub mod backoff;
pub mod bundle;
pub mod cni;
pub mod config;
pub mod containers;
pub mod env;
pub mod events;
pub mod expand;
pub mod fields;
pub mod images;
mod inotify;
pub mod log;
pub mod netns;
pub mod node;
pub mod objects;
pub mod paths;
mod pidfd;
pub mod pods;
pub mod probes;
mod process;
pub mod quantity;
pub mod registry;
pub mod run;
pub mod runc;
pub mod server;
pub mod services;
pub mod shim;
mod terminal;
pub mod volumes;

pub use config::Config;
pub use run::run;
