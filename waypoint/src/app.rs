//! The program: joins the control plane, keeps its certificate, serves, and ends.
//!
//! *Flow*: ask for the own certificate and the configuration; when both say who we are and where, listen; then apply
//! what comes. *Guarantees*: nothing is served before a whole checkpoint is held; what is refused by a swap is closed
//! before the swap is acknowledged.

mod control;
mod error;
mod follow;
mod pages;
mod shared;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use exchange::{Errands, Judge, Upstreams};
use filters::Mirrors;
use identity::{Anchors, CertificateClient, Keeper, TokenFile};
use mesh::{
    Denial, Reason,
    resource::{Reach, Workload},
};
use runtime::{
    AccessLog, Drain, DrainWatch, Metrics, Readiness, Spans,
    metrics::Meters,
    otlp::Export,
    readiness::ReadyPart,
    sealed::{SealedFile, private_directory},
};
use tonic::transport::Channel;
use transport::{Address, Credentials, Listener, Pool, drain::Tunnels, hbone};
use wire::{
    report::{Refusals, Reporter, Upward, UpwardConfig},
    subscribe::{self, Announcement, Subscriber},
};

pub use self::error::RunError;
use self::{follow::Follower, shared::Shared};
use crate::{
    config::Config,
    connections::Connections,
    edge::{self, certificates::Certificates, keep::Standing},
    judge::Court,
    ledger::Allowances,
    listen,
    own::Own,
    report::{Agents, Decisions, Records, Report, Requests},
    upstreams::{
        Calls,
        dial::{Dial, Tunnels as DialTunnels},
    },
    waypoint::{Room, Waypoint},
    world::Worlds,
};

/// Refusals that are kept.
const REFUSALS_MAX: usize = 1024;
/// How often idle connections are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);
/// Time between a failed attempt to listen and the next.
const LISTEN_PAUSE: Duration = Duration::from_millis(500);
/// How long a drain may last if nobody ends it.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// The features that a waypoint enforces.
const CAPABILITIES: [&str; 6] =
    ["access/l4", "access/http", "access/mcp", "access/when", "routes/http", "origin"];
/// Bytes of the key that seals sessions.
const SESSION_KEY_BYTES: usize = 32;

/// Runs a waypoint until its drain is over. Whoever moves the drain decides when and how long.
///
/// # Errors
/// When it cannot begin: what happens later is logged and tried again.
pub async fn run(config: Config, drain: Drain) -> Result<(), RunError> {
    let watch = drain.watch();
    let anchors = Anchors::default();
    let channel = control::channel(&config, anchors.clone())?;
    let reporter = Reporter::new();
    let shared = Arc::new(assemble(config, anchors, &reporter)?);
    let serving = shared.readiness.part("tunnels", "we were not told who we are and where");
    let sealers = sealers(&shared.config)?;
    pages::listen(&shared, &watch)?;
    let (subscriber, upward) = join(&shared, &channel, reporter, &watch);
    let tokens = Arc::new(TokenFile(shared.config.token_file.clone()));
    let certificates = CertificateClient::new(channel, tokens, shared.config.certificate_lifetime);
    let mut ending = watch.clone();
    let (spans, meters) = (shared.spans.clone(), shared.meters.clone());
    let told = runtime::intervals::run(spans, meters, Some(shared.log.clone()), SystemTime::now);
    tokio::select! {
        () = subscriber.run() => {}
        () = upward.run() => {}
        () = told => {}
        () = shared.keeper.run(certificates, watch.clone()) => {}
        () = watch_certificate(&shared) => {}
        () = serve(&shared, serving, &sealers, &watch) => {}
        () = ending.closing() => {}
    }
    // What is left has had its time.
    shared.connections.close_all(&Denial::plain(Reason::Draining, "the waypoint ends"));
    shared.log.flush().await;
    Ok(())
}

