//! A small mesh in one process: an authority, a waypoint, nodes, callers.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use exchange::{Judge, Register, Trail, Upstreams};
use filters::Mirrors;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh::{
    Denial, Facts, Identity,
    admission::{self, Arrival, Entrance, TlsPeer},
    names::{ObjectName, ServiceKey, WorkloadUid},
    resource::*,
    snapshot::{Change, NoExpressions, Touched},
};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use tokio::sync::watch;
use transport::{
    Address, Bundles, Credential, CredentialError, CredentialParts, Credentials, DialError, Expected,
    Listener, Pool, Stream,
    drain::Tunnels,
    hbone::{self, Connect, ConnectRequest, Origin, OriginField, ResponseHead},
    pool::Destination,
};
use waypoint::{
    Own, Waypoint,
    connections::Connections,
    judge::Court,
    report::{Decisions, Report, Requests},
    upstreams::{
        self, Calls,
        dial::{Dial, Tunnels as DialTunnels},
        guarded::Resolve,
    },
    waypoint::{Limits, Room},
    world::Worlds,
};

/// How long anything may take before a test gives up; no test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const WEB: &str = "shop/web.shop.svc.cluster.local";
pub(crate) const WEB_VIP: &str = "10.20.255.1:80";
pub(crate) const RAW: &str = "shop/raw.shop.svc.cluster.local";
pub(crate) const RAW_VIP: &str = "10.20.255.2:80";
const GATEWAY: &str = "shop/waypoint.shop.svc.cluster.local";

pub(crate) type AppBody = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) fn identity(text: &str) -> Identity {
    let text = match text.split_once('/') {
        Some((namespace, account)) if !text.starts_with("spiffe:") => {
            format!("spiffe://east/ns/{namespace}/sa/{account}")
        }
        _ => text.to_owned(),
    };
    text.parse().expect("tests name identities")
}

pub(crate) fn key(text: &str) -> ServiceKey {
    text.parse().expect("tests name services")
}

pub(crate) fn uid(name: &str) -> WorkloadUid {
    format!("east//Pod/shop/{name}").into()
}

/// An authority of one trust domain.
pub(crate) struct Authority {
    trust_domain: String,
    root: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(trust_domain: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "root");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root").der().to_vec();
        Self { trust_domain: trust_domain.to_owned(), root, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn credential(&self, of: &Identity, believed: &[&Authority]) -> Arc<Credential> {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI(of.to_string().as_str().try_into().expect("ASCII")));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf").der().to_vec();
        let mut bundles = Bundles::new();
        for authority in std::iter::once(&self).chain(believed) {
            bundles.entry(authority.trust_domain.parse().unwrap()).or_default().push(authority.root.clone());
        }
        let parts = CredentialParts {
            identity: of.clone(),
            chain_der: vec![leaf],
            key_pkcs8_der: key.serialize_der(),
            bundles: Arc::new(bundles),
        };
        Arc::new(Credential::new(parts).expect("a good leaf"))
    }
}

struct Fixed(Arc<Credential>);

impl Credentials for Fixed {
    fn current(&self, _: &Identity) -> Result<Arc<Credential>, CredentialError> {
        Ok(Arc::clone(&self.0))
    }
}

/// Keeps refusals; their ids are `r1`, `r2`, ...
#[derive(Default)]
pub(crate) struct Refused(pub(crate) Mutex<Vec<Denial>>, pub(crate) Mutex<Vec<Option<Denial>>>);

impl Register for Refused {
    fn refused(&self, denial: &Denial, _: &Facts, _: &Trail) -> Arc<str> {
        let mut all = self.0.lock();
        all.push(denial.clone());
        format!("r{}", all.len()).into()
    }

    fn audited(&self, policy: &ObjectName, refusal: Option<&Denial>, _: &Facts, trail: &Trail) {
        assert!(policy.kind.starts_with("GuardPolicy") && trail.record().addressed.is_some());
        self.1.lock().push(refusal.cloned());
    }
}

/// What a node saw of one CONNECT.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) caller: mesh::Caller,
    pub(crate) authority: String,
    pub(crate) trace: Option<String>,
}

