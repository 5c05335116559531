//! Puts the control plane together: watch, admit, translate, publish; and everything beside that.
//!
//! It decides nothing; `world` is the one task that turns what happens into what is published.

mod exporting;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use api::Input;
use arc_swap::ArcSwap;
use bytes::Bytes;
use identity::Keeper;
use mesh::Identity;
use runtime::{Admin, DrainWatch, Metrics, Readiness};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tonic::service::Routes;
use translate::Translator;
use transport::{
    Address, Credentials as _, Listener,
    tls::{Alpn, ServerTls, server::ClientCertificates},
};
use wire::{export::Exports, publish::Publisher, report::ReportsService};

use crate::{
    admin,
    commands::{Command, Commands},
    config::Config,
    links::Links,
    past::PastFile,
    reports::Reports,
    roll::{Members, Roll},
    root::{self, Rotation},
    scopes::ClusterScopes,
    serve::{self, Services},
    serving::Serving,
    status::{self, Statuses},
    tokens::{Bearers, Tokens},
    trust::{self, InProcess, Recording, Signer},
    watch as files,
};
use exporting::Readers;
use world::World;

/// How long the control plane's own certificate may take at the start.
const OWN_CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(10);
/// The file that says where a running control plane is.
const RUNNING_FILE: &str = "controlplane.json";

/// Where a running control plane is, as it is written into its state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its admin page.
    pub admin: SocketAddr,
    /// Where proxies connect.
    pub address: SocketAddr,
    /// The cluster's name.
    pub cluster: String,
    /// The trust domain.
    pub trust_domain: String,
}

/// A control plane that serves.
pub struct ControlPlane {
    running: Running,
    tokens: Tokens,
    readiness: Readiness,
    world: World,
    drain: DrainWatch,
}

impl ControlPlane {
    /// Reads everything, listens, and serves from now on.
    ///
    /// # Errors
    /// When the state directory, the files or an address cannot be used.
    pub async fn start(config: Config, drain: DrainWatch) -> anyhow::Result<Self> {
        start(config, drain).await
    }

    /// Where it is.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Its tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Which programs the cluster needs, now and after each change.
    pub fn members(&self) -> watch::Receiver<Members> {
        self.world.roll.follow()
    }

    /// Whether it is ready.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Follows the files, the links and the proxies until the drain closes.
    pub async fn run(self) {
        let drain = self.drain.clone();
        drain.run(self.world.run()).await;
    }
}

/// Runs a control plane until the drain closes.
///
/// # Errors
/// As [`ControlPlane::start`].
pub async fn run(config: Config, drain: DrainWatch) -> anyhow::Result<()> {
    ControlPlane::start(config, drain).await?.run().await;
    Ok(())
}

async fn start(config: Config, drain: DrainWatch) -> anyhow::Result<ControlPlane> {
    runtime::sealed::private_directory(&config.state).context("cannot use the state directory")?;
    let (commands, given) = Commands::new();
    let parts = Parts::make(&config, commands, &drain).await?;
    let mut world = parts.world(&config, given).await?;
    world.begin();
    let problems = Arc::clone(&world.problems);
    let address = parts.serve_proxies(&config, &drain)?;
    let readiness = Readiness::new();
    readiness.part("world", "reading").ready();
    let admin = parts.serve_pages(&config, problems, &readiness, &drain)?;
    let running = Running {
        admin,
        address,
        cluster: config.cluster.clone(),
        trust_domain: config.trust_domain.to_string(),
    };
    write_running(&config.state, &running)?;
    tracing::info!(%address, %admin, cluster = config.cluster, "the control plane serves");
    Ok(ControlPlane { running, tokens: parts.bearers.tokens, readiness, world, drain })
}

/// What the rooms of a control plane share.
struct Parts {
    bearers: Bearers,
    own: Identity,
    signer: Arc<Signer>,
    rotation: Rotation,
    keeper: Keeper,
    recording: Recording,
    serving: Serving,
    publisher: Publisher,
    exports: Exports,
    readers: Readers,
    reports: Reports,
    statuses: Statuses,
    links: Links,
    commands: Commands,
    compiler: files::Compiler,
}