/// Makes the parts, and registers what they count.
fn assemble(config: Config, anchors: Anchors, reporter: &Reporter) -> Result<Shared, RunError> {
    let identity = config.identity()?;
    private_directory(&config.state)?;
    let log = AccessLog::start(&config.access_log).map_err(RunError::AccessLog)?;
    let metrics = Metrics::new("waypoint", env!("CARGO_PKG_VERSION"));
    let worlds = Arc::new(Worlds::default());
    let decisions = Decisions::new(Some((reporter.clone(), SystemTime::now)));
    let court = Court::new(Arc::clone(&worlds), decisions.clone()).of_gateway(identity.clone());
    let judge: Arc<dyn Judge> = Arc::new(court);
    let sources = identity::Sources { now: Arc::new(SystemTime::now), chance: Arc::new(chance) };
    let keeper = Keeper::new(identity::Config::default(), sources, Some(identity::Store::new(&config.state)));
    keeper.set_wanted(&BTreeSet::from([identity.clone()]));
    let refusals = Refusals::new(config.node(), SystemTime::now(), REFUSALS_MAX, Some(reporter.clone()));
    let (requests, agents) = (Requests::default(), Agents::default());
    let tools = mcp::Tools::default();
    let version = env!("CARGO_PKG_VERSION");
    let export = config.otlp.as_ref().map(|otlp| Export::start(otlp, &config.node(), version)).transpose();
    let up = reporter.clone();
    let up: runtime::spans::Upward = Arc::new(move |span| up.span(Arc::clone(span)));
    let spans = Spans::new(config.node(), chance, SystemTime::now, Some(up), export.map_err(RunError::Otlp)?);
    let allowances = Allowances::new(Instant::now);
    metrics.register(|registry| {
        decisions.register(registry);
        allowances.register(registry);
        requests.register(registry);
        agents.register(registry);
        spans.register(registry);
        tools.counts().register(registry);
        log.metrics().register(registry);
        keeper.metrics().register(registry);
    });
    Ok(Shared {
        identity,
        worlds,
        connections: Connections::default(),
        judge,
        allowances,
        keeper,
        anchors,
        pool: Pool::new(transport::pool::Config::default()),
        readiness: Readiness::new(),
        metrics,
        records: Records { refusals, decisions, now: SystemTime::now },
        requests,
        agents,
        tools,
        spans,
        meters: Meters::default(),
        log,
        tunnels: Tunnels::default(),
        certificates: Certificates::default(),
        standing: Standing::default(),
        config,
    })
}

/// What listens to the control plane, and what tells it.
fn join(
    shared: &Arc<Shared>,
    channel: &Channel,
    reporter: Reporter,
    drain: &DrainWatch,
) -> (Subscriber, Upward) {
    let bearer = control::bearer(&shared.config);
    let announcement = Announcement {
        node_id: shared.config.node(),
        cluster: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
        seen_as_of: None,
    };
    let store = shared.config.state.join("resources");
    let subscribe = subscribe::Config::new(announcement, Some(store), chance);
    let backoff = subscribe.backoff;
    let follower = Box::new(Follower::new(Arc::clone(shared), reporter.clone()));
    let part = shared.readiness.part("configuration", "nothing was received yet");
    let (_asks, subscriber) =
        Subscriber::new(subscribe, channel.clone(), bearer.clone(), follower, part, drain.clone());
    let upward = UpwardConfig { run: format!("{:016x}", chance()), backoff, chance, now: SystemTime::now };
    (subscriber, Upward::new(upward, reporter, channel.clone(), bearer))
}

/// Any number.
fn chance() -> u64 {
    rand::random()
}

/// What seals ids, by protocol.
struct Sealers {
    mcp: Arc<mcp::Sealer>,
    a2a: Arc<a2a::Sealer>,
}

