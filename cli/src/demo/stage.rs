//! Builds the stage: folders, clusters, link, applications; and takes it down.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use transport::Address;

use super::{
    agent::Agent,
    applications,
    cluster::{Cluster, EDGE, Plan},
    command,
    narrate::Listener,
    people::HOST,
    process::Process,
    relay::Relay,
    secrets::Secrets,
};

macro_rules! example {
    ($cluster:literal, $($file:literal),*) => {
        &[$(($file, include_str!(concat!("../../../examples/demo/", $cluster, "/", $file)))),*]
    };
}

/// The services that west exports.
const EXPORTS: usize = 5;

static EAST: Plan = Plan {
    name: "east",
    number: 10,
    files: example!(
        "east",
        "mesh.yaml",
        "workloads.yaml",
        "services.yaml",
        "routes.yaml",
        "policies.yaml",
        "models.yaml",
        "researcher.yaml",
        "toolbox.yaml",
        "catalogue.yaml",
        "edge.yaml"
    ),
    nodes: &["east-1", "east-2"],
    gateways: &[("agents", "waypoint"), ("strait-system", "east-west"), ("agents", "edge")],
    tunnels: &[[1, 1], [1, 2], [1, 3], [1, 11], [1, 12], [1, 13], [1, 41], [1, 42], [1, 43], [2, 1], [2, 2]],
};

static WEST: Plan = Plan {
    name: "west",
    number: 20,
    files: example!(
        "west",
        "mesh.yaml",
        "workloads.yaml",
        "services.yaml",
        "policies.yaml",
        "researcher.yaml",
        "researcher-route.yaml"
    ),
    nodes: &["west-1", "west-2"],
    gateways: &[("tools", "waypoint"), ("strait-system", "east-west")],
    tunnels: &[[1, 1], [1, 13], [1, 21], [1, 22], [1, 31], [1, 32], [2, 1], [2, 2]],
};

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) east: Cluster,
    pub(crate) west: Cluster,
    pub(crate) planner: Agent,
    pub(crate) intern: Agent,
    /// The next version of planner, as the same identity.
    planner_v2: Agent,
    /// The applications that serve.
    pub(crate) applications: Vec<Process>,
    /// The relay at the delivery socket of the MCP server.
    pub(crate) delivery: Relay,
    /// What no agent may see.
    pub(crate) secrets: Secrets,
    /// How long it took until everything was ready.
    pub(crate) up_in: std::time::Duration,
}

/// A folder of the demo's own, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("strait-demo-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left in the temporary folder, and harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Stage {
    /// Brings everything up.
    pub(crate) async fn build(folder: &Path, listener: Listener) -> anyhow::Result<Self> {
        let start = std::time::Instant::now();
        private(folder)?;
        let (east, west) = tokio::try_join!(
            Cluster::start(&EAST, folder, listener),
            Cluster::start(&WEST, folder, listener)
        )?;
        let (mut east, mut west) = (east, west);
        listener.progress("linking east and west");
        join(&east, &west, &["--import", "tools"]).await?;
        join(&west, &east, &["--export", "tools", "--voucher", "agents/waypoint"]).await?;
        let secrets = Secrets::make()?;
        secrets.write(&east.files())?;
        secrets.leave_for_people(&east.folder)?;
        listener.progress("applications");
        let delivery = Relay::start(
            Address::Unix(west.folder.join("tools.sock")),
            Address::Unix(applications::tools_socket(&west)),
            &west.folder.join("recordings/delivery"),
        )?;
        let applications = applications::start(&east, &west, &secrets.model_key).await?;
        listener.progress("waiting until every program is ready");
        east.ready().await?;
        west.ready().await?;
        listener.progress("waiting until east knows what west exports");
        east.imported(EXPORTS).await?;
        west.imported(0).await?;
        let planner = applications::agent(&east, "planner", 1).await?;
        let intern = applications::agent(&east, "intern", 2).await?;
        let planner_v2 = applications::agent(&east, "planner-v2", 3).await?;
        let up_in = start.elapsed();
        let stage = Self { east, west, planner, planner_v2, intern, applications, delivery, secrets, up_in };
        listener.progress(&format!("up in {:.1} s", stage.up_in.as_secs_f32()));
        Ok(stage)
    }

    /// Where people come in.
    pub(crate) fn edge(&self) -> SocketAddr {
        SocketAddr::new(self.east.plan.ip(2, 3), EDGE)
    }

    /// One of the applications.
    pub(crate) fn application(&mut self, name: &str) -> anyhow::Result<&mut Process> {
        self.applications
            .iter_mut()
            .find(|one| one.name() == name)
            .with_context(|| format!("no application {name}"))
    }

    /// Every process.
    pub(crate) fn pids(&mut self) -> Vec<(String, u32)> {
        let clusters = [&self.east, &self.west];
        let mut pids: Vec<(String, u32)> = clusters
            .iter()
            .flat_map(|cluster| cluster.programs.iter())
            .chain(&self.applications)
            .filter_map(|process| Some((process.name().to_owned(), process.pid()?)))
            .collect();
        for agent in [&mut self.planner, &mut self.intern, &mut self.planner_v2] {
            let process = agent.process();
            pids.extend(process.pid().map(|pid| (process.name().to_owned(), pid)));
        }
        pids
    }

    /// What a person can do while the demo stays up.
    pub(crate) fn say_what_to_try_next(&self) {
        let (east, west) = (self.east.state(), self.west.state());
        println!(
            "\nThe clusters stay up until Ctrl-C. Try, in another terminal:\n\
             \n   strait get workloads --state {west}\
             \n   strait check --state {west}\
             \n   strait explain --from spiffe://east.demo/ns/agents/sa/intern --to tools/tools:80 --tool search --state {west}\
             \n   edit {files}/policies.yaml, and see what changes\
             \n   curl --proxy http://workload:$(cat {east}/tokens/workload-agents-planner)@127.10.1.1:15080 http://web.agents.svc.cluster.local/\
             \n   curl --cacert {folder}/authority.pem --connect-to ::{edge} -H \"authorization: Bearer $(cat {folder}/ann.jwt)\" 'https://{HOST}/planner?q=tides'",
            west = west.display(),
            east = east.display(),
            files = self.west.files().display(),
            folder = self.east.folder.display(),
            edge = self.edge(),
        );
    }

    /// Ends every process, applications first.
    pub(crate) async fn end(&mut self) {
        for agent in [&mut self.planner, &mut self.intern, &mut self.planner_v2] {
            agent.process().end().await;
        }
        for process in self.applications.iter_mut() {
            process.end().await;
        }
        for cluster in [&mut self.east, &mut self.west] {
            for program in cluster.programs.iter_mut().rev() {
                program.end().await;
            }
        }
    }
}

/// Only this user may look into the folder: it holds keys and tokens.
fn private(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    Ok(())
}

/// Makes `other` known in `cluster`, by the command that a user types.
async fn join(cluster: &Cluster, other: &Cluster, shared: &[&str]) -> anyhow::Result<()> {
    let (state, with) = (cluster.state(), other.state());
    let mut arguments =
        vec!["link".as_ref(), "--state".as_ref(), state.as_os_str(), "--with".as_ref(), with.as_os_str()];
    arguments.extend(shared.iter().map(OsStr::new));
    let link = command::strait(&arguments).await?;
    fs::write(cluster.files().join("link.yaml"), link)?;
    Ok(())
}
