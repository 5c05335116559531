//! What can be typed after `strait`.

mod asking;
mod mcp;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::mcp::{Mcp, Pin, Which};
use crate::{apps, output::Form};
pub(crate) use asking::{Act, Audit, Can, Denied, Reach, Revoke, Root, RootStep, Trace, Try, WhoCan};

/// An ambient mesh and gateway for agents.
#[derive(Debug, Parser)]
#[command(name = "strait", version, about, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Start with `strait demo`, then `strait up -f examples/minimal`.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Two clusters on this machine, and a walk through what a mesh for agents does.
    ///
    /// Brings up the clusters `east` and `west` on loopback addresses, every program a process of its own, and
    /// tells a story step by step: identities, tools, refusals and their reasons, routes, failover, edits, outages,
    /// models, audits, traces. It needs no root and leaves nothing behind.
    Demo(Demo),
    /// Runs a cluster for your own processes from a folder of YAML, all in this process.
    ///
    /// DIR holds what `kubectl apply` would take; it is watched and reloaded. Each workload gets an explicit proxy
    /// (SOCKS5 and HTTP) with a token of its own, and is reached at its `delivery`.
    #[command(after_help = "Example:\n  strait up -f examples/minimal --state .strait")]
    Up(Up),
    /// Is everything healthy: each problem with its cause and remedy. Exits with 1 if something is broken.
    Check(Check),
    /// Lists what is.
    #[command(after_help = "Examples:\n  strait get workloads\n  strait get services --output json")]
    Get(Get),
    /// Why something was refused, or would be.
    #[command(after_help = "Examples:\n  strait explain r-4k2c…\n  strait explain --from agents/intern \
                            --to tools/tools:80 --tool write_file --arg repo=web")]
    Explain(Explain),
    /// May this one call that? Exits with 0 if so, else with 1.
    #[command(
        after_help = "Example:\n  strait can shop/planner call shop/tools --tool read_file --arg path=/docs/a"
    )]
    Can(Can),
    /// Who may call it, of all identities that run here.
    #[command(name = "who-can", after_help = "Example:\n  strait who-can call shop/tools --tool write_file")]
    WhoCan(WhoCan),
    /// What this one may use.
    #[command(after_help = "Example:\n  strait reach shop/planner")]
    Reach(Reach),
    /// What was refused lately.
    #[command(after_help = "Example:\n  strait denied -n shop --since 10m --follow")]
    Denied(Denied),
    /// Who a policy in audit mode would have refused, and how often.
    #[command(after_help = "Example:\n  strait audit shop/tools-grants --since 1h")]
    Audit(Audit),
    /// What a policy that is not applied yet would have changed.
    ///
    /// The control plane judges what it remembers of the last day's calls by what is applied and by what is in the
    /// file. It does not keep arguments, headers or claims: calls that hang on them are shown as `depends`.
    #[command(after_help = "Example:\n  strait try -f new.yaml --since 1h")]
    Try(Try),
    /// One call, hop by hop: who, what, how long.
    #[command(
        after_help = "Examples:\n  strait trace --tool read_file\n  strait trace 4bf92f3577b34da6a3ce929d0e0e4736"
    )]
    Trace(Trace),
    /// Approves tools of MCP servers, and shows which changed since.
    #[command(subcommand)]
    Mcp(Mcp),
    /// Stops an identity now: its certificates are refused and its connections closed, in every linked cluster.
    #[command(after_help = "Example:\n  strait revoke lab/intern --reason 'left the team'")]
    Revoke(Revoke),
    /// Replaces the cluster's root while everything runs: status, rotate, advance, back.
    ///
    /// Three phases, each left by `advance` and each reversible with `back`: distribute (every proxy believes both
    /// roots), sign (the new one signs), retire (only the new one is believed). A last `advance` destroys the old key.
    /// None is left before every proxy and link is ready: who is not, is named.
    #[command(after_help = "Example:\n  strait root rotate\n  strait root status\n  strait root advance")]
    Root(Root),
    /// Prints the ClusterLink by which a cluster knows another one; each side needs one.
    #[command(after_help = "Example, for services of namespace tools in west, used from east:\n  \
                            strait link --state east --with west --import tools > east-files/west.yaml\n  \
                            strait link --state west --with east --export tools > west-files/east.yaml")]
    Link(Link),
    /// Prints the URL of a workload's explicit proxy, token included.
    #[command(after_help = "Example:\n  export http_proxy=$(strait proxy shop/planner)")]
    Proxy(Proxy),
    /// Writes the token with which a node or gateway joins.
    Token(Token),
    /// Runs one program of the mesh by itself.
    #[command(subcommand)]
    Run(Run),
    /// Prints the completions of a shell.
    #[command(after_help = "Example:\n  strait completion bash > /etc/bash_completion.d/strait")]
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Where the state of a cluster is.
#[derive(Debug, Clone, Args)]
pub(crate) struct At {
    /// The state directory of the running cluster.
    #[arg(long, default_value = ".strait", env = "STRAIT_STATE")]
    pub(crate) state: PathBuf,
    /// The form of the output.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Form,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave when the story is told; the exit status is 0 only if every step held.
    #[arg(long)]
    pub(crate) exit: bool,
    /// `json` prints one object a step, with `step`, `ok`, `what` and `why`.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: StoryForm,
    /// Where the demo keeps its state and logs (default: a new folder that is removed at the end).
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum StoryForm {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The folder of YAML.
    #[arg(long = "file", short, value_name = "DIR")]
    pub(crate) files: PathBuf,
    /// The cluster's state: keys, tokens, what was last accepted. Made with mode 0700.
    #[arg(long, default_value = ".strait", env = "STRAIT_STATE")]
    pub(crate) state: PathBuf,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Run only these nodes (default: every node that DIR names).
    #[arg(long = "node")]
    pub(crate) nodes: Vec<String>,
    /// Join the control plane at this address instead of running one; needs --root and --token-file.
    #[arg(long, value_name = "ADDRESS", requires_all = ["root", "token_file"])]
    pub(crate) join: Option<SocketAddr>,
    /// With --join: the root certificate (PEM) of the cluster.
    #[arg(long)]
    pub(crate) root: Option<PathBuf>,
    /// With --join: the file with the node's join token.
    #[arg(long)]
    pub(crate) token_file: Option<PathBuf>,
    /// Added to the port of each listener of an ingress gateway to make the port that is bound: binding ports below
    /// 1024 needs rights. With 8000, a listener of port 443 is reached at 8443.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) edge_port_offset: u16,
    /// Where spans are exported to: an OTLP collector (gRPC), such as http://127.0.0.1:4317 (default: nowhere).
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
}

/// What a cluster is called. Decided once and kept in the state directory.
#[derive(Debug, Clone, Args)]
pub(crate) struct Cluster {
    /// Its name (default: the name of the folder).
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// Its trust domain (default: its name and eight random letters, made once).
    #[arg(long)]
    pub(crate) trust_domain: Option<String>,
    /// The addresses of its mesh, IPv4 (default: 10.N.0.0/16, with N from the trust domain).
    #[arg(long)]
    pub(crate) ranges: Option<ipnet::Ipv4Net>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) at: At,
    /// Only what must hold before `strait up`: the folder of YAML, and this machine.
    #[arg(long, value_name = "DIR")]
    pub(crate) pre: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// What to list.
    #[arg(value_enum)]
    pub(crate) what: Listed,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Listed {
    Workloads,
    Services,
    Routes,
    Policies,
    Certificates,
    Connections,
    Proxies,
    Links,
}

impl Listed {
    /// The admin page that lists it.
    pub(crate) fn page(self) -> &'static str {
        match self {
            Self::Workloads => "/v1/workloads",
            Self::Services => "/v1/services",
            Self::Routes => "/v1/routes",
            Self::Policies => "/v1/policies",
            Self::Certificates => "/v1/certificates",
            // Proxies know what is open; the control plane knows what was decided lately.
            Self::Connections => "/v1/connections",
            Self::Proxies => "/v1/proxies",
            Self::Links => "/v1/links",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The id of a refusal, as it stands in logs and answers.
    #[arg(required_unless_present = "from", conflicts_with_all = ["from", "to"])]
    pub(crate) id: Option<String>,
    /// Who: NAMESPACE/SERVICE-ACCOUNT or a SPIFFE identity.
    #[arg(long, requires = "to")]
    pub(crate) from: Option<String>,
    /// To what: NAMESPACE/SERVICE:PORT.
    #[arg(long, requires = "from")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) act: Act,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(Debug, Args)]
pub(crate) struct Link {
    /// The state directory of the cluster that the link is for.
    #[arg(long, default_value = ".strait", env = "STRAIT_STATE")]
    pub(crate) state: PathBuf,
    /// The state directory of the other, running cluster.
    #[arg(long)]
    pub(crate) with: PathBuf,
    /// NAMESPACE/NAME of the other cluster's east-west gateway.
    #[arg(long, default_value = "strait-system/east-west")]
    pub(crate) gateway: String,
    /// A namespace of the other cluster whose exports are used here; REMOTE=LOCAL gives it another name.
    #[arg(long)]
    pub(crate) import: Vec<String>,
    /// A namespace of this cluster whose exported services the other one may use.
    #[arg(long)]
    pub(crate) export: Vec<String>,
    /// NAMESPACE/NAME of a waypoint of the other cluster whose word about its callers is taken here; without it, the
    /// waypoint itself is who calls.
    #[arg(long)]
    pub(crate) voucher: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// NAMESPACE/NAME of the workload.
    pub(crate) workload: String,
    /// Which protocol the program speaks to its proxy.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) scheme: Scheme,
    /// The state directory of the cluster.
    #[arg(long, default_value = ".strait", env = "STRAIT_STATE")]
    pub(crate) state: PathBuf,
}

/// A protocol of the explicit proxy.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Scheme {
    /// HTTP: CONNECT and absolute-form requests.
    #[default]
    Http,
    /// SOCKS5, with names resolved by the proxy.
    Socks5h,
}

impl Scheme {
    /// The scheme of the URL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Socks5h => "socks5h",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Who joins.
    #[arg(value_enum)]
    pub(crate) who: Joiner,
    /// The node's name, or NAMESPACE/NAME of the gateway.
    pub(crate) name: String,
    /// The state directory of the cluster.
    #[arg(long, default_value = ".strait", env = "STRAIT_STATE")]
    pub(crate) state: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Joiner {
    /// A node: its token covers the workloads placed on it now.
    Node,
    /// A gateway or waypoint: its token covers its own service account.
    Gateway,
}

/// One program.
#[derive(Debug, Subcommand)]
pub(crate) enum Run {
    /// The control plane.
    Controlplane(ControlPlane),
    /// The node proxy.
    Ztunnel(Node),
    /// A waypoint or gateway.
    Waypoint(Gateway),
    /// An application of the demo.
    #[command(subcommand)]
    App(App),
}

#[derive(Debug, Args)]
pub(crate) struct ControlPlane {
    /// The folder of YAML.
    #[arg(long = "file", short, value_name = "DIR")]
    pub(crate) files: PathBuf,
    /// The cluster's state directory.
    #[arg(long)]
    pub(crate) state: PathBuf,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
}

/// How a proxy reaches its control plane.
#[derive(Debug, Clone, Args)]
pub(crate) struct Join {
    /// The control plane.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) control_plane: SocketAddr,
    /// The root certificate (PEM) of the cluster.
    #[arg(long)]
    pub(crate) root: PathBuf,
    /// The file with the join token; read anew for each use.
    #[arg(long)]
    pub(crate) token_file: PathBuf,
    /// The trust domain of the cluster.
    #[arg(long)]
    pub(crate) trust_domain: String,
    /// Where the last good state is kept, with mode 0700.
    #[arg(long)]
    pub(crate) state: PathBuf,
    /// The address of the admin (15000), metrics (15020) and readiness (15021) ports.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: std::net::IpAddr,
    /// The port to bind for HBONE, where something stands before the port that others dial.
    #[arg(long, default_value_t = 15008)]
    pub(crate) hbone_bind_port: u16,
    /// Where spans are exported to: an OTLP collector (gRPC), such as http://127.0.0.1:4317 (default: nowhere).
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Node {
    /// The node's name.
    #[arg(long)]
    pub(crate) node: String,
    /// The cluster's name.
    #[arg(long)]
    pub(crate) cluster: String,
    #[command(flatten)]
    pub(crate) join: Join,
}

#[derive(Debug, Args)]
pub(crate) struct Gateway {
    /// NAMESPACE/NAME of the Gateway.
    #[arg(long)]
    pub(crate) gateway: String,
    /// Added to the port of each listener of an ingress gateway to make the port that is bound.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) edge_port_offset: u16,
    #[command(flatten)]
    pub(crate) join: Join,
}

/// The demo's applications.
#[derive(Debug, Subcommand)]
pub(crate) enum App {
    /// An agent that obeys JSON commands on standard input.
    Agent(apps::AgentOptions),
    /// An MCP server with three tools.
    Tools {
        /// `unix:PATH` or `IP:PORT`.
        #[arg(long)]
        listen: apps::ListenAt,
        #[command(flatten)]
        offer: apps::Offer,
    },
    /// A mock of a model server that speaks OpenAI's chat completions.
    Model {
        /// `unix:PATH` or `IP:PORT`.
        #[arg(long)]
        listen: apps::ListenAt,
        /// What it calls itself.
        #[arg(long)]
        name: String,
        /// The file with the key that callers must show.
        #[arg(long)]
        key_file: PathBuf,
    },
    /// An A2A agent that says which version of itself it is.
    Researcher {
        /// `unix:PATH` or `IP:PORT`.
        #[arg(long)]
        listen: apps::ListenAt,
        /// What it calls itself.
        #[arg(long)]
        name: String,
    },
    /// A web application that says its name and who called.
    Web {
        /// `unix:PATH` or `IP:PORT`.
        #[arg(long)]
        listen: apps::ListenAt,
        /// What it calls itself.
        #[arg(long)]
        name: String,
    },
}