/// The key of sessions outlives the process, so that sessions and tasks do too.
fn sealers(config: &Config) -> Result<Sealers, RunError> {
    let file = SealedFile::new(config.state.join("sessions"), "session-key/1", SESSION_KEY_BYTES as u64);
    // A key that cannot be read is as good as none: its sessions are lost, and nothing else.
    let held = file.read().unwrap_or_else(|error| {
        tracing::warn!(%error, "the session key is made anew");
        None
    });
    let key = match held {
        Some(key) => key,
        None => {
            let key: [u8; SESSION_KEY_BYTES] = rand::random();
            file.write(&key)?;
            key.to_vec()
        }
    };
    Ok(Sealers {
        mcp: Arc::new(mcp::Sealer::new(&key, &[]).map_err(RunError::SessionKey)?),
        a2a: Arc::new(a2a::Sealer::new(&key, &[]).map_err(RunError::TaskKey)?),
    })
}

/// Closes what runs when our certificate has ended and there is no other.
async fn watch_certificate(shared: &Shared) {
    let mut changes = shared.keeper.changes();
    while let Some(change) = changes.next().await {
        let ended = match change {
            identity::Change::Identity { what, .. } => {
                matches!(what, identity::What::Ended | identity::What::Forgotten)
            }
            identity::Change::Bundles => false,
            identity::Change::Missed => shared.keeper.current(&shared.identity).is_err(),
        };
        if ended {
            tracing::warn!("our certificate ended: everything is closed until there is another");
            let denial = Denial::plain(Reason::CertificateEnded, "the waypoint's certificate ended");
            shared.connections.sever(&denial);
            shared.pool.retire_all();
            shared.worlds.trust_changed();
        }
    }
    std::future::pending::<()>().await;
}

/// Listens where the control plane says that we are, and serves.
async fn serve(shared: &Arc<Shared>, part: ReadyPart, sealers: &Sealers, drain: &DrainWatch) {
    let mut serving: Option<(Own, SocketAddr, tokio::task::JoinHandle<()>)> = None;
    loop {
        let seen = shared.worlds.generation();
        let place = ourselves(shared);
        let same = match (&serving, &place) {
            (Some((own, at, task)), Some((own_now, at_now))) => {
                own == own_now && at == at_now && !task.is_finished()
            }
            (None, None) => true,
            _ => false,
        };
        if !same {
            if let Some((_, _, task)) = serving.take() {
                // Only the listener ends; its tunnels go on.
                task.abort();
                part.pending("we are not where we were");
            }
            if let Some((own, at)) = place {
                match begin(shared, &own, at, sealers, drain) {
                    Ok(task) => {
                        part.ready();
                        serving = Some((own, at, task));
                    }
                    Err(error) => {
                        let error = crate::causes::with_causes(&error);
                        tracing::error!(%error, "cannot serve");
                        part.pending(&error);
                        tokio::time::sleep(LISTEN_PAUSE).await;
                        continue;
                    }
                }
            }
        }
        let mut drain = drain.clone();
        tokio::select! {
            () = shared.worlds.changed(seen) => {}
            () = drain.draining() => {
                if let Some((_, _, task)) = serving.take() {
                    task.abort();
                }
                part.pending("the waypoint drains");
                // GOAWAY; what runs goes on until the program says that it must close.
                shared.tunnels.drain(DRAIN_TIME_MAX).await;
                return;
            }
        }
    }
}

/// Which workload we are, and where we listen.
fn ourselves(shared: &Shared) -> Option<(Own, SocketAddr)> {
    let world = shared.worlds.load();
    let service = shared.config.service();
    let mut found: Vec<&Arc<Workload>> =
        world.snapshot.endpoints(&service).filter(|workload| workload.identity == shared.identity).collect();
    found.sort_by(|one, two| one.uid.cmp(&two.uid));
    let workload = found.first()?;
    let Reach::Tunnel(address) = &workload.reach else { return None };
    let own = Own { uid: workload.uid.clone(), identity: shared.identity.clone() };
    Some((own, SocketAddr::new(address.ip(), shared.config.hbone_bind_port)))
}