pub(crate) type App = Arc<dyn Fn(http::Request<Incoming>) -> AppFuture + Send + Sync>;
pub(crate) type AppFuture = futures_util::future::BoxFuture<'static, http::Response<AppBody>>;

/// A node with one workload and its application.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    up: Arc<watch::Sender<bool>>,
}

impl Node {
    /// From now on the application is gone: streams are refused as by a node that cannot deliver.
    pub(crate) fn stop(&self) {
        self.up.send_replace(false);
    }

    pub(crate) fn start(&self) {
        self.up.send_replace(true);
    }
}

/// What the mesh is made of, to be changed before it begins.
pub(crate) struct Plan {
    pub(crate) workloads: Vec<Workload>,
    pub(crate) services: Vec<Service>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) sets: Vec<PolicySet>,
    pub(crate) listeners: Vec<mesh::resource::Listener>,
    pub(crate) routes: Vec<Route>,
    pub(crate) backends: Vec<Backend>,
    pub(crate) limits: Limits,
    pub(crate) upstreams: upstreams::Config,
    pub(crate) log: Option<runtime::AccessLog>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
}

pub(crate) struct Mesh {
    pub(crate) authority: Authority,
    pub(crate) west: Authority,
    pub(crate) waypoint: Arc<Waypoint>,
    pub(crate) address: SocketAddr,
    pub(crate) refused: Arc<Refused>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) drain: runtime::Drain,
    version: AtomicU64,
}

pub(crate) fn app<F>(serve: impl Fn(http::Request<Incoming>) -> F + Send + Sync + 'static) -> App
where
    F: Future<Output = http::Response<AppBody>> + Send + 'static,
{
    Arc::new(move |request| Box::pin(serve(request)))
}

pub(crate) fn text(body: impl Into<Bytes>) -> http::Response<AppBody> {
    http::Response::new(Full::new(body.into()).boxed_unsync())
}

/// An application that says its name, and what it was sent.
pub(crate) fn telling(name: &str) -> App {
    let name = name.to_owned();
    app(move |request: http::Request<Incoming>| {
        let name = name.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let mut headers: Vec<String> = parts
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
                .collect();
            headers.sort();
            text(format!(
                "{name} {} {}\n{}\n\n{}",
                parts.method,
                parts.uri.path_and_query().map_or("", |it| it.as_str()),
                headers.join("\n"),
                String::from_utf8_lossy(&body)
            ))
        }
    })
}

pub(crate) fn port(protocol: Protocol, set: &str) -> ServicePort {
    ServicePort { name: "".into(), protocol, set: set.into(), traffic: Traffic::default(), backend: None }
}

pub(crate) fn service(text: &str, vip: u8, protocol: Protocol) -> Service {
    let key = key(text);
    Service {
        name: key.hostname.as_str().split('.').next().unwrap_or_default().into(),
        key,
        aliases: Vec::new(),
        addresses: vec![[10, 20, 255, vip].into()],
        ports: [(80, port(protocol, "open"))].into(),
        binding: Binding::Through(self::key(GATEWAY)),
        balancing: Balancing::default(),
        exported_to: Default::default(),
        identities: Vec::new(),
    }
}

pub(crate) fn workload(name: &str, last: u8, tunnel: SocketAddr) -> Workload {
    let waypoint = identity("shop/waypoint");
    Workload {
        uid: uid(name),
        name: name.into(),
        namespace: "shop".into(),
        cluster: "east".into(),
        network: "east".into(),
        identity: identity(&format!("shop/{name}")),
        node: "node-1".into(),
        locality: Locality::default(),
        addresses: vec![[10, 20, 0, last].into()],
        reach: Reach::Tunnel(tunnel),
        ports: BTreeMap::new(),
        other_ports: WorkloadPort {
            admission: Admission::Through { waypoints: vec![waypoint.clone()], dial: Some(key(GATEWAY)) },
            vouchers: vec![waypoint],
            set: "open".into(),
        },
        services: BTreeMap::new(),
        capacity: 1,
        health: Health::Healthy,
        egress: Egress::Allow,
        vouchers: Vec::new(),
        labels: Labels::default(),
    }
}

