//! Puts the control plane together: watch, admit, translate, publish; and everything beside that.
//!
//! One task owns the World. Whatever happens (an edit, a link, a gateway that connects) becomes edits; what
//! follows is published at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use api::{Admitted, Input, Kind, Name, Object};
use arc_swap::ArcSwap;
use bytes::Bytes;
use identity::Keeper;
use mesh::{Identity, TrustDomain, resource::Resource};
use runtime::{DrainWatch, Metrics, Readiness};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tonic::service::Routes;
use translate::{Difference, Edit, Translator};
use transport::{
    Address, Credentials as _, Listener,
    tls::{Alpn, ServerTls, server::ClientCertificates},
};
use wire::{
    Caller,
    export::{Exported, ExportedPort, ExportedService, Exports, ServedBy},
    publish::{self, Publisher},
    report::ReportsService,
};

use crate::{
    admin,
    config::Config,
    links::Links,
    past::PastFile,
    reports::Reports,
    roll::{Entries, Members, Roll, is_gateway},
    scopes::ClusterScopes,
    serve::{self, Services},
    serving::Serving,
    status::Statuses,
    tokens::{Bearers, Owner, Tokens},
    trust::{self, InProcess, Recording, Signer},
    watch as files,
};

/// How long the control plane's own certificate may take at the start.
const OWN_CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(10);
/// The file that says where a running control plane is.
const RUNNING_FILE: &str = "controlplane.json";

/// Where a running control plane is, as it is written into its state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its admin page.
    pub admin: std::net::SocketAddr,
    /// Where proxies connect.
    pub address: std::net::SocketAddr,
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
    let tokens = Tokens::open(&config.state.join("tokens"), trust::random)?;
    let roll = Roll::default();
    let bearers =
        Bearers { tokens: tokens.clone(), roll: roll.clone(), trust_domain: config.trust_domain.clone() };
    let root = trust::root(&config.state, &config.trust_domain)?;
    let signer = trust::authority(root, bearers.clone(), roll.clone(), config.leaf_lifetime);
    let own = trust::own_identity(&config.trust_domain)?;
    let keeper = trust::keeper(&own, trust::believed(&signer, &config.trust_domain, &BTreeMap::new()));
    let renewing = keeper.clone();
    tokio::spawn({
        let (issuer, drain) = (InProcess(Arc::clone(&signer)), drain.clone());
        async move { renewing.run(issuer, drain).await }
    });
    let credential = tokio::time::timeout(OWN_CERTIFICATE_TIMEOUT, keeper.wait(&own)).await;
    credential.context("the control plane's own certificate was not signed in time")??;

    let recording = Recording::new(Arc::clone(&signer));
    let serving = Serving::default();
    let epoch: String = trust::random::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
    let publisher = Publisher::new(epoch, Arc::new(ClusterScopes), Arc::new(serving.clone()));
    let exports = Exports::new();
    let readers = Readers::default();
    let reports = Reports::new(SystemTime::now());
    let statuses = Statuses::open(&config.state);
    let links = Links::new(&config.state, own.clone(), keeper.clone())?;
    let watch_config =
        files::Config { paths: config.files.clone(), accepted: Some(config.state.join("accepted")) };
    let compiler: files::Compiler =
        Arc::new(|text| expr::compile(text).map(|_| ()).map_err(|error| error.to_string()));
    let watching = tokio::task::spawn_blocking(move || files::Watch::start(watch_config, compiler)).await??;
    let (past_file, past) = PastFile::open(&config.state).context(
        "what was remembered cannot be read; restore it from a backup, or start with a new state directory",
    )?;
    let (translator, _) = Translator::new(config.settings(), past);

    let inputs = watching.inputs();
    let mut world = World {
        inputs,
        _watching: watching,
        translator,
        past_file,
        trust_domain: config.trust_domain.clone(),
        tokens: tokens.clone(),
        roll,
        signer: Arc::clone(&signer),
        keeper: keeper.clone(),
        publisher: publisher.clone(),
        exports: exports.clone(),
        readers: readers.clone(),
        links: links.clone(),
        linked: BTreeMap::new(),
        serving: serving.clone(),
        served: BTreeSet::new(),
        statuses: statuses.clone(),
        problems: Arc::default(),
        write_statuses: status_writer(statuses.clone(), publisher.clone(), serving.clone()),
    };
    let problems = Arc::clone(&world.problems);
    world.begin();

    let listener = Listener::bind(&Address::Tcp(config.listen))
        .with_context(|| format!("cannot listen at {}", config.listen))?;
    let admin_listener = Listener::bind(&Address::Tcp(config.admin))
        .with_context(|| format!("cannot listen at {}", config.admin))?;
    let address = bound(&listener, config.listen);
    let admin_address = bound(&admin_listener, config.admin);

    let authenticate: Arc<dyn wire::Authenticate> = Arc::new(bearers);
    let grpc = Routes::new(publisher.service(Arc::clone(&authenticate)))
        .add_service(recording.service())
        .add_service(ReportsService::server(authenticate, Arc::new(reports.clone())))
        .add_service(exports.service(Arc::new(readers)));
    let bundle = Arc::clone(&signer);
    let services = Services {
        grpc,
        bundle: Arc::new(move || trust::published_bundle(&bundle).encode().ok().map(Bytes::from)),
    };
    let tls = server_tls(&keeper, &own)?;
    tokio::spawn(renew_tls(Arc::clone(&tls), keeper.clone(), own.clone()));
    tokio::spawn(serve::serve(listener, move || ServerTls::clone(&tls.load()), services, drain.clone()));

    let readiness = Readiness::new();
    readiness.part("world", "reading").ready();
    let metrics = Metrics::new("controlplane", env!("CARGO_PKG_VERSION"));
    metrics.register(|registry| {
        signer.metrics().register(registry);
        keeper.metrics().register(registry);
    });
    let pages = admin::pages(admin::Shown {
        publisher,
        statuses,
        reports,
        links,
        recording,
        problems,
        keeper,
        cluster: config.cluster.clone(),
        trust_domain: config.trust_domain.clone(),
    })
    .readiness(readiness.clone())
    .metrics(metrics.clone());
    tokio::spawn(admin::serve(admin_listener, Arc::new(pages), drain.clone()));
    for (at, pages) in [
        (config.metrics, runtime::Admin::new().metrics(metrics)),
        (config.ready, runtime::Admin::new().readiness(readiness.clone())),
    ] {
        if let Some(at) = at {
            let listener =
                Listener::bind(&Address::Tcp(at)).with_context(|| format!("cannot listen at {at}"))?;
            tokio::spawn(admin::serve(listener, Arc::new(pages), drain.clone()));
        }
    }

    let running = Running {
        admin: admin_address,
        address,
        cluster: config.cluster.clone(),
        trust_domain: config.trust_domain.to_string(),
    };
    write_running(&config.state, &running)?;
    tracing::info!(%address, admin = %admin_address, cluster = config.cluster, "the control plane serves");
    Ok(ControlPlane { running, tokens, readiness, world, drain })
}