impl Parts {
    /// Opens the state, and has the control plane's own certificate signed.
    async fn make(config: &Config, commands: Commands, drain: &DrainWatch) -> anyhow::Result<Self> {
        let bearers = Bearers {
            tokens: Tokens::open(&config.state.join("tokens"), trust::random)?,
            roll: Roll::default(),
            trust_domain: config.trust_domain.clone(),
        };
        let rotation = Rotation::open(&config.state, &config.trust_domain)?;
        let signer =
            trust::authority(rotation.roots(), bearers.clone(), bearers.roll.clone(), config.leaf_lifetime);
        let own = trust::own_identity(&config.trust_domain)?;
        let keeper = trust::keeper(&own, trust::believed(&signer, &config.trust_domain, &BTreeMap::new()));
        let (renewing, issuer, watch) = (keeper.clone(), InProcess(Arc::clone(&signer)), drain.clone());
        tokio::spawn(async move { renewing.run(issuer, watch).await });
        let credential = tokio::time::timeout(OWN_CERTIFICATE_TIMEOUT, keeper.wait(&own)).await;
        credential.context("the control plane's own certificate was not signed in time")??;
        let serving = Serving::default();
        let epoch: String = trust::random::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        let publisher = Publisher::new(epoch, Arc::new(ClusterScopes), Arc::new(serving.clone()));
        let (told, roll) = (publisher.clone(), bearers.roll.clone());
        let applied = Arc::new(move |of: &mesh::TrustDomain| root::applied(&told, &roll, of));
        Ok(Self {
            links: Links::new(&config.state, own.clone(), keeper.clone(), applied)?,
            publisher,
            rotation,
            recording: Recording::new(Arc::clone(&signer)),
            exports: Exports::new(),
            readers: Readers::default(),
            reports: Reports::new(SystemTime::now),
            statuses: Statuses::open(&config.state),
            commands,
            compiler: Arc::new(|text| expr::compile(text).map(|_| ()).map_err(|error| error.to_string())),
            bearers,
            own,
            signer,
            keeper,
            serving,
        })
    }

    /// Begins to watch the files; the World holds nothing yet but its past.
    async fn world(&self, config: &Config, commands: mpsc::Receiver<Command>) -> anyhow::Result<World> {
        let watch_config =
            files::Config { paths: config.files.clone(), accepted: Some(config.state.join("accepted")) };
        let compiler = Arc::clone(&self.compiler);
        let watching =
            tokio::task::spawn_blocking(move || files::Watch::start(watch_config, compiler)).await??;
        let (past_file, past) = PastFile::open(&config.state).context(
            "what was remembered cannot be read; restore it from a backup, or start with a new state directory",
        )?;
        let (translator, _) = Translator::new(config.settings(), past);
        Ok(World {
            inputs: watching.inputs(),
            commands,
            _watching: watching,
            translator,
            past_file,
            trust_domain: config.trust_domain.clone(),
            tokens: self.bearers.tokens.clone(),
            roll: self.bearers.roll.clone(),
            signer: Arc::clone(&self.signer),
            rotation: self.rotation.clone(),
            own: self.own.clone(),
            keeper: self.keeper.clone(),
            publisher: self.publisher.clone(),
            exports: self.exports.clone(),
            readers: self.readers.clone(),
            links: self.links.clone(),
            linked: BTreeMap::new(),
            serving: self.serving.clone(),
            served: BTreeSet::new(),
            statuses: self.statuses.clone(),
            problems: Arc::default(),
            write_statuses: status::writer(
                self.statuses.clone(),
                self.publisher.clone(),
                self.serving.clone(),
            ),
        })
    }