pub(crate) fn serving(mut workload: Workload, service: &str) -> Workload {
    workload.services.insert(service.into(), vec![PortMapping { service: 80, target: 8080 }]);
    workload
}

pub(crate) fn set(name: &str, policies: &[&str], default_access: DefaultAccess) -> PolicySet {
    let policies = policies
        .iter()
        .map(|name| PolicyRef { name: ObjectName::new("AccessPolicy", "shop", name), version: None })
        .collect();
    let stages = vec![Stage { kind: StageKind::Target, policies }];
    PolicySet { name: name.into(), stages, default_access, guards: Vec::new(), quotas: Vec::new() }
}

pub(crate) fn policy(name: &str, action: Action, from: &str, to: Option<Operation>) -> Policy {
    let any_of = vec![(&identity(from)).into()];
    let source = Source {
        principals: vec![Principals { field: "serviceAccounts".into(), any_of }],
        ..Source::default()
    };
    let rule = Rule { name: "rule".into(), from: vec![source], to: to.map(|to| vec![to]), when: None };
    let name = ObjectName::new("AccessPolicy", "shop", name);
    Policy { name, action, mode: Mode::Enforce, broken: None, rules: vec![rule], authorizer: None }
}

impl Mesh {
    /// A waypoint for the HTTP service `web` and the TCP service `raw`, each with two endpoints that tell what they
    /// are sent.
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Plan)) -> Self {
        Self::serving(&[("web-1", telling("web-1")), ("web-2", telling("web-2"))], change).await
    }

    pub(crate) async fn serving(apps: &[(&str, App)], change: impl FnOnce(&mut Plan)) -> Self {
        let authority = Authority::new("east");
        let west = Authority::new("west");
        let own = Arc::new(Own { uid: uid("waypoint"), identity: identity("shop/waypoint") });
        let credential = authority.credential(&own.identity, &[&west]);
        let listener = listener();
        let address = address(&listener);

        let mut plan = Plan {
            workloads: Vec::new(),
            services: vec![
                service(WEB, 1, Protocol::Http),
                service(RAW, 2, Protocol::Tcp),
                Service { binding: Binding::None, ..service(GATEWAY, 3, Protocol::Tcp) },
            ],
            policies: Vec::new(),
            sets: vec![set("open", &[], DefaultAccess::Open), set("closed", &[], DefaultAccess::None)],
            listeners: vec![mesh::resource::Listener {
                gateway: ObjectName::new("Gateway", "shop", "waypoint"),
                name: "mesh".into(),
                port: 15008,
                role: ListenerRole::Waypoint,
                hostname: None,
                set: "open".into(),
                traffic: Traffic::default(),
            }],
            routes: Vec::new(),
            backends: Vec::new(),
            limits: Limits::default(),
            upstreams: upstreams::Config::default(),
            log: None,
            secrets: Vec::new(),
            resolver: None,
        };
        let mut ourselves = workload("waypoint", 1, address);
        ourselves.services.insert(GATEWAY.into(), vec![PortMapping { service: 15008, target: 15008 }]);
        ourselves.other_ports.admission = Admission::Direct;
        plan.workloads.push(ourselves);
        let worlds = Arc::new(Worlds::default());
        let mut nodes = Vec::new();
        for (index, (name, app)) in apps.iter().enumerate() {
            let node_listener = self::listener();
            let tunnel = self::address(&node_listener);
            let workload = workload(name, 10 + u8::try_from(index).unwrap(), tunnel);
            let node = Node {
                name: (*name).to_owned(),
                seen: Arc::default(),
                up: Arc::new(watch::Sender::new(true)),
            };
            let credential = authority.credential(&workload.identity, &[&west]);
            serve_node(node_listener, credential, uid(name), Arc::clone(&worlds), &node, app.clone());
            nodes.push(node);
            plan.workloads.push(serving(serving(workload, WEB), RAW));
        }
        change(&mut plan);

        let judge: Arc<dyn Judge> =
            Arc::new(Court::new(Arc::clone(&worlds), Decisions::new(None)).of_gateway(own.identity.clone()));
        let credentials: Arc<dyn Credentials> = Arc::new(Fixed(credential));
        let dial: Arc<dyn Dial> = Arc::new(DialTunnels::new(
            Arc::clone(&own),
            Pool::new(transport::pool::Config::default()),
            Arc::clone(&credentials),
            Arc::clone(&worlds),
            Duration::from_secs(5),
        ));
        let calls = Calls::new(
            plan.upstreams.clone(),
            Arc::clone(&own),
            Arc::clone(&worlds),
            Arc::clone(&judge),
            Arc::clone(&dial),
            rand::random::<u64>,
        );
        let spans =
            runtime::Spans::new("gateway/shop/waypoint", rand::random::<u64>, SystemTime::now, None, None);
        let calls = calls.tracing(spans.clone());
        let calls = match plan.resolver.take() {
            Some(resolver) => calls.resolving(resolver),
            None => calls,
        };
        let upstreams: Arc<dyn Upstreams> = Arc::new(calls);
        let refused = Arc::new(Refused::default());
        let errands = exchange::Errands::new(identity("shop/waypoint"), Arc::clone(&upstreams));
        let waypoint = Arc::new(Waypoint {
            limits: plan.limits.clone(),
            room: Room::new(&plan.limits),
            own,
            worlds: Arc::clone(&worlds),
            connections: Connections::default(),
            judge,
            known: Arc::new(waypoint::known::Told(Arc::clone(&worlds))),
            ledger: Arc::new(waypoint::ledger::Allowances::new(std::time::Instant::now)),
            register: Arc::clone(&refused) as Arc<dyn Register>,
            mirrors: Mirrors::new(Arc::clone(&upstreams)),
            errands: errands.clone(),
            guards: guards::Guards::default(),
            users: users::Users::new(errands),
            upstreams,
            dial,
            mcp: mcp::Mcp::new(
                mcp::Config::default(),
                Arc::new(mcp::Sealer::new(&[7; 32], &[]).unwrap()),
                mcp::Tools::default(),
            ),
            a2a: a2a::A2a::new(a2a::Config::default(), Arc::new(a2a::Sealer::new(&[7; 32], &[]).unwrap())),
            llm: llm::Llm::new(
                llm::Config::default(),
                llm::Sources { now: std::time::Instant::now, time: SystemTime::now, chance: || 7 },
            ),
            report: Report {
                log: plan.log.clone(),
                requests: Requests::default(),
                agents: waypoint::report::Agents::default(),
                spans: spans.clone(),
                meters: runtime::metrics::Meters::default(),
                decisions: Decisions::new(None),
                worlds: Arc::clone(&worlds),
                now: SystemTime::now,
            },
            chance: rand::random::<u64>,
            now: SystemTime::now,
        });
        let drain = runtime::Drain::new();
        tokio::spawn(waypoint::listen::accept(
            Arc::clone(&waypoint),
            Arc::new(listener),
            credentials,
            hbone::Limits::default(),
            Tunnels::default(),
            drain.watch(),
        ));
        let mesh =
            Self { authority, west, waypoint, address, refused, nodes, drain, version: AtomicU64::new(0) };
        let ranges = MeshRanges {
            network: "east".into(),
            local: true,
            addresses: vec!["10.20.0.0/16".parse().unwrap()],
            suffixes: vec!["cluster.local".into()],
        };
        let bundle = |name: &str| {
            Resource::Bundle(Arc::new(TrustBundle {
                trust_domain: name.parse().unwrap(),
                sequence: 1,
                roots: Vec::new(),
            }))
        };
        let mut resources = vec![Resource::Ranges(Arc::new(ranges)), bundle("east"), bundle("west")];
        resources.extend(plan.policies.into_iter().map(|it| Resource::Policy(Arc::new(it))));
        resources.extend(plan.sets.into_iter().map(|it| Resource::PolicySet(Arc::new(it))));
        resources.extend(plan.workloads.into_iter().map(|it| Resource::Workload(Arc::new(it))));
        resources.extend(plan.services.into_iter().map(|it| Resource::Service(Arc::new(it))));
        resources.extend(plan.backends.into_iter().map(|it| Resource::Backend(Arc::new(it))));
        resources.extend(plan.routes.into_iter().map(|it| Resource::Route(Arc::new(it))));
        resources.extend(plan.secrets.into_iter().map(|it| Resource::Secret(Arc::new(it))));
        resources.extend(plan.listeners.into_iter().map(|it| Resource::Listener(Arc::new(it))));
        mesh.apply(resources);
        mesh
    }

    /// Swaps these in, as a program does when a batch came, and says how many were closed.
    pub(crate) fn apply(&self, resources: Vec<Resource>) -> usize {
        let version = self.version.fetch_add(1, Ordering::SeqCst);
        let changes = resources.into_iter().map(|it| Change::Set(format!("v{version}").into(), it)).collect();
        self.change(changes)
    }

    pub(crate) fn change(&self, changes: Vec<Change>) -> usize {
        let (rejected, touched): (_, Touched) = self.waypoint.worlds.apply(changes, &NoExpressions);
        assert_eq!(rejected, []);
        let world = self.waypoint.worlds.load();
        self.waypoint.connections.judge_again(&world.snapshot, &touched, &*self.waypoint.judge)
    }

    /// A stream from a workload through the waypoint to an address.
    pub(crate) async fn stream(&self, caller: &str, to: &str) -> Result<Stream, DialError> {
        let caller = identity(caller);
        let authority = if caller.trust_domain().as_str() == "west" { &self.west } else { &self.authority };
        let credential = authority.credential(&caller, &[&self.authority, &self.west]);
        self.stream_as(&credential, ConnectRequest::to(to.parse().expect("an authority"))).await
    }

    pub(crate) async fn stream_as(
        &self,
        credential: &Arc<Credential>,
        request: ConnectRequest,
    ) -> Result<Stream, DialError> {
        let to = Destination {
            source: "caller".into(),
            address: self.address,
            peers: Expected::from(identity("shop/waypoint")),
        };
        // The pool lives as long as its tunnels do.
        let pool = Pool::new(transport::pool::Config::default());
        let stream =
            tokio::time::timeout(PATIENCE, pool.connect(&to, credential, request)).await.expect("in time");
        std::mem::forget(pool);
        stream
    }

    /// An HTTP/1.1 client of a workload.
    pub(crate) async fn http1(&self, caller: &str, to: &str) -> Client {
        let stream = self.stream(caller, to).await.expect("a stream");
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Client::Http1(sender)
    }

    /// An HTTP/2 client of a workload.
    pub(crate) async fn http2(&self, caller: &str, to: &str) -> Client {
        let stream = self.stream(caller, to).await.expect("a stream");
        let io = TokioIo::new(stream);
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Client::Http2(sender)
    }

    /// One GET by a new client.
    pub(crate) async fn get(&self, caller: &str, path: &str) -> Answer {
        self.http1(caller, WEB_VIP).await.get(path).await
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).expect("a node of the test")
    }
}

