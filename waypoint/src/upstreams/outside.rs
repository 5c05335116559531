//! Calls to hosts outside the mesh: verified by name, told nothing of who calls.
//!
//! *Flow*: take a kept connection to the host, or resolve its name, look at what it resolves to, connect to that and
//! shake hands; then send. *Guarantees*: plain text is spoken only where the object says so; nobody is connected to
//! whom the guard did not pass ([`super::guarded`]); answers that lead elsewhere are given back as they are and never
//! followed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mesh::{
    names::WorkloadUid,
    resource::{ExternalHost, HostTls},
};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use transport::{
    DialError,
    tls::{Alpn, OutsideConnection, OutsideTls, RootsError, connect_outside},
};

use super::{
    guarded::{self, Resolve},
    pool::{Opened, Unopened},
    speaks::Speaks,
};
use crate::world::Worlds;

/// Sets of roots that are kept in their read form; when there are more, all are read anew.
const ROOTS_KEPT: usize = 64;

/// What is needed to connect to hosts outside.
pub(super) struct Outside {
    worlds: Arc<Worlds>,
    pub(super) resolver: Arc<dyn Resolve>,
    system: OnceCell<Result<OutsideTls, RootsError>>,
    given: Mutex<HashMap<Arc<str>, OutsideTls>>,
}

impl Outside {
    pub(super) fn new(worlds: Arc<Worlds>, resolver: Arc<dyn Resolve>) -> Self {
        Self { worlds, resolver, system: OnceCell::new(), given: Mutex::default() }
    }

    /// Connects to a host.
    pub(super) async fn open(
        &self,
        host: &ExternalHost,
        speaks: Speaks,
        timeout: Duration,
    ) -> Result<Opened<OutsideConnection>, Unopened> {
        let open = async {
            let tls = match &host.tls {
                Some(tls) => Some((self.roots(tls).await?, tls.hostname.as_str())),
                None => None,
            };
            let in_mesh = |address| guarded::in_mesh(&self.worlds.load().snapshot, address);
            let addresses = guarded::addresses(&*self.resolver, host, in_mesh).await?;
            let alpn = match speaks {
                Speaks::Http1 => Alpn::Http1,
                Speaks::Http2 => Alpn::H2,
                Speaks::Either => Alpn::H2OrHttp1,
            };
            let tls = tls.as_ref().map(|(roots, name)| (roots, *name));
            let stream = connect_outside(&addresses, tls, alpn, timeout).await?;
            let spoken = match (&host.tls, speaks) {
                (None, Speaks::Http2) => Speaks::Http2,
                (Some(_), _) if stream.is_h2() => Speaks::Http2,
                (Some(_), Speaks::Http2) => return Err(no_http2(host).into()),
                _ => Speaks::Http1,
            };
            Ok(Opened { stream, speaks: spoken, carrier: None })
        };
        let late = || unresolved(host, std::io::ErrorKind::TimedOut.into());
        tokio::time::timeout(timeout, open).await.unwrap_or_else(|_| Err(late().into()))
    }

    async fn roots(&self, tls: &HostTls) -> Result<OutsideTls, DialError> {
        let unusable = |error: RootsError| DialError::Unresolved {
            host: tls.hostname.to_string(),
            cause: Arc::new(std::io::Error::other(error)),
        };
        let Some(pem) = &tls.roots else {
            let read = || async {
                let read = tokio::task::spawn_blocking(OutsideTls::system).await;
                read.unwrap_or_else(|error| Err(RootsError::System(error.to_string())))
            };
            return self.system.get_or_init(read).await.clone().map_err(unusable);
        };
        if let Some(known) = self.given.lock().get(pem) {
            return Ok(known.clone());
        }
        let read = OutsideTls::with_roots(pem).map_err(unusable)?;
        let mut given = self.given.lock();
        if given.len() >= ROOTS_KEPT {
            given.clear();
        }
        given.insert(Arc::clone(pem), read.clone());
        Ok(read)
    }
}

/// By what name a host outside goes in reports.
pub(super) fn uid_of(host: &ExternalHost) -> WorkloadUid {
    format!("outside//{}:{}", host.host, host.port).into()
}

fn unresolved(host: &ExternalHost, cause: std::io::Error) -> DialError {
    DialError::Unresolved { host: host.host.to_string(), cause: Arc::new(cause) }
}

fn no_http2(host: &ExternalHost) -> DialError {
    unresolved(host, std::io::Error::other("it does not speak HTTP/2, which gRPC needs"))
}
