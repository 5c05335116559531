//! Brings clusters up, finds them again, and takes them down.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use rig_network::{
    Fabric, Plan, Reach,
    plan::{API_PORT, ClusterPlan},
};

use crate::{
    Cluster, Progress,
    controlplane::{self, ControlPlane, Ports},
    free_port, manifests, node,
    process::{Identity, Launch, Processes},
    programs::{Programs, own},
    state::{Home, Record},
    sweep, wait,
};

/// How long nodes and the cluster's DNS may take to be ready once the API server is.
const NODES_TIMEOUT: Duration = Duration::from_secs(90);

/// What to bring up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name by which the rig is found again, and with which all its names on the machine begin.
    pub id: String,
    /// How many clusters.
    pub clusters: u8,
    /// How many nodes each has.
    pub nodes: u8,
    /// How far pods reach.
    pub reach: Reach,
    /// With whom the rig dies.
    pub lifetime: Lifetime,
}

/// When a rig ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// When its value is dropped, or is found without its process.
    Dropped,
    /// When the last process that uses it is gone for a while.
    Guarded,
    /// When somebody takes it down.
    Kept,
}

/// Clusters that are up.
pub struct Rig {
    home: Home,
    plan: Plan,
    clusters: Vec<Cluster>,
    lifetime: Lifetime,
}

impl Rig {
    /// Brings a rig up, after sweeping what is left of one of that id and of those whose owners died.
    ///
    /// # Errors
    /// When a program is missing, ends or does not become ready in time, with the last it said. What was begun is
    /// taken down again.
    pub async fn up(options: &Options, progress: &Progress) -> anyhow::Result<Self> {
        let plan = Plan::new(&options.id, options.clusters, options.nodes, options.reach)?;
        let programs = Programs::of_clusters(progress).await?;
        let home = Home::of(&options.id);
        sweep::abandoned()?;
        sweep::remove(&home)?;
        // Whoever gives up waiting, by an error or by Ctrl-C, leaves nothing behind.
        let begun = Begun { home: home.clone(), armed: true };
        let rig = bring_up(home, plan, options.lifetime, programs, progress).await?;
        begun.done();
        Ok(rig)
    }

    /// Finds a rig that is up.
    ///
    /// # Errors
    /// When there is none of that id, or it was never ready.
    pub async fn attach(id: &str) -> anyhow::Result<Self> {
        let home = Home::of(id);
        let record = home.read()?;
        if !record.ready {
            bail!("the rig {id} is not ready: it is coming up, or its coming up was cut off");
        }
        let plan = Plan::new(id, record.clusters, record.nodes, record.reach)?;
        let programs = Programs::of_clusters(&Progress::silent()).await?;
        let mut clusters = Vec::new();
        for cluster in plan.clusters() {
            clusters.push(Cluster::at(cluster.number(), cluster.folder(), programs.clone()).await?);
        }
        Ok(Self { home, plan, clusters, lifetime: Lifetime::Kept })
    }

    /// Takes a rig down, whatever state it is in.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub fn remove(id: &str) -> anyhow::Result<()> {
        rig_network::plan::check_id(id)?;
        sweep::remove(&Home::of(id))
    }

    /// Takes this one down.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn down(mut self) -> anyhow::Result<()> {
        self.lifetime = Lifetime::Kept;
        sweep::remove(&self.home)
    }

    /// Names and addresses of everything.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The cluster with this number, from 1.
    ///
    /// # Panics
    /// When the rig has no such cluster.
    #[track_caller]
    pub fn cluster(&self, number: u8) -> &Cluster {
        let found = self.clusters.iter().find(|cluster| cluster.number() == number);
        found.unwrap_or_else(|| panic!("the rig {} has no cluster {number}", self.home.id()))
    }

    /// All clusters, in order.
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// Fails when a program of the rig has ended, with the last it said.
    ///
    /// # Errors
    /// As described.
    pub fn check(&self) -> anyhow::Result<()> {
        let processes = self.processes();
        processes.check(&processes.list())
    }

    pub(crate) fn processes(&self) -> Processes {
        self.home.processes()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Dropped
            && let Err(error) = sweep::remove(&self.home)
        {
            eprintln!("the rig {} could not be removed: {error:#}", self.home.id());
        }
    }
}

/// A rig on its way up: removed unless it arrives.
struct Begun {
    home: Home,
    armed: bool,
}

impl Begun {
    fn done(mut self) {
        self.armed = false;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.armed
            && let Err(error) = sweep::remove(&self.home)
        {
            eprintln!("what was begun of the rig {} could not be removed: {error:#}", self.home.id());
        }
    }
}