pub(crate) type ClientBody = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) enum Client {
    Http1(hyper::client::conn::http1::SendRequest<ClientBody>),
    Http2(hyper::client::conn::http2::SendRequest<ClientBody>),
}

/// What came back, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
    pub(crate) trailers: http::HeaderMap,
}

impl Answer {
    /// The application's name, as it told it.
    pub(crate) fn name(&self) -> &str {
        self.body.split(' ').next().unwrap_or_default()
    }
}

pub(crate) fn request(path: &str) -> http::request::Builder {
    http::Request::builder().uri(path).header("host", "web.shop")
}

pub(crate) fn body(text: &str) -> ClientBody {
    Full::new(Bytes::copy_from_slice(text.as_bytes())).boxed_unsync()
}

impl Client {
    pub(crate) async fn send(&mut self, request: http::Request<ClientBody>) -> http::Response<Incoming> {
        let sent = async {
            match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        tokio::time::timeout(PATIENCE, sent).await.expect("in time").expect("an answer")
    }

    pub(crate) async fn whole(&mut self, request: http::Request<ClientBody>) -> Answer {
        let response = self.send(request).await;
        let (parts, body) = response.into_parts();
        let body =
            tokio::time::timeout(PATIENCE, body.collect()).await.expect("in time").expect("a whole body");
        let trailers = body.trailers().cloned().unwrap_or_default();
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body, trailers }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let path = match self {
            Self::Http1(_) => path.to_owned(),
            Self::Http2(_) => format!("http://web.shop{path}"),
        };
        let request = match self {
            Self::Http1(_) => request(&path),
            Self::Http2(_) => http::Request::builder().uri(path),
        };
        self.whole(request.body(body("")).unwrap()).await
    }
}

