//! A cluster on loopback for tests: an authority, a publisher, and as many node proxies as a test wants.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, missing_docs)] // Each test file uses a part of it.

pub mod client;
pub mod words;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use authority::{Authority, Bearer, Root, Serial, csr, root::certificate_pem, serve::Roots};
use futures_util::StreamExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use identity::{CertificateRequest, FetchError, Issuer, Keeper};
use mesh::{Identity, TrustDomain, names::NodeName, resource::*};
use parking_lot::Mutex;
use runtime::{Drain, Phase};
use tonic::service::Routes;
use tower::Service as _;
use transport::{Bundles, Credentials as _, Listener, tls};
use wire::{
    Authenticate, Caller, Unauthenticated,
    publish::{Changed, Edit, Publisher, Scopes, Silent, Table},
    report::{Inbox, Record, ReportsService},
};

pub const WAIT: Duration = Duration::from_secs(10);

/// Everything of a cluster but its nodes. Its mesh is 10.`number`.0.0/16, its machine 127.`number`.0.0/16.
pub struct Cluster {
    pub number: u8,
    pub trust_domain: TrustDomain,
    pub publisher: Publisher,
    pub reports: Arc<Reports>,
    pub directory: tempfile::TempDir,
    address: SocketAddr,
    authority: Arc<Authority<Tokens, Anywhere>>,
    bundles: Arc<Bundles>,
    serving: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    drain: Drain,
}

#[derive(Default)]
pub struct Reports(pub Mutex<Vec<Record>>);

impl Inbox for Reports {
    fn take(&self, _: &Caller, records: Vec<Record>, _: u64) {
        self.0.lock().extend(records);
    }
}

struct Tokens;

fn node_of(token: &str) -> Option<NodeName> {
    token.strip_prefix("token-of-").map(Into::into)
}

#[tonic::async_trait]
impl Authenticate for Tokens {
    async fn authenticate(&self, bearer: &str) -> Result<Caller, Unauthenticated> {
        let name = node_of(bearer).ok_or_else(|| Unauthenticated("it is nobody's".to_owned()))?;
        Ok(Caller::Node { name })
    }
}

impl authority::Callers for Tokens {
    async fn identify(&self, token: &str) -> Result<Bearer, authority::serve::CallerError> {
        let nobody = || authority::serve::CallerError::Rejected("nobody's".to_owned());
        node_of(token).map(Bearer::Node).ok_or_else(nobody)
    }
}

/// Any node may have any identity: who may is the authority's own test.
struct Anywhere;

impl authority::Placement for Anywhere {
    fn runs_on(&self, _: &NodeName, _: &Identity) -> bool {
        true
    }
}

/// A node is told everything but the placements of other nodes.
struct All;

impl Scopes for All {
    fn roots(&self, table: &Table, caller: &Caller) -> BTreeSet<Key> {
        let Caller::Node { name } = caller else { return BTreeSet::new() };
        let here: BTreeSet<_> = table.on_node(name).map(|key| key.name.clone()).collect();
        let told = |key: &&Key| key.kind != Kind::Placement || here.contains(&key.name);
        Kind::ALL.iter().flat_map(|kind| table.of_kind(*kind)).filter(told).cloned().collect()
    }

    fn affected(&self, _: &Changed, _: &Caller) -> bool {
        true
    }
}

struct Own(Arc<Authority<Tokens, Anywhere>>);

impl Issuer for Own {
    async fn issue(&self, request: &CertificateRequest) -> Result<Vec<String>, FetchError> {
        let key = csr::parse_pem(request.csr_pem()).unwrap().public_key;
        let (issued, roots) = self.0.issue_own(request.identity(), &key, None).unwrap();
        Ok(vec![issued.certificate_pem, roots.trusted().iter().map(|root| certificate_pem(root)).collect()])
    }
}

impl Cluster {
    /// Starts a control plane for `10.number.0.0/16`.
    pub async fn start(number: u8) -> Self {
        let trust_domain: TrustDomain = format!("c{number}.example").parse().unwrap();
        let root =
            Root::generate(&trust_domain, Duration::from_secs(86_400), SystemTime::now(), serial()).unwrap();
        let root_der = root.certificate_der().to_vec();
        let sources =
            authority::serve::Sources { now: Arc::new(SystemTime::now), random: Arc::new(rand::random) };
        let roots = Roots::new(root, []);
        let authority =
            Arc::new(Authority::new(authority::serve::Config::default(), sources, Tokens, Anywhere, roots));
        let bundles: Arc<Bundles> = Arc::new([(trust_domain.clone(), vec![root_der])].into());
        let mut cluster = Self {
            number,
            trust_domain,
            publisher: Publisher::new(format!("epoch-{number}"), Arc::new(All), Arc::new(Silent)),
            reports: Arc::default(),
            directory: tempfile::tempdir().unwrap(),
            address: SocketAddr::from((Ipv4Addr::new(127, number, 0, 1), 0)),
            authority: authority.clone(),
            bundles,
            serving: Mutex::default(),
            drain: Drain::new(),
        };
        cluster.serve(authority).await;
        cluster
    }

    /// The credential of a service account, for who is no node proxy.
    pub async fn credential(&self, account: &str) -> Arc<transport::Credential> {
        let identity = self.identity(account);
        let keeper = Keeper::new(identity::Config::default(), sources(), None);
        keeper.set_bundles(self.bundles.clone());
        keeper.set_wanted(&BTreeSet::from([identity.clone()]));
        let (running, drain, issuer) = (keeper.clone(), self.drain.watch(), Own(self.authority.clone()));
        let keeping = tokio::spawn(async move { running.run(issuer, drain).await });
        let credential = keeper.wait(&identity).await.unwrap();
        keeping.abort();
        credential
    }