fn bound(listener: &Listener, asked: std::net::SocketAddr) -> std::net::SocketAddr {
    match listener.address() {
        Address::Tcp(address) => *address,
        Address::Unix(_) => asked,
    }
}

/// Written whole beside its place, so that nobody reads half of it.
fn write_running(state: &std::path::Path, running: &Running) -> anyhow::Result<()> {
    let beside = state.join(format!("{RUNNING_FILE}.new"));
    std::fs::write(&beside, serde_json::to_vec_pretty(running)?)?;
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

/// Writes statuses on a thread of their own, the latest alone.
fn status_writer(statuses: Statuses, publisher: Publisher, serving: Serving) -> watch::Sender<()> {
    let (sender, mut receiver) = watch::channel(());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = receiver.changed() => if changed.is_err() { return },
                () = serving.refusals() => {}
            }
            let (statuses, publisher) = (statuses.clone(), publisher.clone());
            let written = tokio::task::spawn_blocking(move || statuses.write(&publisher)).await;
            if let Ok(Err(cause)) = written {
                tracing::warn!(%cause, "the statuses cannot be written");
            }
        }
    });
    sender
}

/// Which control plane may read what is exported to which trust domain.
#[derive(Debug, Clone, Default)]
struct Readers {
    by_identity: Arc<ArcSwap<BTreeMap<Identity, TrustDomain>>>,
}

impl wire::export::Links for Readers {
    fn reader(&self, peer: &Identity) -> Option<TrustDomain> {
        self.by_identity.load().get(peer).cloned()
    }
}

/// The one task that owns the World.
struct World {
    inputs: watch::Receiver<Arc<Input>>,
    /// Dropped, it would end the watch.
    _watching: files::Watch,
    translator: Translator,
    past_file: PastFile,
    trust_domain: TrustDomain,
    tokens: Tokens,
    roll: Roll,
    signer: Arc<Signer>,
    keeper: Keeper,
    publisher: Publisher,
    exports: Exports,
    readers: Readers,
    links: Links,
    /// The roots of linked trust domains, as they were fetched.
    linked: BTreeMap<TrustDomain, Vec<Vec<u8>>>,
    serving: Serving,
    /// The gateways that serve, as the World knows it.
    served: BTreeSet<Identity>,
    statuses: Statuses,
    /// What could be laid to no object.
    problems: Arc<ArcSwap<Input>>,
    write_statuses: watch::Sender<()>,
}

