//! Keeps tunnels and opens streams in them.
//!
//! *Flow*: a stream is opened in the tunnel of its key that has room; when none has, one new tunnel is opened, for
//! which everybody who waits for it waits together. *Guarantees*: a stream is carried only by a tunnel whose peer
//! was verified as one of those expected, under a certificate of ours and of theirs that have not ended, against
//! the roots that we believe now. *Caveats*: tunnels live on the runtime that opened them.

mod config;
mod destination;
mod table;

use std::{
    io,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use mesh::names::WorkloadUid;
use parking_lot::Mutex;
use tokio::time::timeout;

pub use config::Config;
pub use destination::{Destination, Inner};
pub use table::Usage;

use crate::{
    credential::{Credential, VerifiedPeer},
    dial::{DialError, Target, dial},
    hbone::{
        ConnectRequest,
        client::{Driver, OpenError, Tunnel, establish},
    },
    socket::Address,
    stream::Stream,
};
use table::{Begin, Key, Now, Place, Table};

/// How often a stream is tried in another tunnel when its tunnel ended under it.
const ATTEMPTS_MAX: usize = 3;

/// Keeps tunnels. A clone is the same pool.
#[derive(Debug, Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    table: Mutex<Table>,
}

/// Opens one tunnel.
type Opening = Pin<Box<dyn Future<Output = Result<(Tunnel, Driver), DialError>> + Send>>;

impl Pool {
    /// An empty pool.
    pub fn new(config: Config) -> Self {
        Self { shared: Arc::new(Shared { config, table: Mutex::default() }) }
    }

    /// Opens a stream in a tunnel to the destination, which is opened first if there is none with room.
    ///
    /// # Errors
    /// When the tunnel cannot be built, its peer is not one of those expected, or the stream is refused.
    pub async fn connect(
        &self,
        to: &Destination,
        credential: &Arc<Credential>,
        request: ConnectRequest,
    ) -> Result<Stream, DialError> {
        let opening = || -> Opening {
            let (to, credential, config) = (to.clone(), credential.clone(), self.shared.config.clone());
            Box::pin(async move { open(&to, &credential, &config).await })
        };
        self.open_stream(&Key::Direct(to.clone()), 1, credential, &request, opening).await
    }

    /// Opens a stream in a tunnel that is itself carried by a stream of a tunnel to a gateway. `outer` is what the
    /// gateway is asked for, `request` what the final peer is. The gateway spreads inner tunnels over endpoints, so
    /// several are kept and the least busy one is taken; until there are as many as the capacity asks for, each new
    /// stream opens one more beside it.
    ///
    /// # Errors
    /// As [`Pool::connect`], for either tunnel; of the inner one as [`DialError::Behind`].
    pub async fn connect_nested(
        &self,
        gateway: &Destination,
        inner: &Inner,
        credential: &Arc<Credential>,
        outer: ConnectRequest,
        request: ConnectRequest,
    ) -> Result<Stream, DialError> {
        let opening = || -> Opening {
            let (pool, gateway, inner) = (self.clone(), gateway.clone(), inner.clone());
            let (credential, outer) = (credential.clone(), outer.clone());
            Box::pin(async move { open_inner(&pool, &gateway, &inner, &credential, outer).await })
        };
        let key = Key::Inner(gateway.clone(), inner.service.clone(), inner.peers.clone());
        let spread = usize::try_from(inner.capacity).unwrap_or(usize::MAX);
        self.open_stream(&key, spread, credential, &request, opening).await
    }

