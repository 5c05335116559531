//! Runs the official conformance suite of the Gateway API against a cluster, from the client's namespace.
//!
//! The suite is its own program, unchanged. Here it is pointed at a cluster and told addresses; `reading` follows
//! what it prints, `outcome` says what came out, and whether a failure is the suite's verdict or the rig's fault.

mod listing;
mod outcome;
mod reading;

use std::{net::Ipv4Addr, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use rig_programs::{Channel, Program};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, BufReader},
    time::{Instant, timeout},
};

use self::reading::Reading;
pub use self::{
    listing::{Listed, list},
    outcome::{End, Outcome, Tested, Verdict},
};
use crate::{Cluster, Progress, Rig, Small, programs::Programs};

/// How long the suite gives itself: some eight minutes on two cores when all is well.
const SUITE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// How much longer we wait for its end.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of one line it prints is looked at, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// An address that no rig has (RFC 5737).
const UNUSABLE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Settings of the machine that would send the suite's requests elsewhere.
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];

/// What to run.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The GatewayClass that is tested.
    pub gateway_class: String,
    /// Only this test.
    pub run_test: Option<String>,
    /// Profiles whose core features are tested whatever the GatewayClass says.
    pub profiles: Vec<String>,
    /// Every feature, in place of those that the GatewayClass names.
    pub all_features: bool,
    /// More flags of the suite itself.
    pub flags: Vec<String>,
}

/// Where the suite stands and what it is told of the place.
struct Place<'a> {
    cluster: &'a Cluster,
    kubeconfig: PathBuf,
    usable: Ipv4Addr,
    command: std::process::Command,
}

impl Rig {
    /// Runs the suite against a cluster, from the client's namespace. The experimental definitions of the Gateway
    /// API are applied first. `tell` is told of each test as it ends.
    ///
    /// # Errors
    /// When the suite cannot be built or started, when it has no test of that name, or when the cluster refuses the
    /// definitions. How its run ends is an [`Outcome`].
    pub async fn conformance(
        &self,
        cluster: u8,
        ask: &Ask,
        tell: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Outcome> {
        let programs = Programs::of_conformance(&Progress::spoken()).await?;
        let plan =
            self.plan().cluster(cluster).with_context(|| format!("the rig has no cluster c{cluster}"))?;
        let usable = plan.load_balancers().hosts().last().context("the pool of load balancers is empty")?;
        let cluster = self.cluster(cluster);
        let program = programs.path(Program::GatewayConformance);
        let command = self.command_in("client", &program.display().to_string())?;
        let place = Place { cluster, kubeconfig: cluster.kubeconfig_inside(), usable, command };
        run(place, &programs, ask, tell).await
    }
}

impl Small {
    /// As [`Rig::conformance`], against an API server alone: enough for whatever ends before a pod is needed.
    ///
    /// # Errors
    /// As there.
    pub async fn conformance(&self, ask: &Ask, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Outcome> {
        let programs = Programs::of_conformance(&Progress::spoken()).await?;
        let command = std::process::Command::new(programs.path(Program::GatewayConformance));
        let cluster = self.cluster();
        let place = Place { cluster, kubeconfig: cluster.kubeconfig(), usable: Ipv4Addr::LOCALHOST, command };
        run(place, &programs, ask, tell).await
    }
}

async fn run(
    place: Place<'_>,
    programs: &Programs,
    ask: &Ask,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<Outcome> {
    let listed = list().await?;
    if let Some(name) = &ask.run_test
        && !listed.iter().any(|test| test.name == *name)
    {
        bail!("the suite has no test named {name}; cargo xtask conformance gateway-api --list names all");
    }
    let definitions = programs.definitions(Channel::Experimental).display().to_string();
    place.cluster.kubectl(&["apply", "--server-side", "-f", &definitions]).await?.ok()?;
    let established = "--for=condition=Established";
    place.cluster.kubectl(&["wait", established, "crd", "--all", "--timeout=30s"]).await?.ok()?;

    let mut command = place.command;
    command.env("KUBECONFIG", &place.kubeconfig).args(flags(ask, place.usable));
    for name in PROXIES {
        command.env_remove(name);
    }
    let begin = Instant::now();
    let mut child = tokio::process::Command::from(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the suite")?;
    let printed = child.stdout.take().context("the suite has no output")?;
    let mut reading = Reading::default();
    let followed = timeout(SUITE_TIMEOUT + END_TIMEOUT, async {
        follow(BufReader::new(printed), &mut reading, tell).await?;
        child.wait().await
    });
    let status = match followed.await {
        Ok(status) => Some(status.context("cannot follow the suite")?),
        Err(_) => None,
    };
    Ok(Outcome::of(listed, reading, status, begin.elapsed()))
}

fn flags(ask: &Ask, usable: Ipv4Addr) -> Vec<String> {
    let mut flags = vec![
        "-test.v=test2json".to_owned(),
        "-test.run=^TestConformance$".to_owned(),
        format!("-test.timeout={}s", SUITE_TIMEOUT.as_secs()),
        format!("-gateway-class={}", ask.gateway_class),
        format!("-usable-address={usable}"),
        format!("-unusable-address={UNUSABLE}"),
    ];
    flags.extend(ask.run_test.as_ref().map(|name| format!("-run-test={name}")));
    if !ask.profiles.is_empty() {
        flags.push(format!("-conformance-profiles={}", ask.profiles.join(",")));
    }
    if ask.all_features {
        flags.push("-all-features".to_owned());
    }
    flags.extend(ask.flags.iter().cloned());
    flags
}

/// Reads what the suite prints to its end, and tells of each test that ends.
async fn follow(
    mut printed: impl AsyncBufRead + Unpin,
    reading: &mut Reading,
    tell: &mut dyn FnMut(&str),
) -> std::io::Result<()> {
    let mut line = Vec::new();
    while next_line(&mut printed, &mut line).await? {
        if let Some(ended) = reading.line(&String::from_utf8_lossy(&line)) {
            tell(&ended);
        }
    }
    Ok(())
}

/// Reads a line; what is beyond the first bytes of a very long one is thrown away. False at the end.
async fn next_line(printed: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let read = printed.fill_buf().await?;
        if read.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = read.iter().position(|byte| *byte == b'\n');
        let part = &read[..end.unwrap_or(read.len())];
        line.extend_from_slice(&part[..part.len().min(LINE_BYTES_MAX - line.len())]);
        let used = end.map_or(read.len(), |end| end + 1);
        printed.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_parted_and_long_ones_are_cut() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let text = format!("first\n\n{long}\nlast");
        let mut printed = BufReader::new(text.as_bytes());
        let (mut line, mut lengths) = (Vec::new(), Vec::new());
        while next_line(&mut printed, &mut line).await.expect("memory does not fail") {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [5, 0, LINE_BYTES_MAX, 4]);
    }

    #[test]
    fn the_suite_is_told_what_was_asked() {
        let ask = Ask {
            gateway_class: "strait".into(),
            run_test: Some("HTTPRouteWeight".into()),
            profiles: vec!["GATEWAY-HTTP".into(), "MESH-HTTP".into()],
            all_features: true,
            flags: vec!["-debug".into()],
        };
        let flags = flags(&ask, Ipv4Addr::new(10, 51, 1, 254)).join(" ");
        assert!(flags.contains("-gateway-class=strait -usable-address=10.51.1.254"), "{flags}");
        assert!(
            flags.ends_with(
                "-run-test=HTTPRouteWeight -conformance-profiles=GATEWAY-HTTP,MESH-HTTP -all-features -debug"
            ),
            "{flags}"
        );
    }
}
