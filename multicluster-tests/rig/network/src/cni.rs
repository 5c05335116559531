//! The CNI plugin that attaches the rig's pods to their node.
//!
//! A pod has one link, a /32 address and a default route by 169.254.1.1, which is nobody: its neighbour entry
//! names the node's end of the link for ever, so that nobody asks with ARP and the first packet is as fast as
//! the second. The node has a route to the pod's address. There is no bridge.
//!
//! Written to the CNI specification 1.1.0: the runtime starts the program in the node's network namespace with
//! `CNI_…` variables and the configuration on standard input. Answers and errors are JSON on standard output.

mod addresses;
mod answer;
mod attach;
mod config;

pub use answer::CniError;

use std::collections::HashSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::plan::NodePlan;
use addresses::Addresses;
use attach::Attachment;
use config::Config;

/// The file name of the plugin, which is its `type` in configurations.
pub const PLUGIN: &str = "rig-cni";

/// What the runtime asks, as its variables say.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// `CNI_COMMAND`.
    pub command: String,
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_NETNS`; may be missing when a pod goes.
    pub namespace: String,
    /// `CNI_IFNAME`.
    pub interface: String,
}

impl Call {
    /// Reads the variables of this process.
    pub fn from_env() -> Call {
        let read = |name| std::env::var(name).unwrap_or_default();
        Call {
            command: read("CNI_COMMAND"),
            container: read("CNI_CONTAINERID"),
            namespace: read("CNI_NETNS"),
            interface: read("CNI_IFNAME"),
        }
    }
}

/// The configuration for a node, for a file `…​.conflist` in its `etc/cni/net.d`. Further plugins may be
/// appended to `plugins`.
pub fn conflist(node: &NodePlan<'_>) -> Value {
    json!({
        "cniVersion": "1.1.0",
        "name": "rig",
        "plugins": [{
            "type": PLUGIN,
            "range": node.pods(),
            "nodeAddress": node.address(),
            "addressFolder": node.address_folder(),
        }],
    })
}

/// Answers a call; the configuration is what came on standard input. None is an answer without words.
pub fn answer(call: &Call, configuration: &[u8]) -> Result<Option<Value>, CniError> {
    if call.command == "VERSION" {
        return Ok(Some(answer::versions(&config::version(configuration))));
    }
    let config = Config::parse(configuration)?;
    let addresses = Addresses::at(&config.address_folder, config.range);
    match call.command.as_str() {
        "ADD" => add(call, &config, &addresses).map(Some),
        "DEL" => delete(call, &addresses).map(|()| None),
        "CHECK" => check(call, &config, &addresses).map(|()| None),
        "STATUS" => addresses.lock()?.any_free().map(|()| None),
        "GC" => collect(&config, &addresses).map(|()| None),
        other => Err(CniError::environment(format!("CNI_COMMAND is {other:?}, which is unknown"))),
    }
}

fn add(call: &Call, config: &Config, addresses: &Addresses) -> Result<Value, CniError> {
    let attachment = attachment(call, true)?;
    if attachment.is_linked() {
        // Undoing this call would undo the one before it.
        return Err(CniError::failed("the pod is attached already", "ask for DEL first"));
    }
    let address = addresses.lock()?.take(&attachment.container, &attachment.interface)?;
    match attachment.attach(address, config.node_address) {
        Ok(macs) => Ok(answer::attached(&config.version, &attachment, address, &macs)),
        Err(error) => {
            // The first failure is the one to tell; the runtime will ask for DEL anyway.
            let _ = attachment.detach();
            let _ =
                addresses.lock().and_then(|held| held.release(&attachment.container, &attachment.interface));
            Err(error)
        }
    }
}

fn delete(call: &Call, addresses: &Addresses) -> Result<(), CniError> {
    let attachment = attachment(call, false)?;
    attachment.detach()?;
    addresses.lock()?.release(&attachment.container, &attachment.interface)
}

fn check(call: &Call, config: &Config, addresses: &Addresses) -> Result<(), CniError> {
    let attachment = attachment(call, true)?;
    let held = addresses.lock()?.of(&attachment.container, &attachment.interface)?;
    let Some(address) = held else {
        return Err(CniError::unknown(format!("{} has no address of this node", attachment.container)));
    };
    let expected = format!("{address}/32");
    let told = config.previous_addresses();
    if !told.is_empty() && !told.contains(&expected) {
        return Err(CniError::broken(format!(
            "the pod's address is {expected}, but the runtime says {told:?}"
        )));
    }
    attachment.check()
}

/// Takes back what pods that the runtime does not name left behind.
fn collect(config: &Config, addresses: &Addresses) -> Result<(), CniError> {
    let valid: HashSet<_> = config.valid_attachments()?.into_iter().collect();
    let held = addresses.lock()?;
    for (container, interface) in held.holders()? {
        if !valid.contains(&(container.clone(), interface.clone())) {
            Attachment {
                container: container.clone(),
                interface: interface.clone(),
                namespace: PathBuf::new(),
            }
            .detach()?;
            held.release(&container, &interface)?;
        }
    }
    held.forget_unnamed()
}

fn attachment(call: &Call, in_namespace: bool) -> Result<Attachment, CniError> {
    let missing = |name: &str| Err(CniError::environment(format!("{name} is missing or malformed")));
    let is_id = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    if !is_id(&call.container) {
        return missing("CNI_CONTAINERID");
    }
    let name = &call.interface;
    if name.is_empty() || name.len() > 15 || name.contains(['/', ':']) || name.contains(char::is_whitespace) {
        return missing("CNI_IFNAME");
    }
    if in_namespace && call.namespace.is_empty() {
        return missing("CNI_NETNS");
    }
    Ok(Attachment {
        container: call.container.clone(),
        interface: call.interface.clone(),
        namespace: PathBuf::from(&call.namespace),
    })
}