impl World {
    /// The first edit is whole: files, our bundle, and what links told last.
    fn begin(&mut self) {
        let input = self.inputs.borrow_and_update().clone();
        let own = translate_own(&self.trust_domain, &self.signer);
        let mut edits = vec![own];
        // Links are followed before anything is published, so that what they told last is in the first update.
        self.links.follow(&specs(&input));
        edits.extend(self.told_by_links());
        edits.extend(self.objects(&input));
        let difference = self.translator.apply(edits);
        self.publish(difference, true);
        self.statuses.keep_only(&self.translator.output().statuses);
        self.follow_links();
    }

    /// Follows the links that count, and believes no trust domain beyond theirs.
    fn follow_links(&mut self) {
        let input = self.problems.load_full();
        let links = self.valid_links(&input);
        self.links.follow(&links);
        let before = self.linked.len();
        self.linked
            .retain(|trust_domain, _| links.values().any(|link| link.trust_domain == *trust_domain.as_str()));
        if self.linked.len() < before {
            self.keeper.set_bundles(trust::believed(&self.signer, &self.trust_domain, &self.linked));
        }
    }

    async fn run(mut self) {
        loop {
            let edits = tokio::select! {
                changed = self.inputs.changed() => match changed {
                    Ok(()) => {
                        let input = self.inputs.borrow_and_update().clone();
                        self.objects(&input)
                    }
                    Err(_) => return,
                },
                () = self.links.changed() => self.told_by_links(),
                () = self.serving.changed() => self.now_serving(),
            };
            let difference = self.translator.apply(edits);
            tracing::debug!(computed = difference.computed, set = difference.set.len(), "translated");
            self.publish(difference, false);
            self.follow_links();
        }
    }

    /// The objects, and the tokens of workloads, nodes and gateways among them.
    fn objects(&mut self, input: &Arc<Input>) -> Vec<Edit> {
        self.problems.store(Arc::clone(input));
        let mut edits = Vec::new();
        for object in input.objects.iter().filter_map(Admitted::object) {
            match object.as_ref() {
                Object::MeshWorkload(workload) => {
                    let name = object.name();
                    let owner = Owner::Workload(name.namespace.clone(), name.name.clone());
                    match self.tokens.hash(&owner) {
                        Ok(hash) => edits.push(Edit::Token(name, hash.into())),
                        // Without a token there is no explicit proxy.
                        Err(cause) => tracing::warn!(%cause, "a workload has no token"),
                    }
                    self.make_token(&Owner::Node(workload.spec.node.as_str().to_owned()));
                }
                _ => {}
            }
        }
        edits.push(Edit::Objects(input.objects.clone()));
        edits
    }

    fn make_token(&self, owner: &Owner) {
        // Asked by hash, which is known after the first time.
        if let Err(cause) = self.tokens.hash(owner) {
            tracing::warn!(%cause, "there is no token for {owner}");
        }
    }

    fn told_by_links(&mut self) -> Vec<Edit> {
        let (edits, roots) = self.links.take();
        if !roots.is_empty() {
            self.linked.extend(roots);
            self.keeper.set_bundles(trust::believed(&self.signer, &self.trust_domain, &self.linked));
        }
        edits
    }

    fn now_serving(&mut self) -> Vec<Edit> {
        let now = self.serving.now();
        let name = |identity: &Identity| {
            let (namespace, name) = identity.kubernetes()?;
            Some(Name::new(Kind::Gateway, namespace, name))
        };
        let came = now.difference(&self.served).filter_map(name).map(|name| Edit::Serving(name, true));
        let went = self.served.difference(&now).filter_map(name).map(|name| Edit::Serving(name, false));
        let edits = came.chain(went).collect();
        self.served = now;
        edits
    }

