//! `strait up`: a whole cluster in this process.
//!
//! *Flow*: the control plane says which nodes and gateways there are; each becomes a task with a token, a loopback
//! address and a state of its own. One that appears in an edit is started, one that is gone is drained.
//! *Guarantees*: the programs speak with each other as they would between processes; none has a short cut.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use controlplane::{ControlPlane, tokens::Owner};
use runtime::{Drain, drain::Phase, logging};
use tokio::task::JoinSet;

use crate::{
    args::{self, Join, Up},
    commands::run::{control_plane, end_on_signal, gateway, node},
};

/// How long a program whose object is gone may go on.
const GRACE: Duration = Duration::from_secs(5);
/// How long it may then take to close.
const CLOSING: Duration = Duration::from_secs(2);
/// How long a program that failed waits until it is started again.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// The last number of a program's loopback address, 127.N.0.x: the control plane is 1.
const PROGRAMS: std::ops::RangeInclusive<u8> = 11..=250;

/// Which program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Node(String),
    Gateway(String, String),
}

/// One that runs.
struct Program {
    drain: Drain,
    address: u8,
}

/// Runs everything until it is told to end.
pub(crate) async fn run(arguments: Up) -> anyhow::Result<()> {
    ensure!(
        arguments.files.is_dir(),
        "{} is no folder: give the folder of YAML, for example --file examples/minimal",
        arguments.files.display()
    );
    logging::init(&logging::Config::default())?;
    let drain = Drain::new();
    let ending = tokio::spawn(end_on_signal(drain.clone()));
    if let Some(address) = arguments.join {
        join(&arguments, address, drain.clone()).await?;
    } else {
        cluster(&arguments, drain.clone()).await?;
    }
    if drain.phase() != Phase::Serving {
        ending.await?;
    }
    Ok(())
}

async fn cluster(arguments: &Up, drain: Drain) -> anyhow::Result<()> {
    let options = args::ControlPlane {
        files: arguments.files.clone(),
        state: arguments.state.clone(),
        cluster: arguments.cluster.clone(),
    };
    let config = control_plane(&options)?;
    let settings = (config.cluster.clone(), config.trust_domain.to_string());
    let control_plane = ControlPlane::start(config, drain.watch()).await?;
    let running = control_plane.running().clone();
    let tokens = control_plane.tokens().clone();
    let mut members = control_plane.members();
    println!("{}", welcome(&arguments.state, &running));
    let serving = tokio::spawn(control_plane.run());
    let mut programs: BTreeMap<Member, Program> = BTreeMap::new();
    let mut tasks: JoinSet<(Member, anyhow::Result<()>)> = JoinSet::new();
    let mut watch = drain.watch();
    loop {
        let wanted = wanted(&members.borrow_and_update(), &arguments.nodes);
        for (_, gone) in programs.extract_if(.., |member, _| !wanted.contains(member)) {
            tokio::spawn(async move { gone.drain.finish(GRACE, CLOSING).await });
        }
        for member in wanted {
            if programs.contains_key(&member) {
                continue;
            }
            let Some(address) =
                PROGRAMS.into_iter().find(|free| programs.values().all(|one| one.address != *free))
            else {
                tracing::error!(?member, "no loopback address is left for this program");
                continue;
            };
            let owner = match &member {
                Member::Node(name) => Owner::Node(name.clone()),
                Member::Gateway(namespace, name) => Owner::Gateway(namespace.clone(), name.clone()),
            };
            let token_file = tokens.file(&owner)?;
            let ip = beside(running.address, address);
            let options = options_of(arguments, &settings.1, running.address, token_file, &member, ip);
            let program = Program { drain: Drain::new(), address };
            let (named, edge) = (settings.0.clone(), arguments.edge_port_offset);
            tasks.spawn(start(member.clone(), named, options, edge, program.drain.clone()));
            programs.insert(member, program);
        }
        tokio::select! {
            () = watch.draining() => break,
            changed = members.changed() => changed.context("the control plane ended")?,
            Some(ended) = tasks.join_next() => {
                let (member, result) = ended?;
                match result {
                    Ok(()) => {}
                    Err(error) => {
                        tracing::error!(?member, error = format!("{error:#}"), "a program ended; it is started again");
                        tokio::time::sleep(RESTART_AFTER).await;
                        programs.remove(&member);
                    }
                }
            }
        }
    }
    for program in programs.values() {
        let drain = program.drain.clone();
        tokio::spawn(async move { drain.finish(GRACE, CLOSING).await });
    }
    while tasks.join_next().await.is_some() {}
    serving.await?;
    Ok(())
}

