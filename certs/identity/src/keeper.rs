//! Keeps the certificates of the wanted identities: asks, checks, stores, renews, tells, forgets.
//!
//! *Flow*: [`Keeper::run`] is the one task that asks; everybody else reads [`Keeper`] (it is a `Credentials`) and
//! listens to [`Keeper::changes`].
//!
//! *Guarantees*: what is handed out is valid now, of the identity asked for, and believes the bundles that were set
//! last. What ended is told once, so that its holders can close.
//!
//! *Caveats*: until bundles are set, the roots that the authority names are believed, for its own trust domain only:
//! the connection they come by has been proven by the program.

mod change;
mod state;

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use mesh::Identity;
use parking_lot::RwLock;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use runtime::drain::{DrainWatch, Phase};
use tokio::sync::{Notify, broadcast};
use transport::{Bundles, Credential, CredentialError, Credentials, credential::BuildError};

pub use self::change::{Change, What};
use self::state::State;
use crate::{
    answer::{self, Answer, AnswerError},
    fetch::{FetchError, Issuer},
    report::Row,
    request::{CertificateRequest, RequestError},
    schedule,
    store::{Store, Stored},
};

/// Most identities of one program.
pub const IDENTITIES_MAX: usize = 10_000;
/// How many changes wait for a slow listener, who is then told that he missed some.
const CHANGES_WAITING_MAX: usize = 1024;
/// How long it sleeps at most: the clock may be set while it does.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// How a keeper behaves.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// When certificates are asked for.
    pub schedule: schedule::Config,
    /// How long an answer may take.
    pub answer_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { schedule: schedule::Config::default(), answer_timeout: Duration::from_secs(10) }
    }
}

/// Where time and chance come from.
#[derive(Clone)]
pub struct Sources {
    /// Now.
    pub now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Any number, for jitter.
    pub chance: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Sources")
    }
}

/// A listener to changes.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Change>);

impl Changes {
    /// The next change; `None` when the keeper is gone.
    pub async fn next(&mut self) -> Option<Change> {
        match self.0.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Change::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// What a keeper counts.
#[derive(Debug, Clone, Default)]
pub struct KeeperMetrics {
    fetches: Family<ResultLabel, Counter>,
    wanted: Gauge,
    valid: Gauge,
}

impl KeeperMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "strait_certificate_fetches",
            "Certificates asked for, by result",
            self.fetches.clone(),
        );
        registry.register("strait_certificates_wanted", "Identities of this program", self.wanted.clone());
        registry.register(
            "strait_certificates_valid",
            "Identities with a valid certificate",
            self.valid.clone(),
        );
    }
}

/// Why an identity has no new certificate.
#[derive(Debug, thiserror::Error)]
enum FetchFailure {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl FetchFailure {
    fn label(&self) -> &'static str {
        match self {
            Self::Request(_) => "no_request",
            Self::Fetch(FetchError::Token(_)) => "no_token",
            Self::Fetch(FetchError::Silent(_)) => "silent",
            Self::Fetch(_) => "refused",
            Self::Answer(_) => "bad_answer",
            Self::Build(_) => "unusable",
        }
    }
}

/// Keeps certificates. Clones share it.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    sources: Sources,
    store: Option<Store>,
    state: RwLock<State>,
    wake: Notify,
    changes: broadcast::Sender<Change>,
    metrics: KeeperMetrics,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Keeper").field("wanted", &self.shared.metrics.wanted.get()).finish_non_exhaustive()
    }
}

impl Credentials for Keeper {
    fn current(&self, identity: &Identity) -> Result<Arc<Credential>, CredentialError> {
        self.shared.state.read().current(identity, (self.shared.sources.now)())
    }
}