fn begin(
    shared: &Arc<Shared>,
    own: &Own,
    at: SocketAddr,
    sealers: &Sealers,
    drain: &DrainWatch,
) -> Result<tokio::task::JoinHandle<()>, RunError> {
    let listener = Listener::bind(&Address::Tcp(at)).map_err(|cause| RunError::Listen { at, cause })?;
    let own = Arc::new(own.clone());
    let credentials: Arc<dyn Credentials> = Arc::new(shared.keeper.clone());
    let connect_timeout = shared.config.upstreams.connect_timeout;
    let dial: Arc<dyn Dial> = Arc::new(DialTunnels::new(
        Arc::clone(&own),
        shared.pool.clone(),
        Arc::clone(&credentials),
        Arc::clone(&shared.worlds),
        connect_timeout,
    ));
    let calls = Calls::new(
        shared.config.upstreams.clone(),
        Arc::clone(&own),
        Arc::clone(&shared.worlds),
        Arc::clone(&shared.judge),
        Arc::clone(&dial),
        chance,
    );
    let calls = Arc::new(calls.tracing(shared.spans.clone()));
    let upstreams: Arc<dyn Upstreams> = Arc::clone(&calls) as Arc<dyn Upstreams>;
    let errands = Errands::new(shared.identity.clone(), Arc::clone(&upstreams));
    let waypoint = Arc::new(Waypoint {
        limits: shared.config.limits.clone(),
        room: Room::new(&shared.config.limits),
        own,
        worlds: Arc::clone(&shared.worlds),
        connections: shared.connections.clone(),
        judge: Arc::clone(&shared.judge),
        known: Arc::new(crate::known::Told(Arc::clone(&shared.worlds))),
        ledger: Arc::new(shared.allowances.clone()),
        register: Arc::new(shared.records.clone()),
        mirrors: Mirrors::new(Arc::clone(&upstreams)),
        errands: errands.clone(),
        guards: guards::Guards::default(),
        users: users::Users::new(errands),
        upstreams,
        dial,
        mcp: mcp::Mcp::new(mcp::Config::default(), Arc::clone(&sealers.mcp), shared.tools.clone()),
        a2a: a2a::A2a::new(a2a::Config::default(), Arc::clone(&sealers.a2a)),
        llm: llm::Llm::new(
            llm::Config::default(),
            llm::Sources { now: Instant::now, time: SystemTime::now, chance },
        ),
        report: Report {
            log: Some(shared.log.clone()),
            requests: shared.requests.clone(),
            agents: shared.agents.clone(),
            spans: shared.spans.clone(),
            meters: shared.meters.clone(),
            decisions: shared.records.decisions.clone(),
            worlds: Arc::clone(&shared.worlds),
            now: SystemTime::now,
        },
        chance,
        now: SystemTime::now,
    });
    let edge = edge::keep::keep(
        Arc::clone(&waypoint),
        at.ip(),
        shared.config.edge.clone(),
        shared.certificates.clone(),
        shared.standing.clone(),
        drain.clone(),
    );
    let accept = listen::accept(
        waypoint,
        Arc::new(listener),
        credentials,
        hbone::Limits::default(),
        shared.tunnels.clone(),
        drain.clone(),
    );
    let tidy = tidy(calls, Arc::clone(&shared.worlds));
    Ok(tokio::spawn(async move {
        tokio::select! {
            () = accept => {}
            () = async { edge.await; std::future::pending().await } => {}
            () = tidy => {}
        }
    }))
}

/// Drops connections that are idle for too long, and all that are kept when trust changed.
async fn tidy(calls: Arc<Calls>, worlds: Arc<Worlds>) {
    let mut trust = worlds.trust();
    loop {
        tokio::select! {
            () = tokio::time::sleep(SWEEP_INTERVAL) => calls.pool().sweep(),
            changed = trust.changed() => match changed {
                Ok(()) => calls.pool().clear(),
                Err(_) => return,
            },
        }
    }
}