    async fn open_stream(
        &self,
        key: &Key,
        spread: usize,
        credential: &Arc<Credential>,
        request: &ConnectRequest,
        opening: impl Fn() -> Opening + Send,
    ) -> Result<Stream, DialError> {
        let config = &self.shared.config;
        if (config.limits.now)() >= credential.own().not_after {
            return Err(DialError::OwnCertificateEnded);
        }
        let mut lost = io::Error::from(io::ErrorKind::ConnectionAborted);
        for _ in 0..ATTEMPTS_MAX {
            let Place { id, tunnel, slot } = self.place(key, spread, credential, &opening).await?;
            match timeout(config.connect_timeout, tunnel.open(slot, request)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(OpenError::Refused { status, denied })) => {
                    return Err(key.blame(|address| DialError::Refused {
                        address,
                        status: status.as_u16(),
                        denied,
                    }));
                }
                Ok(Err(OpenError::Reset(cause))) => {
                    return Err(key.blame(|address| DialError::Lost { address, cause: Arc::new(cause) }));
                }
                // No byte of the application was sent yet, so asking again does nothing twice.
                Ok(Err(OpenError::Busy(cause))) => lost = cause,
                Ok(Err(OpenError::Gone(cause))) => {
                    self.shared.table.lock().remove(key, id);
                    lost = cause;
                }
                Err(_) => {
                    let waited = config.connect_timeout;
                    return Err(key.blame(|address| DialError::Silent { address, waited }));
                }
            }
        }
        Err(key.blame(|address| DialError::Lost { address, cause: Arc::new(lost) }))
    }

    /// A place in a tunnel of this key.
    async fn place(
        &self,
        key: &Key,
        spread: usize,
        credential: &Arc<Credential>,
        opening: &(impl Fn() -> Opening + Send),
    ) -> Result<Place, DialError> {
        loop {
            let config = &self.shared.config;
            let choice = self.shared.table.lock().choose(key, credential, config, spread);
            if let Some(begin) = choice.begin {
                self.begin(key.clone(), begin, credential.clone(), opening());
            }
            match choice.now {
                Now::Take(place) => return Ok(place),
                Now::Wait(mut opened) => match opened.wait_for(Option::is_some).await.as_deref() {
                    Ok(Some(Err(error))) => return Err(error.clone()),
                    Ok(_) => {}
                    Err(_) => {
                        let cause = Arc::new(io::ErrorKind::ConnectionAborted.into());
                        return Err(key.blame(|address| DialError::Lost { address, cause }));
                    }
                },
                Now::Full(limit) => return Err(DialError::Full { limit }),
            }
        }
    }

    /// Opens a tunnel apart from whoever asked first: the others go on waiting when that one leaves. The task then
    /// moves the tunnel's bytes until it ends.
    fn begin(&self, key: Key, begin: Begin, credential: Arc<Credential>, opening: Opening) {
        // Nobody keeps the pool alive but its users.
        let pool = Arc::downgrade(&self.shared);
        let wait = self.shared.config.connect_timeout;
        let idle = self.shared.config.idle_timeout;
        let mut pending = Pending { pool: pool.clone(), key: key.clone(), begin: Some(begin) };
        tokio::spawn(async move {
            let opened = timeout(wait, opening).await;
            let opened = opened
                .unwrap_or_else(|_| Err(key.blame(|address| DialError::Silent { address, waited: wait })));
            match opened {
                Ok((tunnel, driver)) => {
                    if let Some(id) = pending.opened(tunnel, credential) {
                        keep(&pool, &key, id, driver, idle).await;
                    }
                }
                Err(error) => pending.failed(error),
            }
        });
    }

    /// Takes no new streams into any tunnel that is open now; each ends with its last stream.
    pub fn retire_all(&self) {
        self.shared.table.lock().retire(|_, _| true);
    }

    /// Retires the tunnels of a workload that has gone.
    pub fn retire_source(&self, source: &WorkloadUid) {
        self.shared.table.lock().retire(|key, _| key.destination().source == *source);
    }

    /// Retires the tunnels whose path the predicate names, e.g. of a revoked peer. Streams in them go on: whoever
    /// holds one and must end it, resets it.
    pub fn retire_where(&self, mut concerned: impl FnMut(&Destination, &VerifiedPeer) -> bool) {
        let mut table = self.shared.table.lock();
        table.retire(|key, tunnel| tunnel.path().iter().any(|peer| concerned(key.destination(), peer)));
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        self.shared.table.lock().usage()
    }
}

async fn open(
    to: &Destination,
    credential: &Credential,
    config: &Config,
) -> Result<(Tunnel, Driver), DialError> {
    let address = Address::Tcp(to.address);
    let target = Target { address: address.clone(), from: None, timeout: config.connect_timeout };
    let socket = dial(&target).await?;
    establish(socket.into(), &address, &to.peers, credential, &config.limits).await
}

async fn open_inner(
    pool: &Pool,
    gateway: &Destination,
    inner: &Inner,
    credential: &Arc<Credential>,
    outer: ConnectRequest,
) -> Result<(Tunnel, Driver), DialError> {
    let stream = pool.connect(gateway, credential, outer).await?;
    let address = Address::Tcp(gateway.address);
    establish(stream, &address, &inner.peers, credential, &pool.shared.config.limits)
        .await
        .map_err(|cause| DialError::Behind { service: inner.service.clone(), cause: Box::new(cause) })
}

/// Moves a tunnel's bytes until it ends; takes it out of the pool when it had no streams for a while, after which it
/// ends by itself.
async fn keep(pool: &Weak<Shared>, key: &Key, id: u64, mut driver: Driver, idle: Duration) {
    let mut opened_before = None;
    loop {
        match timeout(idle, &mut driver).await {
            Ok(ended) => {
                tracing::debug!(?ended, "a tunnel ended");
                break;
            }
            Err(_) => {
                let Some(pool) = pool.upgrade() else { continue };
                opened_before = pool.table.lock().remove_idle(key, id, opened_before);
            }
        }
    }
    if let Some(pool) = pool.upgrade() {
        pool.table.lock().remove(key, id);
    }
}

/// A tunnel that is being opened: whatever happens to the task, its place in the table does not stay taken.
struct Pending {
    pool: Weak<Shared>,
    key: Key,
    begin: Option<Begin>,
}

impl Pending {
    /// Puts the tunnel in the pool and wakes those who wait; says under which number.
    fn opened(&mut self, tunnel: Tunnel, credential: Arc<Credential>) -> Option<u64> {
        let begin = self.begin.take()?;
        let pool = self.pool.upgrade()?;
        let id = pool.table.lock().opened(&self.key, tunnel, credential);
        begin.tell(Ok(()));
        Some(id)
    }

    fn failed(&mut self, error: DialError) {
        let Some(begin) = self.begin.take() else { return };
        if let Some(pool) = self.pool.upgrade() {
            pool.table.lock().failed(&self.key);
        }
        begin.tell(Err(error));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.begin.take().is_some()
            && let Some(pool) = self.pool.upgrade()
        {
            pool.table.lock().failed(&self.key);
        }
    }
}
