//! A control plane in a folder of its own, and proxies that are nothing but subscribers.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use identity::{CertificateClient, TokenError};
use mesh::{
    Identity, TrustDomain,
    resource::{Key, Resource},
};
use runtime::{Drain, Readiness};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use transport::{
    Expected,
    tls::{Alpn, Connector, ConnectorConfig, ServerTrust},
};
use wire::{
    Change, Rejected, Want,
    subscribe::{Announcement, Batch, Config, OnDemand, Receiver, Subscriber},
};

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running control plane.
pub(crate) struct Cluster {
    folder: Option<TempDir>,
    drain: Drain,
    running: controlplane::Running,
    trust_domain: TrustDomain,
    second: u8,
}

impl Cluster {
    /// Starts one on loopback addresses of its own.
    pub(crate) async fn start(name: &str, second: u8, objects: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = folder.path().join("files");
        std::fs::create_dir(&files).expect("a folder in it");
        std::fs::write(files.join("objects.yaml"), objects).expect("a file in that");
        let trust_domain: TrustDomain = format!("{name}.test").parse().expect("a trust domain");
        Self::within(folder, name, second, trust_domain).await
    }

    async fn within(folder: TempDir, name: &str, second: u8, trust_domain: TrustDomain) -> Self {
        let ranges = vec![format!("127.{second}.0.0/16").parse().expect("a range")];
        let mut config = controlplane::Config::on_one_machine(
            vec![folder.path().join("files")],
            folder.path().join("state"),
            name.to_owned(),
            trust_domain.clone(),
            ranges,
        )
        .expect("a configuration");
        config.listen.set_port(0);
        config.admin.set_port(0);
        config.metrics = None;
        config.ready = None;
        let drain = Drain::new();
        let started = controlplane::ControlPlane::start(config, drain.watch()).await.expect("it starts");
        let running = started.running().clone();
        tokio::spawn(started.run());
        Self { folder: Some(folder), drain, running, trust_domain, second }
    }

    /// Ends it and starts another in its place, with its state.
    pub(crate) async fn restart(mut self) -> Self {
        self.drain.advance(runtime::Phase::Closing);
        let folder = self.folder.take().expect("it is taken once");
        Self::within(folder, &self.running.cluster, self.second, self.trust_domain.clone()).await
    }

    fn path(&self) -> &std::path::Path {
        self.folder.as_ref().expect("it is there while it runs").path()
    }

    /// Writes a file as an editor does.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let files = self.path().join("files");
        std::fs::write(files.join(".new"), text).expect("it can be written");
        std::fs::rename(files.join(".new"), files.join(name)).expect("it can be put in place");
    }

    /// The path of a token.
    pub(crate) fn token(&self, name: &str) -> PathBuf {
        self.path().join("state/tokens").join(name)
    }

    /// Waits until a page shows something.
    pub(crate) async fn until(&self, page: &str, shows: impl Fn(&Value) -> bool) {
        let mut last = Value::Null;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                last = self.page(page).await;
                if shows(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        if waited.await.is_err() {
            panic!("{page} shows {last:#}");
        }
    }

    /// Changes something as whoever may read the state directory; what went wrong is a text.
    pub(crate) async fn post(&self, path: &str) -> Result<Value, String> {
        let token = std::fs::read_to_string(self.path().join("state/admin-token")).expect("the token");
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"));
        let (status, body) = self.ask(request).await;
        match status.is_success() {
            true => Ok(serde_json::from_slice(&body).expect("JSON")),
            false => Err(String::from_utf8_lossy(&body).into_owned()),
        }
    }

    async fn page(&self, path: &str) -> Value {
        let (_, body) = self.ask(http::Request::get(path)).await;
        serde_json::from_slice(&body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&body)))
    }

    async fn ask(&self, request: http::request::Builder) -> (http::StatusCode, Bytes) {
        let socket =
            tokio::net::TcpStream::connect(self.running.admin).await.expect("the admin page listens");
        let io = hyper_util::rt::TokioIo::new(socket);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP");
        tokio::spawn(connection);
        let request = request.header("host", self.running.admin.to_string());
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status();
        (status, response.into_body().collect().await.expect("a body").to_bytes())
    }

    fn root(&self) -> Vec<u8> {
        let pem = std::fs::read_to_string(self.path().join("state/root/root.pem")).expect("the root");
        // The first one signs; during a rotation another follows.
        let (first, _) = pem.split_once("-----END").expect("a certificate");
        let body: String = first.lines().filter(|line| !line.starts_with("-----")).collect();
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).expect("base64")
    }

    /// The ClusterLink with which others know this one.
    pub(crate) fn link(&self, import: &[(&str, &str)], export: &[&str]) -> String {
        let Self { running, trust_domain, .. } = self;
        let import: Vec<Value> =
            import.iter().map(|(remote, local)| json!({"remote": remote, "local": local})).collect();
        json!({
            "apiVersion": "strait.dev/v1alpha1",
            "kind": "ClusterLink",
            "metadata": {"name": running.cluster},
            "spec": {
                "trustDomain": trust_domain,
                "bundle": {
                    "endpoint": format!("https://{}/bundle", running.address),
                    "pin": authority::spki_pin(&self.root()).expect("a pin"),
                },
                "controlPlane": {
                    "address": running.address.to_string(),
                    "identity": format!("spiffe://{trust_domain}/ns/strait-system/sa/controlplane"),
                },
                "gateways": [{
                    "address": "127.0.0.1",
                    "port": 15008,
                    "identity": format!("spiffe://{trust_domain}/ns/strait-system/sa/east-west"),
                }],
                "import": {"namespaces": import},
                "export": {"namespaces": export},
            },
        })
        .to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.drain.advance(runtime::Phase::Closing);
    }
}