impl Keeper {
    /// A keeper that wants nothing yet. Reads the store, if there is one (blocking).
    pub fn new(config: Config, sources: Sources, store: Option<Store>) -> Self {
        let stored = store.as_ref().map_or_else(Stored::default, Store::read);
        let shared = Shared {
            config,
            sources,
            store,
            state: RwLock::new(State::new(config.schedule, stored)),
            wake: Notify::new(),
            changes: broadcast::Sender::new(CHANGES_WAITING_MAX),
            metrics: KeeperMetrics::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Its metrics, to be registered.
    pub fn metrics(&self) -> &KeeperMetrics {
        &self.shared.metrics
    }

    /// Says which identities are wanted from now on: new ones are taken from the store or asked for, those that are
    /// not in it are forgotten. More than [`IDENTITIES_MAX`] are not taken.
    pub fn set_wanted(&self, wanted: &BTreeSet<Identity>) {
        if wanted.len() > IDENTITIES_MAX {
            tracing::error!(
                wanted = wanted.len(),
                IDENTITIES_MAX,
                "too many identities, the last ones get none"
            );
        }
        let wanted: BTreeSet<&Identity> = wanted.iter().take(IDENTITIES_MAX).collect();
        let now = (self.shared.sources.now)();
        let changes = self.shared.state.write().set_wanted(&wanted, now, &*self.shared.sources.chance);
        self.tell(changes);
        self.shared.wake.notify_one();
    }

    /// Sets whom to believe, by trust domain, as subscribed. Every credential is built anew; one that is not signed by
    /// the first root of its trust domain, which is the one that signs, but by another, is soon asked for anew.
    pub fn set_bundles(&self, bundles: Arc<Bundles>) {
        let now = (self.shared.sources.now)();
        let changes = self.shared.state.write().set_bundles(bundles, now, &*self.shared.sources.chance);
        self.tell(changes);
        self.shared.wake.notify_one();
    }

    /// Asks for a new certificate now, although one is held: the one that is held was revoked.
    pub fn renew(&self, identity: &Identity) {
        self.shared.state.write().renew(identity, (self.shared.sources.now)());
        self.shared.wake.notify_one();
    }

    /// Listens to what changes from now on.
    pub fn changes(&self) -> Changes {
        Changes(self.shared.changes.subscribe())
    }

    /// Waits until there is a valid credential; while somebody waits, the identity is asked for before others. The
    /// caller bounds the wait.
    ///
    /// # Errors
    /// When the identity is not wanted (any more).
    pub async fn wait(&self, identity: &Identity) -> Result<Arc<Credential>, CredentialError> {
        let mut changes = self.changes();
        let _waiting = Waiting::new(&self.shared, identity);
        loop {
            match self.current(identity) {
                Ok(credential) => return Ok(credential),
                Err(unknown @ CredentialError::Unknown(_)) => return Err(unknown),
                Err(_) => {}
            }
            // `self` keeps the sender, so there is always a next one.
            let _ = changes.next().await;
        }
    }

    /// What is held and what is missing, for people.
    pub fn report(&self) -> Vec<Row> {
        self.shared.state.read().report((self.shared.sources.now)())
    }

    /// Asks and renews until the program closes. One task runs this.
    pub async fn run<I: Issuer>(&self, issuer: I, mut drain: DrainWatch) {
        let shared = &*self.shared;
        let mut under_way = FuturesUnordered::new();
        let mut writing = None;
        loop {
            let now = (shared.sources.now)();
            let (start, changes, wake_at) = shared.state.write().step(now);
            self.tell(changes);
            for identity in start {
                under_way.push(fetch(shared, &issuer, identity));
            }
            // A draining process writes no state: its successor does.
            if writing.is_none() && drain.phase() == Phase::Serving {
                writing = self.write_store();
            }
            let sleep =
                wake_at.map_or(SLEEP_MAX, |at| at.duration_since(now).unwrap_or_default().min(SLEEP_MAX));
            tokio::select! {
                Some((identity, result)) = under_way.next() => self.settle(&identity, result),
                () = shared.wake.notified() => {}
                () = tokio::time::sleep(sleep) => {}
                () = written(&mut writing) => {}
                () = drain.closing() => return,
            }
        }
    }

    fn settle(&self, identity: &Identity, result: Result<Fetched, FetchFailure>) {
        let shared = &*self.shared;
        let (now, chance) = ((shared.sources.now)(), (shared.sources.chance)());
        let result = result.and_then(|fetched| {
            let mut state = shared.state.write();
            Ok(state.issued(identity, fetched.request, fetched.answer, chance)?)
        });
        shared.state.write().landed(identity);
        let label = match &result {
            Ok(_) => "issued",
            Err(failure) => failure.label(),
        };
        shared.metrics.fetches.get_or_create(&ResultLabel { result: label }).inc();
        match result {
            Ok(changes) => self.tell(changes),
            Err(failure) => {
                let wait = shared.state.write().failed(identity, failure.to_string(), now, chance);
                tracing::warn!(%identity, cause = %failure, again_in = ?wait, "no certificate");
            }
        }
    }

    fn tell(&self, changes: Vec<Change>) {
        let (wanted, valid) = self.shared.state.read().counts((self.shared.sources.now)());
        self.shared.metrics.wanted.set(i64::try_from(wanted).unwrap_or(i64::MAX));
        self.shared.metrics.valid.set(i64::try_from(valid).unwrap_or(i64::MAX));
        for change in changes {
            if let Change::Identity { identity, what } = &change {
                tracing::info!(%identity, ?what, "certificate");
            }
            // Nobody may be listening.
            let _ = self.shared.changes.send(change);
        }
    }

    /// Starts writing what is kept, if it changed since the last time.
    fn write_store(&self) -> Option<tokio::task::JoinHandle<()>> {
        let store = self.shared.store.clone()?;
        let stored = self.shared.state.write().take_unwritten()?;
        Some(tokio::task::spawn_blocking(move || {
            if let Err(cause) = store.write(&stored) {
                tracing::error!(%cause, "the identities could not be stored; a restart will fetch them anew");
            }
        }))
    }
}

/// Waits for the store to be written, for ever if it is not being written.
async fn written(writing: &mut Option<tokio::task::JoinHandle<()>>) {
    match writing {
        Some(task) => {
            // It does not panic, and if it did, the next write says it all again.
            let _ = task.await;
            *writing = None;
        }
        None => std::future::pending().await,
    }
}

/// A certificate that came and was checked, with the request that it answers.
struct Fetched {
    request: CertificateRequest,
    answer: Answer,
}

async fn fetch<I: Issuer>(
    shared: &Shared,
    issuer: &I,
    identity: Identity,
) -> (Identity, Result<Fetched, FetchFailure>) {
    let timeout = shared.config.answer_timeout;
    let result = async {
        let request = CertificateRequest::new(&identity)?;
        let chain = tokio::time::timeout(timeout, issuer.issue(&request)).await;
        let chain = chain.map_err(|_| FetchError::Silent(timeout))??;
        let bundles = shared.state.read().subscribed_bundles();
        let believed = bundles.as_ref().and_then(|bundles| bundles.get(identity.trust_domain()));
        let answer = answer::read(&chain, &request, believed.map(Vec::as_slice), (shared.sources.now)())?;
        Ok(Fetched { request, answer })
    };
    let result = result.await;
    (identity, result)
}

/// Somebody waits for an identity, while this value lives.
struct Waiting<'a> {
    shared: &'a Shared,
    identity: &'a Identity,
}

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared, identity: &'a Identity) -> Self {
        shared.state.write().waiting(identity, 1);
        Self { shared, identity }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.state.write().waiting(self.identity, -1);
    }
}

#[cfg(test)]
mod tests;
