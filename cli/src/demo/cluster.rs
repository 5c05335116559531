//! One cluster of the demo: its control plane, nodes, waypoint and gateway.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;

use super::{narrate::Listener, process::Process, relay::Relay};
use crate::client::{self, Running};
use transport::Address;

/// The folder that the example files name; the demo writes its own there.
const FOLDER_IN_EXAMPLES: &str = "/tmp/strait-demo";
/// The port that others dial; there a recording relay listens.
pub(crate) const HBONE: u16 = 15008;
/// The port that the programs bind.
pub(crate) const HBONE_BIND: u16 = 15208;
/// Added to the ports of ways in: who is not root may not bind 443.
const EDGE_OFFSET: u16 = 8000;
/// Where people come in, whose listener says 443.
pub(crate) const EDGE: u16 = 443 + EDGE_OFFSET;
/// The port at which every program tells of itself.
const ADMIN: u16 = 15000;
/// The last numbers of the addresses of the programs of nodes and of gateways begin here.
const NODES: u8 = 11;
const GATEWAYS: u8 = 21;
/// How long a program may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// How often readiness is asked for.
const READY_EVERY: Duration = Duration::from_millis(20);

/// What one cluster consists of.
pub(crate) struct Plan {
    /// Its name.
    pub(crate) name: &'static str,
    /// The second number of its addresses, 127.N.0.0/16.
    pub(crate) number: u8,
    /// Its YAML, by file name.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Its nodes.
    pub(crate) nodes: &'static [&'static str],
    /// Its gateways: namespace, name.
    pub(crate) gateways: &'static [(&'static str, &'static str)],
    /// The mesh addresses at which its nodes and gateways accept tunnels.
    pub(crate) tunnels: &'static [[u8; 2]],
}

/// A running cluster.
pub(crate) struct Cluster {
    pub(crate) plan: &'static Plan,
    /// Where its files, state and logs are.
    pub(crate) folder: PathBuf,
    /// Its programs, the control plane first.
    pub(crate) programs: Vec<Process>,
    /// The relays before its nodes and gateways.
    pub(crate) relays: Vec<Relay>,
    /// Its control plane.
    pub(crate) running: Running,
}

impl Plan {
    /// A loopback address of the cluster.
    pub(crate) fn ip(&self, third: u8, fourth: u8) -> IpAddr {
        Ipv4Addr::new(127, self.number, third, fourth).into()
    }

    pub(crate) fn trust_domain(&self) -> String {
        format!("{}.demo", self.name)
    }
}