async fn bring_up(
    home: Home,
    plan: Plan,
    lifetime: Lifetime,
    programs: Programs,
    progress: &Progress,
) -> anyhow::Result<Rig> {
    home.create()?;
    let mut record = Record {
        id: home.id().to_owned(),
        clusters: plan.cluster_count(),
        nodes: plan.node_count(),
        reach: plan.reach(),
        owner: if lifetime == Lifetime::Dropped { Some(Identity::own()?) } else { None },
        ports: Vec::new(),
        ready: false,
    };
    home.write(&record)?;
    let begin = Instant::now();
    let processes = home.processes();
    Fabric::build(&plan).context("cannot build the rig's network")?;
    progress.say(&format!(
        "network of {} namespaces ({} ms)",
        plan.namespaces().len(),
        begin.elapsed().as_millis()
    ));
    record.ports = start_outside(&plan, &processes)?;
    let starting = plan
        .clusters()
        .zip(&record.ports)
        .map(|(cluster, port)| start_cluster(cluster, *port, &processes, &programs, progress));
    let clusters = try_join_all(starting).await?;
    if lifetime == Lifetime::Guarded {
        processes.start(&Launch::new("guard", None, own("rig")?).arguments(["guard", "--id", home.id()]))?;
    }
    record.ready = true;
    home.write(&record)?;
    progress.say("ready");
    Ok(Rig {
        home,
        plan,
        clusters,
        lifetime: if lifetime == Lifetime::Dropped { lifetime } else { Lifetime::Kept },
    })
}

/// Starts what belongs to no cluster: the WAN, and for each cluster a way in from the machine. Returns the ports
/// of loopback where the API servers will answer.
fn start_outside(plan: &Plan, processes: &Processes) -> anyhow::Result<Vec<u16>> {
    let program = own("rig")?;
    let wan =
        Launch::new("wan", Some(&plan.wan_namespace()), &program).arguments(["wan-serve", "--id", plan.id()]);
    processes.start(&wan)?;
    let mut ports = Vec::new();
    for cluster in plan.clusters() {
        let port = free_port()?;
        let launch = Launch::new(format!("{}-forward", cluster.name()), None, &program).arguments([
            "forward".to_owned(),
            format!("--port={port}"),
            format!("--namespace={}", cluster.control_plane_namespace()),
            format!("--to={}:{API_PORT}", cluster.control_plane_address()),
        ]);
        processes.start(&launch)?;
        ports.push(port);
    }
    Ok(ports)
}

async fn start_cluster(
    cluster: ClusterPlan<'_>,
    port: u16,
    processes: &Processes,
    programs: &Programs,
    progress: &Progress,
) -> anyhow::Result<Cluster> {
    let name = cluster.name();
    let plane = control_plane(&cluster);
    let authority = plane.prepare(&format!("https://127.0.0.1:{port}"))?;
    let mut started = plane.start_api(processes, programs)?;
    for node in cluster.nodes() {
        node::prepare(&node, &plane.inside(), &authority, programs)?;
    }
    let reached = Cluster::at(cluster.number(), cluster.folder(), programs.clone()).await?;
    controlplane::ready(&reached.client(), processes, &started)
        .await
        .with_context(|| format!("cluster {name}"))?;
    progress.say(&format!("{name}: the API server is ready"));
    started.extend(plane.start_controllers(processes, programs)?);
    for node in cluster.nodes() {
        started.extend(node::start(&node, processes, programs)?);
    }
    started.push(processes.start(&balancer(&cluster)?)?);
    manifests::dns(&reached.client(), cluster.dns_service()).await?;
    controlplane::first_account(&reached.client()).await.with_context(|| format!("cluster {name}"))?;
    progress.say(&format!("{name}: controllers are at work"));
    nodes_ready(&reached, usize::from(cluster.plan().node_count()), processes, &started)
        .await
        .with_context(|| format!("cluster {name}"))?;
    progress.say(&format!("{name}: nodes and DNS are ready"));
    Ok(reached)
}

fn control_plane(cluster: &ClusterPlan<'_>) -> ControlPlane {
    ControlPlane {
        name: cluster.name(),
        folder: cluster.folder(),
        namespace: Some(cluster.control_plane_namespace()),
        listen: std::net::Ipv4Addr::UNSPECIFIED,
        advertised: Some(cluster.control_plane_address()),
        services: cluster.services().to_string(),
        service: cluster.kubernetes_service(),
        ports: Ports::OWN,
    }
}

fn balancer(cluster: &ClusterPlan<'_>) -> anyhow::Result<Launch> {
    let pool = cluster.load_balancers();
    let mut hosts = pool.hosts();
    let (first, last) = hosts.next().zip(hosts.last()).context("the pool of load balancers is empty")?;
    let launch = Launch::new(
        format!("{}-balancer", cluster.name()),
        Some(&cluster.control_plane_namespace()),
        own("rig")?,
    );
    Ok(launch.arguments([
        "balancer".to_owned(),
        format!("--kubeconfig={}", cluster.folder().join("inside.conf").display()),
        format!("--first={first}"),
        format!("--last={last}"),
    ]))
}

/// Waits until every node is ready and the cluster's DNS answers.
async fn nodes_ready(
    cluster: &Cluster,
    nodes: usize,
    processes: &Processes,
    started: &[crate::Process],
) -> anyhow::Result<()> {
    let ready = wait::until_some("ready nodes and DNS", NODES_TIMEOUT, || async {
        if let Err(dead) = processes.check(started) {
            return Ok(Some(Err(dead)));
        }
        let all = cluster.nodes_ready().await? == nodes && manifests::dns_ready(&cluster.client()).await?;
        anyhow::Ok(all.then_some(Ok(())))
    });
    ready.await?
}
