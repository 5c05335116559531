//! Follows one link: fetches its bundle again and again, and reads its export stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use identity::Keeper;
use mesh::Identity;
use parking_lot::Mutex;
use tokio::sync::watch;
use transport::{
    Credentials as _, Expected,
    tls::{Alpn, Connector, ConnectorConfig, ServerTrust},
};
use wire::export::{Exported, ImportReceiver, Imports, ImportsConfig};

use super::{
    Applied, bundle,
    kept::Kept,
    shared::{LinkRow, Plan, Shared},
};

/// How often a silent control plane is asked whether it is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Time that it has for the answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for connecting to another control plane.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One link being followed.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) plan: Plan,
    pub(super) own: Identity,
    pub(super) keeper: Keeper,
    pub(super) applied: Applied,
    pub(super) shared: Arc<Shared>,
    pub(super) kept: Arc<Mutex<Kept>>,
}

impl Link {
    pub(super) fn tell_kept(&self, rows: &mut BTreeMap<String, LinkRow>) {
        let kept = self.kept.lock();
        let mut told = self.shared.told.lock();
        if let Some(bundle) = kept.bundle() {
            if let Some(row) = rows.get_mut(&self.name) {
                row.roots = bundle.roots.len();
            }
            told.bundles.insert(self.plan.trust_domain.clone(), bundle);
        }
        if let Some(exports) = kept.exports() {
            told.exports.insert(self.name.clone(), (self.plan.trust_domain.clone(), exports.to_vec()));
        }
        self.shared.changed.notify_one();
    }

    pub(super) async fn run(self) {
        let (bundles, known) = watch::channel(self.kept.lock().bundle());
        let link = Arc::new(self);
        tokio::join!(Arc::clone(&link).refresh(bundles), link.read(known));
    }

