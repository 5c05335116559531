//! The guard of what leaves the mesh: a name is resolved, what it resolves to is looked at, and exactly that is
//! connected to.
//!
//! Names of hosts outside are in other people's hands, and so is what they resolve to. Nothing but public addresses
//! passes, unless the object that names the host says that it is private; addresses of the mesh never do: to them
//! there is a proven way.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use exchange::BoxFuture;
use mesh::{
    Denial, Reason,
    outside::{Standing, standing},
    resource::ExternalHost,
    snapshot::Snapshot,
};
use tokio::sync::Semaphore;
use transport::DialError;

use super::pool::Unopened;

/// Names that are resolved at once; more wait.
pub const RESOLUTIONS_MAX: usize = 32;
/// Time for one resolution, waiting included.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Says which addresses a name has.
pub trait Resolve: Send + Sync {
    /// The addresses of a name, or the one that it is.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, Result<Vec<SocketAddr>, DialError>>;
}

/// Asks the system.
#[derive(Debug)]
pub struct SystemResolver {
    room: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(RESOLUTIONS_MAX)) }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, Result<Vec<SocketAddr>, DialError>> {
        Box::pin(async move {
            let late = |_| DialError::Unresolved {
                host: host.to_owned(),
                cause: Arc::new(std::io::ErrorKind::TimedOut.into()),
            };
            let permit = tokio::time::timeout(RESOLVE_TIMEOUT, self.room.acquire()).await.map_err(late)?;
            let found = transport::dial::resolve(host, port, RESOLVE_TIMEOUT).await;
            drop(permit);
            found
        })
    }
}

/// The addresses at which a host may be connected to.
///
/// # Errors
/// When it has none.
pub async fn addresses(
    resolver: &dyn Resolve,
    host: &ExternalHost,
    in_mesh: impl Fn(IpAddr) -> bool,
) -> Result<Vec<SocketAddr>, Unopened> {
    let found = resolver.resolve(host.host.as_str(), host.port).await?;
    let mut passed = Vec::new();
    let mut refused = None;
    for address in found {
        // The form in which it is judged is the form in which it is dialled.
        let address = SocketAddr::new(address.ip().to_canonical(), host.port);
        match judge(host, address.ip(), &in_mesh) {
            Ok(()) => passed.push(address),
            Err(text) => refused = Some(text),
        }
    }
    match refused {
        Some(text) if passed.is_empty() => {
            Err(Unopened::Refused(Denial::plain(Reason::PrivateAddress, text)))
        }
        _ => Ok(passed),
    }
}

fn judge(host: &ExternalHost, address: IpAddr, in_mesh: &impl Fn(IpAddr) -> bool) -> Result<(), String> {
    let host_name = &host.host;
    if in_mesh(address) {
        return Err(format!("{host_name} resolves to {address}, which is inside the mesh"));
    }
    match standing(address) {
        Standing::Public => Ok(()),
        Standing::Private if host.private => Ok(()),
        Standing::Private => Err(format!("{host_name} resolves to {address}, which is not public")),
        Standing::Nobody => Err(format!("{host_name} resolves to {address}, which is no host's")),
    }
}

/// True if an address is one of the mesh.
pub fn in_mesh(snapshot: &Snapshot, address: IpAddr) -> bool {
    snapshot.ranges().any(|ranges| ranges.addresses.iter().any(|range| range.contains(&address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(Vec<&'static str>);

    impl Resolve for Says {
        fn resolve<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, Result<Vec<SocketAddr>, DialError>> {
            let addresses = self.0.iter().map(|it| SocketAddr::new(it.parse().unwrap(), port)).collect();
            Box::pin(std::future::ready(Ok(addresses)))
        }
    }

    #[tokio::test]
    async fn attack_ssrf_only_what_may_be_connected_to_passes() {
        let in_mesh = |address: IpAddr| address.to_string().starts_with("10.20.");
        for (private, says, expected) in [
            (false, vec!["8.8.8.8"], Some(vec!["8.8.8.8:443"])),
            (false, vec!["127.0.0.1"], None),
            (false, vec!["169.254.169.254"], None),
            (false, vec!["::ffff:10.0.0.1"], None),
            (false, vec!["10.0.0.1", "8.8.8.8"], Some(vec!["8.8.8.8:443"])),
            (false, vec!["::ffff:8.8.8.8"], Some(vec!["8.8.8.8:443"])),
            (true, vec!["127.0.0.1"], Some(vec!["127.0.0.1:443"])),
            (true, vec!["0.0.0.0"], None),
            (true, vec!["224.0.0.1"], None),
            (true, vec!["10.20.0.1"], None),
            (true, vec!["::ffff:10.20.0.1"], None),
            (true, vec!["10.21.0.1"], Some(vec!["10.21.0.1:443"])),
        ] {
            let host = ExternalHost { host: "api.example".into(), port: 443, tls: None, private };
            let passed = addresses(&Says(says.clone()), &host, in_mesh).await;
            match (passed, expected) {
                (Ok(passed), Some(expected)) => {
                    let passed: Vec<String> = passed.iter().map(ToString::to_string).collect();
                    assert_eq!(passed, expected, "{says:?}");
                }
                (Err(Unopened::Refused(denial)), None) => {
                    assert_eq!(denial.reason, Reason::PrivateAddress, "{says:?}");
                }
                (passed, _) => panic!("{says:?}: {passed:?}"),
            }
        }
    }
}
