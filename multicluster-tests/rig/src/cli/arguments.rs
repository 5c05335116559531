//! What may be written after `rig`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::Reach;

#[derive(Parser)]
#[command(
    name = "rig",
    about = "Real Kubernetes clusters on this machine, in network namespaces",
    after_help = "Clusters are named c1, c2, …; nodes c1-n1, c1-n2, …; programs c1-apiserver, c1-n1-podlet, …"
)]
pub(crate) struct Arguments {
    /// Which rig, when there are several.
    #[arg(long, global = true, default_value = "main")]
    pub(crate) id: String,
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Subcommand)]
pub(crate) enum Task {
    /// Brings clusters up and says how to reach them.
    Up(Up),
    /// Takes a rig down and leaves nothing of it.
    Down(Down),
    /// Says which rigs there are and how their programs fare.
    Status(Status),
    /// Runs a command in a namespace of the rig, or in a pod.
    Exec(Exec),
    /// Shows what a program of the rig wrote; without a name, says which programs there are.
    Logs(Logs),
    /// Sets delay, jitter, loss and rate of what goes from one cluster to another.
    Wan(Wan),
    /// Lets nothing through from one cluster to another, nor back.
    Partition(Between),
    /// Makes the WAN between two clusters perfect again.
    Heal(Between),
    /// Ends a program (c1-apiserver) or a node with its pods (c1-n1) at once.
    Kill(Name),
    /// Starts again what was killed.
    Restart(Name),
    /// Runs kubectl against a cluster: rig kubectl c1 get pods.
    Kubectl(Kubectl),
    /// Runs a conformance suite against a cluster.
    Conformance(Conformance),
    #[command(hide = true)]
    Balancer(Balancer),
    #[command(hide = true)]
    Guard,
    #[command(hide = true)]
    Forward(Forward),
    #[command(hide = true)]
    WanServe,
}

#[derive(Args)]
pub(crate) struct Up {
    /// How many clusters.
    #[arg(long, default_value_t = 1)]
    pub(crate) clusters: u8,
    /// How many nodes each cluster has.
    #[arg(long, default_value_t = 2)]
    pub(crate) nodes: u8,
    /// flat: pods reach pods of other clusters; separate: pod ranges overlap, only gateways are reached.
    #[arg(long, default_value_t = Reach::Flat)]
    pub(crate) network: Reach,
}

#[derive(Args)]
pub(crate) struct Down {
    /// Every rig on this machine.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args)]
pub(crate) struct Status {
    /// How to write it.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Args)]
pub(crate) struct Exec {
    /// client, wan, c1-router, c1-cp or c1-n1 for a namespace of the rig; c1:NAMESPACE/POD for a pod.
    pub(crate) place: String,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Logs {
    /// The program, as c1-apiserver or c1-n1-podlet.
    pub(crate) name: Option<String>,
    /// How many lines from the end; all without it.
    #[arg(long)]
    pub(crate) tail: Option<usize>,
    /// Go on with what it writes.
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Args)]
pub(crate) struct Between {
    /// One cluster.
    #[arg(long, value_parser = cluster, default_value = "c1")]
    pub(crate) from: u8,
    /// The other.
    #[arg(long, value_parser = cluster, default_value = "c2")]
    pub(crate) to: u8,
    /// Only what goes from the first to the second.
    #[arg(long)]
    pub(crate) one_way: bool,
}

#[derive(Args)]
pub(crate) struct Wan {
    #[command(flatten)]
    pub(crate) between: Between,
    /// How long a packet is on its way, as 25ms.
    #[arg(long, value_parser = duration, default_value = "0ms")]
    pub(crate) delay: Duration,
    /// By how much that differs from packet to packet, as 5ms.
    #[arg(long, value_parser = duration, default_value = "0ms")]
    pub(crate) jitter: Duration,
    /// How many packets are lost, as 1%.
    #[arg(long, value_parser = share, default_value = "0%")]
    pub(crate) loss: f64,
    /// How much passes in a second, as 10mbit; unbounded without it.
    #[arg(long, value_parser = rate)]
    pub(crate) rate: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Name {
    /// The program or node.
    pub(crate) name: String,
}

#[derive(Args)]
pub(crate) struct Kubectl {
    /// The cluster.
    #[arg(value_parser = cluster)]
    pub(crate) cluster: u8,
    /// What kubectl is told.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Conformance {
    /// Which suite.
    #[arg(value_enum)]
    pub(crate) suite: Suite,
    /// Only say which tests the suite has; no rig is needed.
    #[arg(long)]
    pub(crate) list: bool,
    /// The cluster.
    #[arg(long, value_parser = cluster, default_value = "c1")]
    pub(crate) cluster: u8,
    /// Only this test.
    #[arg(long, value_name = "NAME")]
    pub(crate) run_test: Option<String>,
    /// The GatewayClass that is tested.
    #[arg(long, default_value = "strait")]
    pub(crate) gateway_class: String,
    /// Test the core features of this profile, whatever the GatewayClass says, as GATEWAY-HTTP or MESH-HTTP.
    #[arg(long = "profile", value_name = "PROFILE")]
    pub(crate) profiles: Vec<String>,
    /// Test every feature, whatever the GatewayClass says.
    #[arg(long)]
    pub(crate) all_features: bool,
    /// How to write what came out.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// More flags of the suite itself.
    #[arg(last = true)]
    pub(crate) flags: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Suite {
    /// The official suite of the Gateway API.
    GatewayApi,
}

#[derive(Args)]
pub(crate) struct Balancer {
    #[arg(long)]
    pub(crate) kubeconfig: PathBuf,
    #[arg(long)]
    pub(crate) first: Ipv4Addr,
    #[arg(long)]
    pub(crate) last: Ipv4Addr,
}

#[derive(Args)]
pub(crate) struct Forward {
    #[arg(long)]
    pub(crate) port: u16,
    #[arg(long)]
    pub(crate) namespace: String,
    #[arg(long)]
    pub(crate) to: SocketAddr,
}

fn cluster(text: &str) -> Result<u8, String> {
    let number = text.strip_prefix('c').unwrap_or(text).parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text} is not a cluster; say c1, c2, …"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is not a time; say 25ms or 0.5s");
    let (number, unit) = split(text);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    match number {
        Some(number) if (0.0..=100.0).contains(&number) => Ok(number / 100.0),
        _ => Err(format!("{text} is not a share; say 1% or 0.5%")),
    }
}

/// Bits in a second.
fn rate(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let unit = match unit {
        "bit" => 1,
        "kbit" => 1_000,
        "mbit" => 1_000_000,
        "gbit" => 1_000_000_000,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(rate) if rate > 0 => Ok(rate),
        _ => Err(format!("{text} is not a rate; say 500kbit or 10mbit")),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|one: char| one.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_shares_rates_and_clusters_are_read_and_nonsense_is_refused_with_an_example() {
        assert_eq!(duration("25ms"), Ok(Duration::from_millis(25)));
        assert_eq!(duration("0.5s"), Ok(Duration::from_millis(500)));
        assert!(duration("25").unwrap_err().contains("25ms"));
        assert!(duration("-1s").is_err());
        assert_eq!(share("1%"), Ok(0.01));
        assert!(share("101%").is_err());
        assert_eq!(rate("10mbit"), Ok(10_000_000));
        assert!(rate("10").is_err());
        assert_eq!(cluster("c2"), Ok(2));
        assert!(cluster("c0").is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
