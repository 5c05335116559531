//! `strait proxy`: the URL of a workload's explicit proxy.

use anyhow::Context as _;
use controlplane::tokens::{Owner, Tokens};

use crate::{args::Proxy, client::Running};

pub(crate) async fn run(arguments: &Proxy) -> anyhow::Result<()> {
    let (namespace, name) = arguments
        .workload
        .split_once('/')
        .with_context(|| format!("{:?} is not NAMESPACE/NAME of a workload", arguments.workload))?;
    let running = Running::find(&arguments.state)?;
    let workloads = running.page("/v1/workloads").await?;
    let workload = workloads
        .as_array()
        .into_iter()
        .flatten()
        .find(|row| row["namespace"] == namespace && row["name"] == name)
        .with_context(|| format!("there is no workload {namespace}/{name}: see strait get workloads"))?;
    let listen = workload["proxy"].as_str().with_context(|| {
        format!("{namespace}/{name} has no explicit proxy: its traffic is captured elsewhere")
    })?;
    let owner = Owner::Workload(namespace.to_owned(), name.to_owned());
    let file = Tokens::open(&arguments.state.join("tokens"), rand::random)?.file(&owner)?;
    let token = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    println!("{}://workload:{}@{listen}", arguments.scheme.name(), token.trim());
    Ok(())
}
