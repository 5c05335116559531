//! The firewall between a cluster's own network and the WAN, when networks are separate.

use std::io::{self, Write};
use std::process::Stdio;

use crate::layout::ROUTER_UPLINK;
use crate::namespace::Namespace;
use crate::plan::{API_PORT, ClusterPlan};

/// Why a router has no firewall.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The program did not start.
    #[error("cannot start nft in the router's namespace (install it with: apt-get install nftables)")]
    Start(#[source] io::Error),
    /// The rules were refused.
    #[error("nft refuses the rules of the router: {0}")]
    Refused(String),
}

/// The rules of a cluster's router, as nft reads them.
///
/// From outside only load balancers are reached. The client, who stands for a person with a kubeconfig, reaches
/// the API server too. Whatever else comes in is dropped in silence, as firewalls of separate networks do.
pub(crate) fn rules(cluster: &ClusterPlan<'_>) -> String {
    let plan = cluster.plan();
    let (pool, client) = (cluster.load_balancers(), plan.client_address());
    let (api, outside) = (cluster.control_plane_address(), cluster.router_address());
    format!(
        "table ip rig {{
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname != \"{ROUTER_UPLINK}\" accept
    ct state established,related accept
    ip daddr {pool} accept
    ip saddr {client} ip daddr {api} tcp dport {API_PORT} accept
    counter drop
  }}
  chain outside {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname \"{ROUTER_UPLINK}\" snat to {outside}
  }}
}}
"
    )
}

/// Sets the rules in the router's namespace.
pub(crate) fn set(cluster: &ClusterPlan<'_>) -> Result<(), FirewallError> {
    let router = Namespace::named(&cluster.router_namespace());
    let mut nft = router.command("nft").map_err(FirewallError::Start)?;
    nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = nft.spawn().map_err(FirewallError::Start)?;
    let mut stdin = child.stdin.take().expect("it was asked to be piped");
    // If nft ends before it has read all, its own words below say why.
    let _ = stdin.write_all(rules(cluster).as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(FirewallError::Start)?;
    if output.status.success() {
        return Ok(());
    }
    Err(FirewallError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