    /// The links that count: those of which something is exported, be it nothing.
    fn valid_links<'i>(&self, input: &'i Input) -> BTreeMap<String, &'i api::link::ClusterLinkSpec> {
        let mut links = specs(input);
        let valid = &self.translator.output().exports;
        links.retain(|name, _| valid.contains_key(name.as_str()));
        links
    }

    fn publish(&mut self, difference: Difference, first: bool) {
        let now = SystemTime::now();
        // Remembered before it is in force: a crash in between must not forget a binding that was told.
        self.past_file.keep(self.translator.world().past());
        let workloads_changed = first || difference.touches_workloads();
        if workloads_changed {
            self.enroll();
        }
        let edits: Vec<publish::Edit> = match first {
            // What followed from the past alone is part of no difference.
            true => self.translator.output().resources.values().cloned().map(publish::Edit::Set).collect(),
            false => {
                let removed = difference.removed.iter().cloned().map(publish::Edit::Remove);
                difference.set.into_iter().map(publish::Edit::Set).chain(removed).collect()
            }
        };
        let revocations = edits.iter().any(|edit| edit.key().kind == mesh::resource::Kind::Revocation);
        if first || !edits.is_empty() {
            for rejected in self.publisher.update(edits, None) {
                tracing::error!(key = %rejected.key, reason = rejected.reason, "a resource cannot be published");
            }
        }
        if first || revocations || !difference.exports.is_empty() {
            self.export(&difference.exports);
        }
        if first || !difference.statuses.is_empty() {
            self.statuses.update(&difference.statuses, now);
            self.write_statuses.send_replace(());
        }
    }

    /// Says who exists now. A gateway that is gone loses its streams.
    fn enroll(&self) {
        let resources = self.translator.output().resources.values();
        let workloads = resources.filter_map(|resource| match resource {
            Resource::Workload(workload) => Some(workload.as_ref()),
            _ => None,
        });
        let workloads: Vec<_> = workloads.collect();
        // Also waypoints that nobody wrote have a token.
        for gateway in workloads.iter().filter(|workload| is_gateway(workload)) {
            self.make_token(&Owner::Gateway(gateway.namespace.to_string(), gateway.name.to_string()));
        }
        for gone in self.roll.replace(Entries::of(workloads.into_iter(), &self.trust_domain)) {
            self.publisher.disconnect(&Caller::Gateway { identity: gone });
        }
    }

    fn export(&self, changed: &[(Arc<str>, Option<translate::Exports>)]) {
        let output = self.translator.output();
        let readers: BTreeMap<Identity, TrustDomain> = output
            .exports
            .values()
            .map(|exports| (exports.reader.clone(), exports.reader.trust_domain().clone()))
            .collect();
        let before = self.readers.by_identity.swap(Arc::new(readers));
        let now = self.readers.by_identity.load();
        let still: BTreeSet<&TrustDomain> = now.values().collect();
        for gone in before.values().filter(|trust_domain| !still.contains(trust_domain)) {
            self.exports.forget(gone);
        }
        tracing::debug!(links = changed.len(), "exports changed");
        let own = output.resources.values().filter_map(|resource| match resource {
            Resource::Revocation(revocation) if *revocation.identity.trust_domain() == self.trust_domain => {
                Some(Exported::Revocation(revocation.as_ref().clone()))
            }
            _ => None,
        });
        let revocations: Vec<Exported> = own.collect();
        for exports in output.exports.values() {
            let services = exports.services.iter().cloned().map(exported);
            let all = services.chain(revocations.iter().cloned());
            for (name, reason) in self.exports.update(exports.reader.trust_domain(), all) {
                tracing::error!(name, reason, "a service cannot be exported");
            }
        }
    }
}

fn translate_own(trust_domain: &TrustDomain, signer: &Signer) -> Edit {
    Edit::Bundle(trust_domain.clone(), Some(trust::own_bundle(signer)))
}

fn specs(input: &Input) -> BTreeMap<String, &api::link::ClusterLinkSpec> {
    let objects = input.objects.iter().filter_map(Admitted::object);
    objects
        .filter_map(|object| match object.as_ref() {
            Object::ClusterLink(link) => Some((link.metadata.name.clone(), &link.spec)),
            _ => None,
        })
        .collect()
}

fn exported(service: translate::ExportedService) -> Exported {
    let port = |(number, port): (u16, translate::ExportedPort)| {
        (number, ExportedPort { name: port.name, protocol: port.protocol })
    };
    Exported::Service(ExportedService {
        namespace: service.name.namespace,
        name: service.name.name,
        ports: service.ports.into_iter().map(port).collect(),
        capacity: service.capacity,
        healthy: service.healthy,
        locality: mesh::resource::Locality::default(),
        gateways: Vec::new(),
        served_by: match service.served_by {
            translate::ServedBy::Waypoint(identities) => ServedBy::Waypoint(identities),
            translate::ServedBy::Workloads(identities) => ServedBy::Workloads(identities),
        },
    })
}