    /// Serves the one port for proxies and linked clusters.
    fn serve_proxies(&self, config: &Config, drain: &DrainWatch) -> anyhow::Result<SocketAddr> {
        let (listener, address) = listen(config.listen)?;
        let authenticate: Arc<dyn wire::Authenticate> = Arc::new(self.bearers.clone());
        let grpc = Routes::new(self.publisher.service(Arc::clone(&authenticate)))
            .add_service(self.recording.service())
            .add_service(ReportsService::server(authenticate, Arc::new(self.reports.clone())))
            .add_service(self.exports.service(Arc::new(self.readers.clone())));
        let (signer, links) = (Arc::clone(&self.signer), self.links.clone());
        let services = Services {
            grpc,
            bundle: Arc::new(move |peer, query| {
                links.told(peer, query);
                trust::published_bundle(&signer).encode().ok().map(Bytes::from)
            }),
        };
        let tls = server_tls(&self.keeper, &self.own)?;
        tokio::spawn(renew_tls(Arc::clone(&tls), self.keeper.clone(), self.own.clone()));
        tokio::spawn(serve::serve(listener, move || ServerTls::clone(&tls.load()), services, drain.clone()));
        Ok(address)
    }

    /// Serves the pages, and readiness and metrics also by themselves.
    fn serve_pages(
        &self,
        config: &Config,
        problems: Arc<ArcSwap<Input>>,
        readiness: &Readiness,
        drain: &DrainWatch,
    ) -> anyhow::Result<SocketAddr> {
        let metrics = Metrics::new("controlplane", env!("CARGO_PKG_VERSION"));
        metrics.register(|registry| {
            self.signer.metrics().register(registry);
            self.keeper.metrics().register(registry);
        });
        let pages = admin::pages(admin::Shown {
            publisher: self.publisher.clone(),
            statuses: self.statuses.clone(),
            reports: self.reports.clone(),
            links: self.links.clone(),
            recording: self.recording.clone(),
            problems,
            keeper: self.keeper.clone(),
            cluster: config.cluster.clone(),
            trust_domain: config.trust_domain.clone(),
            commands: self.commands.clone(),
            compiler: Arc::clone(&self.compiler),
        });
        let token = admin::make_token(&config.state, trust::random())?;
        let pages = pages.guarded(token).readiness(readiness.clone()).metrics(metrics.clone());
        let (listener, address) = listen(config.admin)?;
        tokio::spawn(admin::serve(listener, Arc::new(pages), drain.clone()));
        for (at, pages) in [
            (config.metrics, Admin::new().metrics(metrics)),
            (config.ready, Admin::new().readiness(readiness.clone())),
        ] {
            if let Some(at) = at {
                tokio::spawn(admin::serve(listen(at)?.0, Arc::new(pages), drain.clone()));
            }
        }
        Ok(address)
    }
}

/// Listens, and says where: port 0 becomes one that is free.
fn listen(at: SocketAddr) -> anyhow::Result<(Listener, SocketAddr)> {
    let listener = Listener::bind(&Address::Tcp(at)).with_context(|| format!("cannot listen at {at}"))?;
    let address = match listener.address() {
        Address::Tcp(address) => *address,
        Address::Unix(_) => at,
    };
    Ok((listener, address))
}

/// Written whole beside its place, so that nobody reads half of it.
fn write_running(state: &std::path::Path, running: &Running) -> anyhow::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let beside = state.join(format!("{RUNNING_FILE}.new"));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(running)?)?;
    std::fs::rename(&beside, state.join(RUNNING_FILE))?;
    Ok(())
}

fn server_tls(keeper: &Keeper, own: &Identity) -> anyhow::Result<Arc<ArcSwap<ServerTls>>> {
    let credential = keeper.current(own)?;
    let tls = ServerTls::new(&credential, ClientCertificates::Optional, Alpn::H2OrHttp1);
    Ok(Arc::new(ArcSwap::from_pointee(tls)))
}

/// Serves with each new certificate, and believes each new bundle.
async fn renew_tls(tls: Arc<ArcSwap<ServerTls>>, keeper: Keeper, own: Identity) {
    let mut changes = keeper.changes();
    while changes.next().await.is_some() {
        if let Ok(credential) = keeper.current(&own) {
            tls.store(Arc::new(ServerTls::new(&credential, ClientCertificates::Optional, Alpn::H2OrHttp1)));
        }
    }
}
