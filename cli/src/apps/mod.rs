//! The applications of the demo: they speak their protocols and know nothing of the mesh.
//!
//! A server is reached at its delivery (a unix socket or loopback port); an agent reaches others through its
//! workload's explicit proxy. `strait run app …` starts each as a process of its own.

mod agent;
mod door;
mod http;
mod model;
mod proxied;
mod researcher;
mod tools;
mod web;

pub(crate) use agent::{Command as AgentCommand, Options as AgentOptions, run as agent};
pub(crate) use http::ListenAt;
pub(crate) use model::run as model;
pub(crate) use researcher::run as researcher;
pub(crate) use tools::{Offer, run as tools};
pub(crate) use web::run as web;
