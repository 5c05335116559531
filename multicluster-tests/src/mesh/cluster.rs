//! One cluster: a folder of YAML, a control plane, node proxies, waypoints and gateways.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use ::mesh::{Identity, TrustDomain};
use anyhow::{Context as _, bail, ensure};
use runtime::{Drain, access_log::Destination};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use translate::Access;

use super::{client::Client, network::Number, pages, program::Program, wait::until_some};

/// The control plane's name among the programs.
const CONTROL_PLANE: &str = "controlplane";

/// What a cluster consists of.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Its name; its trust domain is `NAME.test`.
    pub name: &'a str,
    /// Its YAML, by file name. `127.N.` stands for the cluster's prefix, `FOLDER` for its folder.
    pub files: &'a [(&'a str, &'a str)],
    /// Its nodes.
    pub nodes: &'a [&'a str],
    /// Its waypoints and gateways: namespace, name.
    pub gateways: &'a [(&'a str, &'a str)],
    /// What holds for Services where no policy and no label speaks.
    pub default_access: Access,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    nodes: Vec<String>,
    gateways: Vec<(String, String)>,
    default_access: Access,
    /// Dropped first: programs write into the folder.
    programs: BTreeMap<String, Program>,
    folder: TempDir,
    number: Number,
}

impl Cluster {
    /// Starts everything and waits until every program is ready.
    ///
    /// # Panics
    /// When a program does not become ready in time.
    ///
    /// # Errors
    /// When something cannot be started.
    pub async fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let mut cluster = Self::prepare(plan)?;
        cluster.start_control_plane().await?;
        cluster.start_proxies()?;
        cluster.ready().await;
        Ok(cluster)
    }

    /// Writes the files and starts nothing.
    ///
    /// # Errors
    /// When there is no free number or folder.
    pub fn prepare(plan: Plan<'_>) -> anyhow::Result<Self> {
        if let Ok(filter) = std::env::var("STRAIT_TEST_LOG") {
            // Another test of this process may have begun it.
            let _ = runtime::logging::init(&runtime::logging::Config { filter, ..Default::default() });
        }
        let folder = tempfile::tempdir()?;
        let mut private = fs::DirBuilder::new();
        private.mode(0o700);
        for name in ["files", "state", "proxies"] {
            private.create(folder.path().join(name))?;
        }
        let cluster = Self {
            name: plan.name.to_owned(),
            nodes: plan.nodes.iter().map(|node| (*node).to_owned()).collect(),
            gateways: plan.gateways.iter().map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect(),
            default_access: plan.default_access,
            programs: BTreeMap::new(),
            folder,
            number: Number::take()?,
        };
        for (name, text) in plan.files {
            cluster.write(name, text)?;
        }
        Ok(cluster)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its trust domain.
    pub fn trust_domain(&self) -> String {
        format!("{}.test", self.name)
    }

    /// Its number.
    pub fn number(&self) -> &Number {
        &self.number
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A socket in its folder, as `FOLDER/NAME.sock` names it in YAML.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.folder().join(format!("{name}.sock"))
    }

    /// The identity of a service account.
    pub fn identity(&self, namespace: &str, account: &str) -> String {
        format!("spiffe://{}/ns/{namespace}/sa/{account}", self.trust_domain())
    }

    /// Writes a file of YAML whole, as an editor does.
    ///
    /// # Errors
    /// When it cannot.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let text = text
            .replace("127.N.", &format!("127.{}.", self.number.get()))
            .replace("FOLDER", &self.folder().display().to_string());
        let (beside, place) = (self.folder().join(name), self.folder().join("files").join(name));
        fs::write(&beside, text)?;
        Ok(fs::rename(&beside, place)?)
    }

    /// Removes a file of YAML.
    ///
    /// # Errors
    /// When it cannot.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.folder().join("files").join(name))?)
    }

    /// The cluster's root certificate, DER.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn root(&self) -> anyhow::Result<Vec<u8>> {
        Ok(CertificateDer::from_pem_file(self.root_file())?.to_vec())
    }

    fn root_file(&self) -> PathBuf {
        self.folder().join("state/root/root.pem")
    }

    /// The file of a token, such as `node-one` or `workload-shop-planner`.
    pub fn token_file(&self, owner: &str) -> PathBuf {
        self.folder().join("state/tokens").join(owner)
    }

    /// A client of a workload whose address is 127.N.`third`.`fourth`.
    ///
    /// # Errors
    /// When the workload has no token.
    pub fn client(&self, namespace: &str, workload: &str, at: (u8, u8)) -> anyhow::Result<Client> {
        let file = self.token_file(&format!("workload-{namespace}-{workload}"));
        let token = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Client { proxy: self.number.at(at.0, at.1, 15080), token: token.trim().to_owned() })
    }

    /// Starts the control plane and waits until it serves.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_control_plane(&mut self) -> anyhow::Result<()> {
        let range = format!("127.{}.0.0/16", self.number.get()).parse()?;
        let mut config = controlplane::Config::on_one_machine(
            vec![self.folder().join("files")],
            self.folder().join("state"),
            self.name.clone(),
            self.trust_domain().parse()?,
            vec![range],
        )?;
        config.default_access = self.default_access;
        let (tell, told) = oneshot::channel();
        let program = Program::start(&format!("{} {CONTROL_PLANE}", self.name), move || async move {
            let drain = Drain::new();
            let started = controlplane::ControlPlane::start(config, drain.watch()).await?;
            // The test may have given up waiting.
            let _ = tell.send(());
            started.run().await;
            Ok(())
        })?;
        if told.await.is_err() {
            bail!("the control plane did not start: {:?}", program.ended());
        }
        self.programs.insert(CONTROL_PLANE.to_owned(), program);
        Ok(())
    }

    /// Starts every proxy that does not run.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start_proxies(&mut self) -> anyhow::Result<()> {
        for node in self.nodes.clone() {
            if !self.programs.contains_key(&node) {
                self.start_node(&node)?;
            }
        }
        for (namespace, name) in self.gateways.clone() {
            if !self.programs.contains_key(&format!("{namespace}/{name}")) {
                self.start_gateway(&namespace, &name)?;
            }
        }
        Ok(())
    }

    fn own_ip(&self, program: &str) -> anyhow::Result<std::net::IpAddr> {
        let node = self.nodes.iter().position(|node| node == program).map(|index| 11 + index);
        let gateway = || {
            let is = |(namespace, name): &(String, String)| format!("{namespace}/{name}") == program;
            self.gateways.iter().position(is).map(|index| 31 + index)
        };
        let fourth = node.or_else(gateway).with_context(|| format!("there is no program {program}"))?;
        Ok(self.number.ip(0, u8::try_from(fourth)?))
    }

    fn bundle(&self) -> anyhow::Result<(TrustDomain, Vec<Vec<u8>>)> {
        Ok((self.trust_domain().parse()?, vec![self.root()?]))
    }

    /// Where a proxy writes its access log.
    pub fn log_file(&self, program: &str) -> PathBuf {
        self.folder().join("proxies").join(format!("{}.log", program.replace('/', "-")))
    }

    /// Starts a node proxy.
    ///
    /// # Errors
    /// When it cannot.
    pub fn start_node(&mut self, node: &str) -> anyhow::Result<()> {
        let own = self.own_ip(node)?;
        let (trust_domain, roots) = self.bundle()?;
        let control_plane = ztunnel::ControlPlane {
            address: self.number.at(0, 1, controlplane::PORT),
            identity: Identity::of_service_account(&trust_domain, "strait-system", "controlplane")?,
            bundles: Arc::new([(trust_domain, roots)].into()),
        };
        let token = self.token_file(&format!("node-{node}"));
        let mut config = ztunnel::Config::new(node.into(), self.name.as_str().into(), control_plane, token);
        config.state_directory = Some(self.folder().join("proxies").join(node));
        config.admin = Some(SocketAddr::new(own, 15000));
        config.access_log = Destination::File(self.log_file(node));
        let program = Program::start(&format!("{} {node}", self.name), move || async move {
            Ok(ztunnel::run(config, Drain::new()).await?)
        })?;
        self.programs.insert(node.to_owned(), program);
        Ok(())
    }

    /// Starts a waypoint or gateway.
    ///
    /// # Errors
    /// When it cannot.
    pub fn start_gateway(&mut self, namespace: &str, name: &str) -> anyhow::Result<()> {
        let program = format!("{namespace}/{name}");
        let mut config = waypoint::Config::new(
            (namespace, name),
            self.trust_domain().parse()?,
            self.number.at(0, 1, controlplane::PORT),
            self.root_file(),
            self.token_file(&format!("gateway-{namespace}-{name}")),
            self.folder().join("proxies").join(format!("{namespace}-{name}")),
            self.own_ip(&program)?,
        );
        config.access_log = Destination::File(self.log_file(&program));
        let started = Program::start(&format!("{} {name}", self.name), move || async move {
            Ok(waypoint::run(config, Drain::new()).await?)
        })?;
        self.programs.insert(program, started);
        Ok(())
    }

    /// Waits until every proxy is ready.
    ///
    /// # Panics
    /// When one is not in time.
    pub async fn ready(&self) {
        let proxies = self.programs.iter().filter(|(name, _)| *name != CONTROL_PLANE);
        for (name, program) in proxies {
            self.proxy_ready(name, program).await;
        }
    }

    async fn proxy_ready(&self, name: &str, program: &Program) {
        until_some(&format!("{} {name} is ready", self.name), async || {
            if let Some(how) = program.ended() {
                panic!("{how}");
            }
            pages::text(SocketAddr::new(self.own_ip(name)?, 15000), "/healthz/ready").await
        })
        .await;
    }

    /// Kills a program: a node, `NAMESPACE/NAME` of a gateway, or `controlplane`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, program: &str) -> anyhow::Result<()> {
        self.programs.remove(program).with_context(|| format!("{program} does not run"))?.kill();
        Ok(())
    }

    /// A page of the control plane.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn page(&self, path: &str) -> anyhow::Result<Value> {
        pages::json(self.number.at(0, 1, controlplane::ADMIN_PORT), path).await
    }

    /// A page of a proxy.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn proxy_page(&self, program: &str, path: &str) -> anyhow::Result<Value> {
        pages::json(SocketAddr::new(self.own_ip(program)?, 15000), path).await
    }

    /// Waits until a proxy has put on disk what it knew at a moment or later.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn stored_since(&self, program: &str, moment: SystemTime) {
        let file = self.folder().join("proxies").join(program.replace('/', "-")).join("resources");
        until_some(&format!("{program} stores what it knows"), async || {
            let stored = fs::metadata(&file)?.modified()?;
            ensure!(stored >= moment, "it did last at {stored:?}, not since {moment:?}");
            Ok(())
        })
        .await;
    }

    /// Waits for a line in a proxy's access log that holds every one of these texts.
    ///
    /// # Panics
    /// When it is not written in time.
    pub async fn logged(&self, program: &str, parts: &[&str]) -> String {
        until_some(&format!("{program} logs {parts:?}"), async || {
            let log = fs::read_to_string(self.log_file(program))?;
            let line = log.lines().find(|line| parts.iter().all(|part| line.contains(part)));
            line.map(str::to_owned).with_context(|| format!("only:\n{log}"))
        })
        .await
    }

    /// What the control plane says of a refusal, once the proxy has told it.
    ///
    /// # Panics
    /// When it never knows it.
    pub async fn explained(&self, id: &str) -> Value {
        until_some(&format!("{id} is explained"), async || {
            ensure!(!id.is_empty(), "the refusal said no id");
            let said = self.page(&format!("/v1/explain?id={id}")).await?;
            // Before its record came, the id alone says less.
            ensure!(said["caller"].is_string(), "its record did not come: {said}");
            Ok(said)
        })
        .await
    }
}