/// What a proxy holds.
pub(crate) type Held = BTreeMap<Key, Resource>;

/// A proxy that only holds.
pub(crate) struct Node {
    token: String,
    trust_domain: TrustDomain,
    channel: tonic::transport::Channel,
    held: watch::Receiver<Held>,
    on_demand: OnDemand,
    drain: Drain,
}

struct Holding(watch::Sender<Held>);

impl Receiver for Holding {
    fn apply(&mut self, batch: Batch) -> Vec<Rejected> {
        self.0.send_modify(|held| {
            for change in batch.changes {
                match change {
                    Change::Set(_, resource) => drop(held.insert(resource.key(), resource)),
                    Change::Remove(key) => drop(held.remove(&key)),
                }
            }
        });
        Vec::new()
    }

    fn in_use(&self, _: &Want) -> bool {
        true
    }
}

impl Node {
    /// A node with its own token.
    pub(crate) async fn join(cluster: &Cluster, name: &str) -> Self {
        let owner = controlplane::tokens::Owner::Node(name.to_owned());
        Self::of_owner(cluster, &owner).await
    }

    /// A gateway with its own token.
    pub(crate) async fn join_gateway(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        let owner = controlplane::tokens::Owner::Gateway(namespace.to_owned(), name.to_owned());
        Self::of_owner(cluster, &owner).await
    }

    async fn of_owner(cluster: &Cluster, owner: &controlplane::tokens::Owner) -> Self {
        let directory = cluster.path().join("state/tokens");
        let tokens = controlplane::tokens::Tokens::open(&directory, || [9; 32]).expect("the tokens");
        let file = tokens.file(owner).expect("a token");
        Self::with_token(cluster, std::fs::read_to_string(file).expect("it can be read").trim()).await
    }

    /// A proxy with any token.
    pub(crate) async fn with_token(cluster: &Cluster, token: &str) -> Self {
        let own: Identity = format!("spiffe://{}/ns/strait-system/sa/controlplane", cluster.trust_domain)
            .parse()
            .expect("one");
        let bundles = BTreeMap::from([(cluster.trust_domain.clone(), vec![cluster.root()])]);
        let connector = Connector::new(ConnectorConfig {
            trust: ServerTrust::Identity { expected: Expected::new([own]), bundles: Arc::new(bundles) },
            credential: None,
            alpn: Alpn::H2,
            timeout: PATIENCE,
        })
        .expect("a connector");
        let address: SocketAddr = cluster.running.address;
        let endpoint =
            tonic::transport::Endpoint::from_shared(format!("http://{address}")).expect("an endpoint");
        let channel = endpoint.connect_with_connector_lazy(connector);
        let (sender, held) = watch::channel(Held::new());
        let drain = Drain::new();
        let bearer: wire::Bearer = Arc::new({
            let token = token.to_owned();
            move || Ok(token.clone())
        });
        let (on_demand, subscriber) = Subscriber::new(
            Config::new(Announcement::default(), None, || 7),
            channel.clone(),
            bearer,
            Box::new(Holding(sender)),
            Readiness::new().part("configuration", "waiting"),
            drain.watch(),
        );
        tokio::spawn(subscriber.run());
        let trust_domain = cluster.trust_domain.clone();
        Self { token: token.to_owned(), trust_domain, channel, held, on_demand, drain }
    }

    /// What it holds now.
    pub(crate) fn held(&self) -> Held {
        self.held.borrow().clone()
    }

    /// Waits until it holds something.
    pub(crate) async fn holds(&self, something: impl Fn(&Held) -> bool) {
        let mut held = self.held.clone();
        let waited = tokio::time::timeout(PATIENCE, held.wait_for(|held| something(held))).await;
        if waited.is_err() {
            panic!("it holds {:#?}", self.held().keys().map(ToString::to_string).collect::<Vec<_>>());
        }
    }

    /// Asks for a name.
    pub(crate) async fn want(&self, name: &str) {
        let want = name.parse().expect("a name");
        tokio::time::timeout(PATIENCE, self.on_demand.want(want)).await.expect("in time").expect("answered");
    }

    /// Has a certificate signed.
    pub(crate) async fn certificate(&self, namespace: &str, account: &str) -> Result<(), String> {
        let identity =
            Identity::of_service_account(&self.trust_domain, namespace, account).expect("an identity");
        let client = CertificateClient::new(
            self.channel.clone(),
            Arc::new(Fixed(self.token.clone())),
            Duration::from_secs(3600),
        );
        let request = identity::CertificateRequest::new(&identity).expect("a request");
        let chain = identity::Issuer::issue(&client, &request).await.map_err(|error| error.to_string())?;
        assert!(chain.len() > 1, "the roots come last");
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.drain.advance(runtime::Phase::Closing);
    }
}

struct Fixed(String);

impl identity::Tokens for Fixed {
    fn token(&self) -> Result<String, TokenError> {
        Ok(self.0.clone())
    }
}