    /// Fetches the bundle again and again, as often as it asks for.
    async fn refresh(self: Arc<Self>, bundles: watch::Sender<Option<authority::Bundle>>) {
        let mut backoff = runtime::Backoff::new(backoff());
        loop {
            let held = bundles.borrow().clone();
            let wait = match self.fetch(held.as_ref()).await {
                Ok(bundle) => {
                    backoff.succeeded();
                    let wait = bundle.refresh_hint.clamp(bundle::REFRESH_LEAST, bundle::REFRESH_MOST);
                    self.fetched(&bundle);
                    if held.as_ref() != Some(&bundle) {
                        self.shared
                            .told
                            .lock()
                            .bundles
                            .insert(self.plan.trust_domain.clone(), bundle.clone());
                        self.kept.lock().set_bundle(&bundle);
                        self.shared.changed.notify_one();
                        bundles.send_replace(Some(bundle));
                    }
                    wait
                }
                Err(cause) => {
                    self.problem(format!(
                        "the bundle cannot be fetched from {}: {cause}",
                        self.plan.endpoint
                    ));
                    backoff.failed(rand::random())
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Fetches it, and tells by the way which one our proxies hold: so the other side knows when it may go on with
    /// a rotation. Where it does not believe us (yet), it is asked by nobody.
    async fn fetch(&self, held: Option<&authority::Bundle>) -> Result<authority::Bundle, String> {
        let (endpoint, trust_domain) = (&self.plan.endpoint, &self.plan.trust_domain);
        let applied = held.and_then(|_| (self.applied)(trust_domain));
        if let (Some(applied), Ok(credential)) = (applied, self.keeper.current(&self.own)) {
            let teller = bundle::Teller { credential, applied };
            match bundle::fetch(endpoint, self.trust(held), Some(teller), trust_domain).await {
                Ok(bundle) => return Ok(bundle),
                Err(cause) => {
                    tracing::debug!(link = self.name, cause, "it does not let us tell what we hold")
                }
            }
        }
        bundle::fetch(endpoint, self.trust(held), None, trust_domain).await
    }

    fn trust(&self, held: Option<&authority::Bundle>) -> ServerTrust {
        match held {
            // The pin is for the first time alone.
            None => ServerTrust::Pin { pin: self.plan.pin, trust_domain: self.plan.trust_domain.clone() },
            Some(bundle) => self.trust_by(bundle),
        }
    }

    fn trust_by(&self, bundle: &authority::Bundle) -> ServerTrust {
        ServerTrust::Identity {
            expected: Expected::new([self.plan.identity.clone()]),
            bundles: Arc::new(BTreeMap::from([(self.plan.trust_domain.clone(), bundle.roots.clone())])),
        }
    }

    /// Reads the export stream; begins anew with each bundle and each certificate of ours.
    async fn read(self: Arc<Self>, mut known: watch::Receiver<Option<authority::Bundle>>) {
        let mut changes = self.keeper.changes();
        loop {
            let bundle = known.borrow_and_update().clone();
            let Some(bundle) = bundle else {
                if known.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let reading = async {
                match self.imports(&bundle).await {
                    Ok(imports) => imports.run().await,
                    Err(cause) => {
                        self.problem(cause);
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                () = reading => {}
                gone = known.changed() => if gone.is_err() { return },
                change = changes.next() => if change.is_none() { return },
            }
        }
    }

    async fn imports(self: &Arc<Self>, bundle: &authority::Bundle) -> Result<Imports, String> {
        let credential = self.keeper.current(&self.own).map_err(|error| error.to_string())?;
        let connector = Connector::new(ConnectorConfig {
            trust: self.trust_by(bundle),
            credential: Some(credential),
            alpn: Alpn::H2,
            timeout: CONNECT_TIMEOUT,
        })
        .map_err(|error| error.to_string())?;
        // The connector does TLS whatever the scheme says; https would have tonic look for TLS of its own.
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", self.plan.control_plane))
            .map_err(|error| format!("spec.controlPlane.address: {error}"))?
            // A cluster that falls silent without a reset is noticed, and its exports are no longer "connected".
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect_with_connector_lazy(connector);
        let config = ImportsConfig { backoff: backoff(), chance: rand::random };
        let receiver = Receiver { link: Arc::clone(self) };
        Ok(Imports::new(config, channel, Box::new(receiver)))
    }

    fn fetched(&self, bundle: &authority::Bundle) {
        let now = crate::status::seconds(SystemTime::now());
        self.row(|row| {
            row.roots = bundle.roots.len();
            row.bundle_fetched = Some(crate::status::time_text(now));
            row.problem = None;
        });
    }

    fn problem(&self, problem: String) {
        tracing::warn!(link = self.name, problem, "a link has a problem");
        self.row(|row| row.problem = Some(problem));
    }

    fn row(&self, change: impl FnOnce(&mut LinkRow)) {
        if let Some(row) = self.shared.rows.lock().get_mut(&self.name) {
            change(row);
        }
    }
}

fn backoff() -> runtime::backoff::Config {
    runtime::backoff::Config { first: Duration::from_millis(50), most: Duration::from_secs(10) }
}

/// Hands on what arrives on the export stream.
struct Receiver {
    link: Arc<Link>,
}

impl ImportReceiver for Receiver {
    fn imported(&mut self, all: &BTreeMap<String, Exported>, _: &BTreeSet<String>) {
        let link = &self.link;
        let exports: Vec<Exported> = all.values().take(translate::EXPORTS_MAX).cloned().collect();
        link.row(|row| {
            row.services = exports.iter().filter(|export| matches!(export, Exported::Service(_))).count()
        });
        link.kept.lock().set_exports(&exports);
        link.shared.told.lock().exports.insert(link.name.clone(), (link.plan.trust_domain.clone(), exports));
        link.shared.changed.notify_one();
    }

    fn connected(&mut self, up: Result<(), String>) {
        match up {
            Ok(()) => self.link.row(|row| {
                row.connected = true;
                row.problem = None;
            }),
            Err(cause) => {
                self.link.row(|row| row.connected = false);
                self.link
                    .problem(format!("the export stream of {} ended: {cause}", self.link.plan.control_plane));
            }
        }
    }
}
