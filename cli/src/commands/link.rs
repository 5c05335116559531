//! `strait link`: the object by which one cluster knows another.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::Value;

use crate::{
    args::Link,
    client::Running,
    link::{self, Shared, Side},
};

pub(crate) async fn run(arguments: &Link) -> anyhow::Result<()> {
    let own = Running::find(&arguments.state)?;
    let running = Running::find(&arguments.with)?;
    anyhow::ensure!(
        own.trust_domain != running.trust_domain,
        "both states are of trust domain {}: a cluster is not linked with itself",
        own.trust_domain
    );
    let workloads = running.page("/v1/workloads").await?;
    let side = Side {
        pin: link::pin(&arguments.with)?,
        gateway: gateway(&workloads, &arguments.gateway, &running.trust_domain)?,
        running,
    };
    let import: Vec<(&str, &str)> = arguments.import.iter().map(|pair| mapping(pair)).collect();
    let export: Vec<&str> = arguments.export.iter().map(String::as_str).collect();
    let vouchers = arguments.voucher.iter().map(|name| voucher(&workloads, name, &side.running.trust_domain));
    let vouchers = vouchers.collect::<anyhow::Result<Vec<String>>>()?;
    let shared = Shared { export: &export, import: &import, vouchers: &vouchers };
    print!("{}", link::manifest(&side, &shared)?);
    Ok(())
}

/// Where the other cluster's gateway accepts tunnels, and the path of its identity.
fn gateway(workloads: &Value, name: &str, trust_domain: &str) -> anyhow::Result<(SocketAddr, String)> {
    let row = row(workloads, "--gateway", name)?.with_context(|| {
        format!("the other cluster has no gateway {name}: it needs a Gateway of class strait-east-west")
    })?;
    let address =
        row["at"].as_str().and_then(|text| text.parse().ok()).context("the gateway has no address")?;
    Ok((address, path(row, trust_domain)?))
}

/// The path of the identity of a waypoint of the other cluster.
fn voucher(workloads: &Value, name: &str, trust_domain: &str) -> anyhow::Result<String> {
    let row = row(workloads, "--voucher", name)?.with_context(|| {
        format!("the other cluster has no waypoint {name}: it needs a Gateway of class strait-waypoint")
    })?;
    path(row, trust_domain)
}

/// What the other cluster says of one of its gateways, which run on no node.
fn row<'a>(workloads: &'a Value, flag: &str, name: &str) -> anyhow::Result<Option<&'a Value>> {
    let (namespace, gateway) =
        name.split_once('/').with_context(|| format!("{flag} {name:?} is not NAMESPACE/NAME"))?;
    let mut rows = workloads.as_array().into_iter().flatten();
    Ok(rows.find(|row| row["namespace"] == namespace && row["name"] == gateway && row["node"] == ""))
}

fn path(row: &Value, trust_domain: &str) -> anyhow::Result<String> {
    let identity = row["identity"].as_str().unwrap_or_default();
    let path = identity
        .strip_prefix(&format!("spiffe://{trust_domain}"))
        .context("the gateway is of another trust domain than its cluster")?;
    Ok(path.to_owned())
}

/// `REMOTE=LOCAL`, or one name for both.
fn mapping(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, pair))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_is_found_by_its_name() {
        let rows = json!([{
            "namespace": "strait-system", "name": "east-west", "node": "", "at": "127.20.2.2:15008",
            "identity": "spiffe://west.demo/ns/strait-system/sa/east-west",
        }]);
        let found = gateway(&rows, "strait-system/east-west", "west.demo").expect("it is there");
        assert_eq!(
            found,
            ("127.20.2.2:15008".parse().expect("an address"), "/ns/strait-system/sa/east-west".into())
        );
        assert!(gateway(&rows, "strait-system/other", "west.demo").is_err());
        assert!(gateway(&rows, "strait-system/east-west", "east.demo").is_err());
        assert!(voucher(&rows, "strait-system/waypoint", "west.demo").is_err());
    }

    #[test]
    fn a_namespace_may_have_another_name_here() {
        assert_eq!(mapping("tools=friends"), ("tools", "friends"));
        assert_eq!(mapping("tools"), ("tools", "tools"));
    }
}