/// Runs this machine's nodes under a control plane elsewhere.
async fn join(arguments: &Up, address: SocketAddr, drain: Drain) -> anyhow::Result<()> {
    let [name] = arguments.nodes.as_slice() else {
        anyhow::bail!("with --join exactly one --node is needed: its token is for that node");
    };
    let (Some(root), Some(token_file), Some(trust_domain)) =
        (&arguments.root, &arguments.token_file, &arguments.cluster.trust_domain)
    else {
        anyhow::bail!("with --join, --root, --token-file and --trust-domain are needed");
    };
    let join = Join {
        control_plane: address,
        root: root.clone(),
        token_file: token_file.clone(),
        trust_domain: trust_domain.clone(),
        state: arguments.state.join("proxies").join(name),
        address: Ipv4Addr::LOCALHOST.into(),
        hbone_bind_port: transport::hbone::PORT,
        otlp_endpoint: arguments.otlp_endpoint.clone(),
    };
    let cluster = arguments.cluster.cluster.clone().unwrap_or_default();
    Ok(ztunnel::run(node(&args::Node { node: name.clone(), cluster, join })?, drain).await?)
}

async fn start(
    member: Member,
    cluster: String,
    join: Join,
    edge_port_offset: u16,
    drain: Drain,
) -> (Member, anyhow::Result<()>) {
    let result = match &member {
        Member::Node(name) => match node(&args::Node { node: name.clone(), cluster, join }) {
            Ok(config) => ztunnel::run(config, drain).await.map_err(anyhow::Error::from),
            Err(error) => Err(error),
        },
        Member::Gateway(namespace, name) => {
            let gateway_of = args::Gateway { gateway: format!("{namespace}/{name}"), edge_port_offset, join };
            match gateway(&gateway_of) {
                Ok(config) => waypoint::run(config, drain).await.map_err(anyhow::Error::from),
                Err(error) => Err(error),
            }
        }
    };
    (member, result)
}

fn wanted(members: &controlplane::Members, only: &[String]) -> Vec<Member> {
    let nodes = members.nodes.iter().map(|node| node.as_str().to_owned());
    let nodes = nodes.filter(|node| only.is_empty() || only.contains(node)).map(Member::Node);
    let gateways = members.gateways.iter().cloned().map(|(namespace, name)| Member::Gateway(namespace, name));
    nodes.chain(gateways).collect()
}

fn options_of(
    arguments: &Up,
    trust_domain: &str,
    control_plane: SocketAddr,
    token_file: PathBuf,
    member: &Member,
    address: IpAddr,
) -> Join {
    let name = match member {
        Member::Node(name) => format!("node-{name}"),
        Member::Gateway(namespace, name) => format!("gateway-{namespace}-{name}"),
    };
    Join {
        control_plane,
        root: arguments.state.join("root/root.pem"),
        token_file,
        trust_domain: trust_domain.to_owned(),
        state: arguments.state.join("proxies").join(name),
        address,
        hbone_bind_port: transport::hbone::PORT,
        otlp_endpoint: arguments.otlp_endpoint.clone(),
    }
}

/// Another loopback address beside the control plane's.
fn beside(control_plane: SocketAddr, last: u8) -> IpAddr {
    match control_plane.ip() {
        IpAddr::V4(ip) => {
            let [first, second, third, _] = ip.octets();
            Ipv4Addr::new(first, second, third, last).into()
        }
        other => other,
    }
}

fn welcome(state: &Path, running: &controlplane::Running) -> String {
    format!(
        "cluster {} (trust domain {}) is up; Ctrl-C ends it.\n\
         \n  strait check --state {state}              is everything healthy\
         \n  strait get workloads --state {state}      addresses of workloads and of their proxies\
         \n  {state}/tokens/workload-NAMESPACE-NAME    the token of a workload's proxy\n\
         \nWhat this does not isolate: processes of one user can read each other's tokens and dial each other's loopback \
         ports. Give workloads a uid of their own, or run them in Kubernetes.",
        running.cluster,
        running.trust_domain,
        state = state.display(),
    )
}
