//! Puts a node proxy together and runs it.
//!
//! Everything runs on the runtime that polls [`run`], which may be single-threaded.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use identity::{Anchors, CertificateClient, Keeper, Sources, TokenFile, Tokens as _, What};
use mesh::{Denial, Reason};
use runtime::{
    AccessLog, Admin, Drain, DrainWatch, Metrics, Phase, Readiness, Spans, backoff, intervals,
    metrics::Meters,
    otlp::{Export, OtlpError},
};
use tokio::sync::watch;
use transport::{Pool, drain::Tunnels};
use wire::{
    Bearer,
    report::{Refusals, Reporter, Upward, UpwardConfig},
    subscribe::{self, Announcement, Subscriber},
};

use crate::{
    config::Config,
    connections::Connections,
    control,
    node::Node,
    pages,
    receive::Receive,
    report::{self, Report},
    stations,
    world::World,
};

/// What this program enforces, as it announces it.
const CAPABILITIES: [&str; 4] = ["hbone", "access.l4", "origin", "revocation"];

/// Why a node proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address for pages cannot be had.
    #[error("cannot listen at {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The admin pages must not leave the machine.
    #[error("the admin pages are served on loopback only, not at {0}")]
    AdminAddress(SocketAddr),
    /// The access log cannot be opened.
    #[error("cannot open the access log")]
    AccessLog(#[source] io::Error),
    /// Spans cannot be exported as it is configured.
    #[error("cannot export spans")]
    Otlp(#[source] OtlpError),
    /// The control plane's address makes no URI.
    #[error("cannot make a channel to the control plane")]
    Channel(#[source] tonic::transport::Error),
}

fn chance() -> u64 {
    rand::random()
}

/// Runs a node proxy until `drain` leaves `Serving` and what runs has ended or was closed.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config, drain: Drain) -> Result<(), RunError> {
    let (metrics, readiness) = (Metrics::new("ztunnel", env!("CARGO_PKG_VERSION")), Readiness::new());
    let reporter = Reporter::new();
    let report = report(&config, &reporter, &metrics)?;
    let log = report.log.clone();
    let keeper = keeper(&config, &metrics);
    let (world, connections) = (World::default(), Connections::new(config.connections_max));
    let pool = Pool::new(config.pool.clone());
    let (swaps, swapped) = watch::channel(0);
    let anchors = Anchors::default();
    let channel = control::channel(&config.control_plane, anchors.clone()).map_err(RunError::Channel)?;
    let receive = Receive {
        world: world.clone(),
        keeper: keeper.clone(),
        connections: connections.clone(),
        pool: pool.clone(),
        reporter: reporter.clone(),
        swaps,
        anchors,
    };
    let part = readiness.part("configuration", "it was not asked for yet");
    let (token, bearer) = token(&config);
    let (on_demand, subscriber) = Subscriber::new(
        subscription(&config),
        channel.clone(),
        bearer.clone(),
        Box::new(receive),
        part,
        drain.watch(),
    );
    let upward = Upward::new(upward(), reporter, channel.clone(), bearer);
    let client = CertificateClient::new(channel, Arc::new(token), config.certificate_lifetime);
    let node = Arc::new(Node {
        outbound: config.outbound.clone(),
        inbound: config.inbound.clone(),
        explicit: config.explicit.clone(),
        world,
        connections: connections.clone(),
        keeper: keeper.clone(),
        certificate_timeout: config.certificate_timeout,
        pool,
        tunnels: Tunnels::default(),
        on_demand,
        report,
        drain: drain.watch(),
        chance,
        now: SystemTime::now,
    });
    serve_pages(&config, &node, &readiness, &metrics, &drain)?;
    let listening = readiness.part("listeners", "no checkpoint yet");
    let issuing = drain.watch();
    let tasks = [
        tokio::spawn(subscriber.run()),
        tokio::spawn(upward.run()),
        tokio::spawn(follow_certificates(keeper.clone(), connections.clone())),
        tokio::spawn(async move { keeper.run(client, issuing).await }),
        tokio::spawn(stations::keep(node.clone(), config.hbone_bind_port, swapped, listening)),
        tokio::spawn(close_at_end(connections, drain.watch())),
        tokio::spawn(intervals::run(
            node.report.spans.clone(),
            node.report.meters.clone(),
            Some(log.clone()),
            SystemTime::now,
        )),
    ];
    end(&config, &node, &drain).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    log.flush().await;
    Ok(())
}

fn report(config: &Config, reporter: &Reporter, metrics: &Metrics) -> Result<Report, RunError> {
    let log = AccessLog::start(&config.access_log).map_err(RunError::AccessLog)?;
    let (counted, reporter) = (report::Metrics::default(), reporter.clone());
    let version = env!("CARGO_PKG_VERSION");
    let export = config.otlp.as_ref().map(|otlp| Export::start(otlp, "ztunnel", version)).transpose();
    let export = export.map_err(RunError::Otlp)?;
    let up = reporter.clone();
    let up: runtime::spans::Upward = Arc::new(move |span| up.span(span.clone()));
    let spans = Spans::new(config.proxy(), chance, SystemTime::now, Some(up), export);
    metrics.register(|registry| {
        log.metrics().register(registry);
        counted.register(registry);
        spans.register(registry);
    });
    let (most, told) = (config.refusals_max, Some(reporter.clone()));
    let refusals = Refusals::new(config.proxy(), SystemTime::now(), most, told);
    let meters = Meters::default();
    Ok(Report { log, refusals, reporter, metrics: counted, meters, spans, now: SystemTime::now })
}

fn keeper(config: &Config, metrics: &Metrics) -> Keeper {
    let store = config.state_directory.as_deref().map(identity::Store::new);
    let sources = Sources { now: Arc::new(SystemTime::now), chance: Arc::new(chance) };
    let keeper = Keeper::new(identity::Config::default(), sources, store);
    metrics.register(|registry| keeper.metrics().register(registry));
    keeper
}

/// What proves the node: for certificates, and for everything else.
fn token(config: &Config) -> (TokenFile, Bearer) {
    let token = TokenFile(config.token_file.clone());
    let of = token.clone();
    (token, Arc::new(move || of.token().map_err(|error| error.to_string())))
}

fn subscription(config: &Config) -> subscribe::Config {
    let announcement = Announcement {
        node_id: config.proxy(),
        cluster: config.cluster.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: CAPABILITIES.into_iter().map(str::to_owned).collect(),
        seen_as_of: None,
    };
    let store = config.state_directory.as_ref().map(|directory| directory.join("resources"));
    subscribe::Config::new(announcement, store, chance)
}

fn upward() -> UpwardConfig {
    let backoff = backoff::Config { first: Duration::from_millis(100), most: Duration::from_secs(5) };
    UpwardConfig { run: format!("{:016x}", chance()), backoff, chance, now: SystemTime::now }
}

/// Waits until the program is to end, and ends it in order: no new connections, GOAWAY, what runs, the rest.
async fn end(config: &Config, node: &Node, drain: &Drain) {
    drain.watch().draining().await;
    let (tunnels, grace) = (node.tunnels.clone(), config.drain_grace.saturating_add(config.drain_closing));
    let goodbye = tokio::spawn(async move { tunnels.drain(grace).await });
    let drained = drain.finish(config.drain_grace, config.drain_closing).await;
    tracing::info!(?drained, "drained");
    drain.advance(Phase::Closing);
    goodbye.abort();
}

fn serve_pages(
    config: &Config,
    node: &Arc<Node>,
    readiness: &Readiness,
    metrics: &Metrics,
    drain: &Drain,
) -> Result<(), RunError> {
    if let Some(address) = config.admin.filter(|address| !address.ip().is_loopback()) {
        return Err(RunError::AdminAddress(address));
    }
    let pages = [
        (config.admin, pages::admin(node, readiness, metrics)),
        (config.metrics, Admin::new().metrics(metrics.clone())),
        (config.ready, Admin::new().readiness(readiness.clone())),
    ];
    for (address, admin) in pages {
        let Some(address) = address else { continue };
        let listener = pages::bind(address).map_err(|cause| RunError::Listen { address, cause })?;
        tokio::spawn(pages::serve(Arc::new(admin), listener, drain.watch()));
    }
    Ok(())
}

/// Closes what is open in the name of an identity whose certificate ended, or that is not ours any more.
async fn follow_certificates(keeper: Keeper, connections: Connections) {
    let mut changes = keeper.changes();
    while let Some(change) = changes.next().await {
        match change {
            identity::Change::Identity { identity, what: What::Ended } => {
                connections.close_identity(&identity, &ended(format!("the certificate of {identity} ended")));
            }
            identity::Change::Identity { identity, what: What::Forgotten } => {
                connections
                    .close_identity(&identity, &ended(format!("{identity} is not of this node any more")));
            }
            identity::Change::Missed => {
                let gone = connections
                    .identities()
                    .into_iter()
                    .filter(|identity| transport::Credentials::current(&keeper, identity).is_err());
                gone.for_each(|identity| {
                    connections.close_identity(&identity, &ended(format!("{identity} has no certificate")));
                });
            }
            identity::Change::Identity { what: What::Issued, .. } | identity::Change::Bundles => {}
        }
    }
}

fn ended(why: String) -> Denial {
    Denial::plain(Reason::CertificateEnded, why)
}

/// When the grace is over, what still runs closes.
async fn close_at_end(connections: Connections, mut drain: DrainWatch) {
    drain.closing().await;
    connections.close_all(&Denial::plain(Reason::Draining, "the node proxy ends"));
}