    async fn serve(&mut self, authority: Arc<Authority<Tokens, Anywhere>>) {
        let own = self.control_plane();
        let keeper = Keeper::new(identity::Config::default(), sources(), None);
        keeper.set_bundles(self.bundles.clone());
        keeper.set_wanted(&BTreeSet::from([own.clone()]));
        let (drain, issuer) = (self.drain.watch(), Own(authority.clone()));
        let (running, waiting) = (keeper.clone(), keeper.clone());
        let keeping = tokio::spawn(async move { running.run(issuer, drain).await });
        waiting.wait(&own).await.unwrap();
        let listener = Listener::bind(&self.address.into()).unwrap();
        let transport::Address::Tcp(address) = listener.address().clone() else { panic!("it is TCP") };
        self.address = address;
        let server_tls = move || {
            let credential = keeper.current(&own).unwrap();
            tls::ServerTls::new(&credential, tls::ClientCertificates::None, tls::Alpn::H2)
        };
        let reports = ReportsService::server(Arc::new(Tokens), self.reports.clone());
        let routes = Routes::new(self.publisher.service(Arc::new(Tokens)))
            .add_service(authority.service())
            .add_service(reports);
        let serving = tokio::spawn(async move {
            let mut accepted = std::pin::pin!(tls::incoming(listener, server_tls, 16, WAIT));
            let mut connections = tokio::task::JoinSet::new();
            while let Some(Ok(stream)) = accepted.next().await {
                let routes = routes.clone();
                connections.spawn(async move {
                    let service =
                        hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                            let mut routes = routes.clone();
                            async move {
                                Ok::<_, Infallible>(
                                    routes.call(request.map(tonic::body::Body::new)).await.unwrap(),
                                )
                            }
                        });
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        self.serving.lock().extend([keeping, serving]);
    }

    /// Ends the control plane, with all its connections.
    pub fn kill(&self) {
        self.serving.lock().drain(..).for_each(|task| task.abort());
    }

    fn control_plane(&self) -> Identity {
        Identity::of_service_account(&self.trust_domain, "strait-system", "controlplane").unwrap()
    }

    /// Publishes; everything must be good.
    pub fn publish(&self, resources: impl IntoIterator<Item = Resource>) {
        let rejected = self.publisher.update(resources.into_iter().map(Edit::Set).collect(), None);
        assert!(rejected.is_empty(), "{rejected:?}");
    }

    /// An address of this machine, for the mesh address with the same last numbers.
    pub fn machine(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.number, 0, last)
    }

    pub fn mesh(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, 0, last)
    }

    /// Starts a node proxy and waits until it is ready.
    pub async fn node(&self, name: &str) -> Node {
        let directory = self.directory.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let token_file = directory.join("token");
        std::fs::write(&token_file, format!("token-of-{name}")).unwrap();
        let control_plane = ztunnel::ControlPlane {
            address: self.address,
            identity: self.control_plane(),
            bundles: self.bundles.clone(),
        };
        let mut config =
            ztunnel::Config::new(name.into(), self.trust_domain.as_str().into(), control_plane, token_file);
        config.state_directory = Some(directory.join("state"));
        let log = directory.join("access.log");
        config.access_log = runtime::access_log::Destination::File(log.clone());
        let last = 200 + name.bytes().last().unwrap() % 50;
        let ready = SocketAddr::from((self.machine(last), 15021));
        config.ready = Some(ready);
        config.drain_grace = Duration::ZERO;
        config.drain_closing = Duration::from_secs(5);
        config.outbound.ask_timeout = Duration::from_millis(500);
        let drain = Drain::new();
        let task = tokio::spawn(ztunnel::run(config, drain.clone()));
        let node = Node { drain, task, log, ready };
        node.wait_ready().await;
        node
    }
}

/// A node proxy that runs.
pub struct Node {
    drain: Drain,
    task: tokio::task::JoinHandle<Result<(), ztunnel::RunError>>,
    log: PathBuf,
    ready: SocketAddr,
}

impl Node {
    async fn wait_ready(&self) {
        eventually("the node is ready", async || {
            client::get(self.ready, "/healthz/ready").await.starts_with("HTTP/1.1 200")
        })
        .await;
    }

    /// Ends it in order.
    pub async fn stop(self) {
        self.drain.advance(Phase::Draining);
        tokio::time::timeout(WAIT, self.task).await.unwrap().unwrap().unwrap();
    }

    /// Waits for a line of its access log that has all of these.
    pub async fn logged(&self, parts: &[&str]) -> String {
        let found = Mutex::new(None);
        eventually(&format!("{parts:?} in the access log"), async || {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let line = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
            *found.lock() = line.map(str::to_owned);
            line.is_some()
        })
        .await;
        found.into_inner().unwrap()
    }
}

/// Waits, bounded, until something holds.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(WAIT, looking).await.is_ok(), "{what}: not within {WAIT:?}");
}

fn serial() -> Serial {
    Serial::from_random(rand::random())
}

fn sources() -> identity::Sources {
    identity::Sources { now: Arc::new(SystemTime::now), chance: Arc::new(rand::random) }
}

/// Answers each connection's lines with a word before them, at a loopback port.
pub struct Echo {
    pub port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Echo {
    pub async fn start(word: &'static str) -> Self {
        use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (read, mut write) = stream.into_split();
                    let mut lines = BufReader::new(read).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        if write.write_all(format!("{word} {line}\n").as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, task }
    }

    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
