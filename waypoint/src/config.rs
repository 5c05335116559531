//! What a waypoint must be told, as plain values.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use mesh::{Identity, TrustDomain, identity::IdentityError, names::ServiceKey};
use runtime::{access_log::Destination, otlp};

use crate::{edge, upstreams, waypoint::Limits};

/// The namespace and account of the control plane.
const CONTROL_PLANE: (&str, &str) = ("strait-system", "controlplane");

/// How a waypoint runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The namespace of its Gateway.
    pub namespace: Arc<str>,
    /// The name of its Gateway, which is also that of its service account.
    pub name: Arc<str>,
    /// The cluster's trust domain.
    pub trust_domain: TrustDomain,
    /// Where the control plane is.
    pub control_plane: SocketAddr,
    /// The file with the cluster's root certificates, PEM.
    pub root: PathBuf,
    /// The file with the join token; read anew for each use.
    pub token_file: PathBuf,
    /// Where the last good state is kept; only this user may read it.
    pub state: PathBuf,
    /// The address of the admin, metrics and readiness ports.
    pub address: IpAddr,
    /// The port to bind for tunnels.
    pub hbone_bind_port: u16,
    /// How the ports of listeners for those outside the mesh are opened.
    pub edge: edge::keep::Config,
    /// Where the access log goes.
    pub access_log: Destination,
    /// Where sampled spans are exported to; none: nowhere.
    pub otlp: Option<otlp::Config>,
    /// For how long certificates are asked for.
    pub certificate_lifetime: Duration,
    /// Bounds of what comes in.
    pub limits: Limits,
    /// Bounds of calls.
    pub upstreams: upstreams::Config,
}

impl Config {
    /// The usual values.
    pub fn new(
        (namespace, name): (&str, &str),
        trust_domain: TrustDomain,
        control_plane: SocketAddr,
        root: PathBuf,
        token_file: PathBuf,
        state: PathBuf,
        address: IpAddr,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            trust_domain,
            control_plane,
            root,
            token_file,
            state,
            address,
            hbone_bind_port: transport::hbone::PORT,
            edge: edge::keep::Config::default(),
            access_log: Destination::default(),
            otlp: None,
            certificate_lifetime: Duration::from_secs(24 * 3600),
            limits: Limits::default(),
            upstreams: upstreams::Config::default(),
        }
    }

    /// Who the waypoint is.
    ///
    /// # Errors
    /// When its namespace or name cannot stand in an identity.
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        Identity::of_service_account(&self.trust_domain, &self.namespace, &self.name)
    }

    /// Who the control plane must be.
    ///
    /// # Errors
    /// Never, in practice: its name is known.
    pub fn control_plane_identity(&self) -> Result<Identity, IdentityError> {
        Identity::of_service_account(&self.trust_domain, CONTROL_PLANE.0, CONTROL_PLANE.1)
    }

    /// What it calls itself towards the control plane.
    pub fn node(&self) -> String {
        format!("gateway/{}/{}", self.namespace, self.name)
    }

    /// The service that its Gateway is.
    pub fn service(&self) -> ServiceKey {
        let hostname = format!("{}.{}.svc.cluster.local", self.name, self.namespace);
        ServiceKey { namespace: Arc::clone(&self.namespace), hostname: hostname.into() }
    }
}