pub(crate) fn listener() -> Listener {
    Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).expect("a free port")
}

pub(crate) fn address(listener: &Listener) -> SocketAddr {
    match listener.address() {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{path:?} is no port"),
    }
}

/// A node that admits as `mesh` says, and hands streams to its application as HTTP, or echoes those for `raw`.
fn serve_node(
    listener: Listener,
    credential: Arc<Credential>,
    workload: WorkloadUid,
    worlds: Arc<Worlds>,
    node: &Node,
    app: App,
) {
    let (seen, up) = (Arc::clone(&node.seen), Arc::clone(&node.up));
    tokio::spawn(async move {
        while let Ok(socket) = listener.accept().await {
            let Ok(mut tunnel) = hbone::accept(socket, &credential, &hbone::Limits::default()).await else {
                continue;
            };
            let (seen, up, worlds, app) =
                (Arc::clone(&seen), Arc::clone(&up), Arc::clone(&worlds), app.clone());
            let workload = workload.clone();
            tokio::spawn(async move {
                while let Some(connect) = tunnel.next().await {
                    let (worlds, workload, app) = (Arc::clone(&worlds), workload.clone(), app.clone());
                    deliver(connect, &worlds, workload, &seen, &up, app);
                }
            });
        }
    });
}

fn deliver(
    connect: Connect,
    worlds: &Worlds,
    workload: WorkloadUid,
    seen: &Mutex<Vec<Seen>>,
    up: &watch::Sender<bool>,
    app: App,
) {
    let peer = connect.peer().expect("a peer");
    let arrival = Arrival {
        workload,
        at: Entrance::Port(8080),
        peer: TlsPeer { identity: peer.identity.clone(), not_before: 946_684_800 },
        origin: match &connect.head.origin {
            OriginField::Absent => admission::Origin::Absent,
            OriginField::One(Origin::Identity(identity)) => admission::Origin::Identity(identity.clone()),
            OriginField::One(Origin::Unknown) => admission::Origin::Unknown,
            OriginField::Malformed => admission::Origin::Malformed,
            OriginField::Many(count) => admission::Origin::Many(*count),
        },
    };
    match admission::check(&worlds.load().snapshot, &arrival) {
        Err(denial) => connect.refuse(hbone::RefusalStatus::Denied, Some(&denial.to_string())),
        Ok(_) if !*up.borrow() => connect.refuse(hbone::RefusalStatus::Unavailable, None),
        Ok(caller) => {
            let raw = matches!(&connect.authority, hbone::Authority::Address(to) if to.port() == 9090);
            let (authority, trace) = (connect.authority.to_string(), connect.head.trace.clone());
            seen.lock().push(Seen { caller, authority, trace });
            let Ok(stream) = connect.accept(ResponseHead::default()) else { return };
            if raw {
                tokio::spawn(echo(stream));
            } else {
                tokio::spawn(serve_app(stream, app, up.subscribe()));
            }
        }
    }
}

pub(crate) async fn echo(mut stream: Stream) {
    while let Ok(Some(chunk)) = stream.read_chunk().await {
        if stream.write_chunks([chunk]).await.is_err() {
            return;
        }
    }
    let _ = stream.finish().await;
}

async fn serve_app(stream: Stream, app: App, mut up: watch::Receiver<bool>) {
    let service = hyper::service::service_fn(move |request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(app(request).await) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    // An application that is killed takes its connections along.
    tokio::select! {
        _ = connection => {}
        _ = up.wait_for(|up| !up) => {}
    }
}
