//! Runs the official conformance suite of the Gateway API against a cluster, from the client's namespace.

use std::process::Command;

use anyhow::Context;
use rig_programs::{Channel, Program};

use crate::{Progress, Rig, programs::Programs};

/// How long a whole run may take: some eight minutes on two cores when all is well.
const RUN_TIMEOUT: &str = "60m";

impl Rig {
    /// A command that runs the suite, or one test of it, against a cluster, for a GatewayClass. The definitions of
    /// the Gateway API are applied first.
    ///
    /// # Errors
    /// When the suite cannot be built or the cluster refuses the definitions.
    pub async fn conformance(
        &self,
        cluster: u8,
        gateway_class: &str,
        run_test: Option<&str>,
    ) -> anyhow::Result<Command> {
        let programs = Programs::of_conformance(&Progress::spoken()).await?;
        let plan =
            self.plan().cluster(cluster).with_context(|| format!("the rig has no cluster c{cluster}"))?;
        let cluster = self.cluster(cluster);
        let definitions = programs.definitions(Channel::Experimental).display().to_string();
        cluster.kubectl(&["apply", "--server-side", "-f", &definitions]).await?.ok()?;
        let all = "--for=condition=Established";
        cluster.kubectl(&["wait", all, "crd", "--all", "--timeout=30s"]).await?.ok()?;
        let program = programs.path(Program::GatewayConformance);
        let mut command = self.command_in("client", &program.display().to_string())?;
        let usable = plan.load_balancers().hosts().last().context("the pool of load balancers is empty")?;
        command.env("KUBECONFIG", cluster.kubeconfig_inside()).args([
            "-test.v".to_owned(),
            "-test.run=^TestConformance$".to_owned(),
            format!("-test.timeout={RUN_TIMEOUT}"),
            format!("-gateway-class={gateway_class}"),
            format!("-usable-address={usable}"),
            "-unusable-address=192.0.2.1".to_owned(),
        ]);
        command.args(run_test.map(|name| format!("-run-test={name}")));
        // The suite speaks to the cluster alone, through no proxy of the machine.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            command.env_remove(name);
        }
        Ok(command)
    }
}