impl Cluster {
    /// The folder of YAML that its control plane watches.
    pub(crate) fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Its state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Writes the files, starts relays and programs, and waits until everything is ready.
    pub(crate) async fn start(plan: &'static Plan, base: &Path, listener: Listener) -> anyhow::Result<Self> {
        let folder = base.join(plan.name);
        let files = folder.join("files");
        fs::create_dir_all(&files)?;
        fs::create_dir_all(folder.join("recordings"))?;
        for (name, text) in plan.files {
            fs::write(files.join(name), text.replace(FOLDER_IN_EXAMPLES, &base.display().to_string()))?;
        }
        let relays = plan
            .tunnels
            .iter()
            .map(|&[third, fourth]| {
                let ip = plan.ip(third, fourth);
                let at = Address::Tcp(SocketAddr::new(ip, HBONE));
                let to = Address::Tcp(SocketAddr::new(ip, HBONE_BIND));
                Relay::start(at, to, &folder.join(format!("recordings/{ip}")))
                    .with_context(|| format!("cannot listen at {ip}:{HBONE}: does another demo run?"))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let state = folder.join("state");
        let arguments = [
            "run",
            "controlplane",
            "--file",
            &text(&files),
            "--state",
            &text(&state),
            "--cluster",
            plan.name,
            "--trust-domain",
            &plan.trust_domain(),
            "--ranges",
            &format!("127.{}.0.0/16", plan.number),
        ]
        .map(str::to_owned);
        listener.progress(&format!("{}: control plane", plan.name));
        let mut control_plane = Process::start(&folder, "controlplane", &arguments)?;
        wait_for(&mut control_plane, || state.join(Running::FILE).exists()).await?;
        let running = Running::find(&state)?;
        let mut cluster = Self { plan, folder, programs: vec![control_plane], relays, running };
        cluster.start_proxies(listener)?;
        Ok(cluster)
    }

    fn start_proxies(&mut self, listener: Listener) -> anyhow::Result<()> {
        listener.progress(&format!("{}: node proxies, waypoint, gateway", self.plan.name));
        for (index, node) in self.plan.nodes.iter().enumerate() {
            let ip = self.plan.ip(0, NODES + u8::try_from(index)?);
            let mut arguments = self.proxy("ztunnel", "--node", node, &format!("node-{node}"), ip);
            arguments.extend(["--cluster", self.plan.name].map(str::to_owned));
            self.programs.push(Process::start(&self.folder, &format!("ztunnel-{node}"), &arguments)?);
        }
        for (index, (namespace, name)) in self.plan.gateways.iter().enumerate() {
            let ip = self.plan.ip(0, GATEWAYS + u8::try_from(index)?);
            let mut arguments = self.proxy(
                "waypoint",
                "--gateway",
                &format!("{namespace}/{name}"),
                &format!("gateway-{namespace}-{name}"),
                ip,
            );
            arguments.extend(["--edge-port-offset".to_owned(), EDGE_OFFSET.to_string()]);
            self.programs.push(Process::start(&self.folder, &format!("waypoint-{name}"), &arguments)?);
        }
        Ok(())
    }

    fn proxy(&self, program: &str, flag: &str, value: &str, token: &str, ip: IpAddr) -> Vec<String> {
        let state = self.state();
        [
            "run",
            program,
            flag,
            value,
            "--control-plane",
            &self.running.address.to_string(),
            "--root",
            &text(&state.join("root/root.pem")),
            "--token-file",
            &text(&state.join("tokens").join(token)),
            "--trust-domain",
            &self.plan.trust_domain(),
            "--state",
            &text(&state.join("proxies").join(token)),
            "--address",
            &ip.to_string(),
            "--hbone-bind-port",
            &HBONE_BIND.to_string(),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Waits until every proxy says that it is ready.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let nodes = (NODES..).take(self.plan.nodes.len());
        let proxies = nodes.chain((GATEWAYS..).take(self.plan.gateways.len()));
        for (process, fourth) in self.programs.iter_mut().skip(1).zip(proxies) {
            let admin = SocketAddr::new(self.plan.ip(0, fourth), ADMIN);
            let start = std::time::Instant::now();
            while client::text(admin, "/healthz/ready").await.is_err() {
                process.check()?;
                anyhow::ensure!(
                    start.elapsed() < READY_TIMEOUT,
                    "{} is not ready after {READY_TIMEOUT:?}: {}",
                    process.name(),
                    client::text(admin, "/healthz/ready")
                        .await
                        .err()
                        .map_or_else(String::new, |error| format!("{error:#}")),
                );
                tokio::time::sleep(READY_EVERY).await;
            }
        }
        Ok(())
    }

    /// Waits until so many services of other clusters are published here, and every proxy has what is published.
    pub(crate) async fn imported(&mut self, services: usize) -> anyhow::Result<()> {
        let start = std::time::Instant::now();
        loop {
            let known = self.page("/v1/services").await?;
            let imported = rows(&known).filter(|row| {
                row["hostname"].as_str().is_some_and(|name| name.ends_with(".clusterset.local"))
            });
            let imported = imported.count();
            let proxies = self.page("/v1/proxies").await?;
            if imported >= services && rows(&proxies).all(|row| row["current"] == true) {
                return Ok(());
            }
            self.programs[0].check()?;
            anyhow::ensure!(
                start.elapsed() < READY_TIMEOUT,
                "{} has imported {imported} of {services} services after {READY_TIMEOUT:?}: see strait check --state {}",
                self.plan.name,
                self.state().display()
            );
            tokio::time::sleep(READY_EVERY).await;
        }
    }

    /// Where the program of one of its nodes tells of itself.
    pub(crate) fn node_admin(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let index = self.plan.nodes.iter().position(|node| *node == name);
        let index = index.with_context(|| format!("no node {name}"))?;
        Ok(SocketAddr::new(self.plan.ip(0, NODES + u8::try_from(index)?), ADMIN))
    }

    /// The same of one of its gateways.
    pub(crate) fn gateway_admin(&self, namespace: &str, name: &str) -> anyhow::Result<SocketAddr> {
        let index = self.plan.gateways.iter().position(|gateway| *gateway == (namespace, name));
        let index = index.with_context(|| format!("no gateway {namespace}/{name}"))?;
        Ok(SocketAddr::new(self.plan.ip(0, GATEWAYS + u8::try_from(index)?), ADMIN))
    }

    /// One of its programs.
    pub(crate) fn program(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        self.programs
            .iter_mut()
            .find(|program| program.name() == name)
            .with_context(|| format!("no program {name}"))
    }

    /// A page of its control plane.
    pub(crate) async fn page(&self, path: &str) -> anyhow::Result<Value> {
        self.running.page(path).await
    }
}

fn rows(page: &Value) -> impl Iterator<Item = &Value> {
    page.as_array().into_iter().flatten()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Waits until something holds, as long as the process lives and not too long.
pub(crate) async fn wait_for(process: &mut Process, holds: impl Fn() -> bool) -> anyhow::Result<()> {
    let start = std::time::Instant::now();
    while !holds() {
        process.check()?;
        anyhow::ensure!(
            start.elapsed() < READY_TIMEOUT,
            "{} is not ready after {READY_TIMEOUT:?}",
            process.name()
        );
        tokio::time::sleep(READY_EVERY).await;
    }
    Ok(())
}
