//! The CNI chain of a node: reads the network's configuration and calls its plugins, as the CNI
//! specification 1.0 says.
//!
//! The configuration is read for each call: a plugin that chains itself in is seen by the next pod.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

/// How long one plugin may take.
const PLUGIN_MAX: Duration = Duration::from_secs(30);
/// The interface every pod has.
const INTERFACE: &str = "eth0";

/// Why a pod has no network.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// No plugin has installed a configuration yet.
    #[error(
        "network is not ready: no CNI configuration (*.conflist or *.conf) in {0}; has the CNI plugin started?"
    )]
    NoConfiguration(PathBuf),
    /// The first one is not understood.
    #[error("CNI configuration {path} is broken: {why}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A plugin is not installed, or cannot be run.
    #[error("CNI plugin {plugin} cannot be run: {cause}")]
    NoPlugin {
        /// Its name.
        plugin: String,
        /// Why.
        cause: io::Error,
    },
    /// A plugin refused.
    #[error("CNI plugin {plugin} failed ({command}): {message}")]
    Failed {
        /// Its name.
        plugin: String,
        /// ADD or DEL.
        command: &'static str,
        /// What it said.
        message: String,
    },
}

/// Which pod a call is for.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// Name of the sandbox.
    pub sandbox: String,
    /// Where the namespace is mounted.
    pub netns: PathBuf,
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Where configurations and plugins are.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Configurations; the first by name is taken.
    pub config: PathBuf,
    /// Plugins.
    pub bin: PathBuf,
}

impl Chain {
    /// The network's configuration as a list of plugins, whole.
    ///
    /// # Errors
    /// When there is none, or it is broken.
    pub fn network(&self) -> Result<Value, CniError> {
        let entries = std::fs::read_dir(&self.config).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| is_config(path)).collect();
        files.sort();
        let Some(path) = files.into_iter().next() else {
            return Err(CniError::NoConfiguration(self.config.clone()));
        };
        let broken = |why: String| CniError::Broken { path: path.clone(), why };
        let text = std::fs::read(&path).map_err(|cause| broken(cause.to_string()))?;
        let value: Value = serde_json::from_slice(&text).map_err(|cause| broken(cause.to_string()))?;
        as_list(value).ok_or_else(|| broken("it has no plugins".to_owned()))
    }

    /// Calls every plugin's ADD in order; gives back the pod's addresses and the last result.
    ///
    /// # Errors
    /// When one fails; those before it are undone.
    pub async fn add(&self, network: &Value, pod: &Attachment) -> Result<(Vec<IpAddr>, Value), CniError> {
        let mut previous = Value::Null;
        for plugin in plugins(network) {
            match self.call("ADD", network, plugin, &previous, pod).await {
                Ok(result) => previous = result,
                Err(error) => {
                    let _ = self.delete(network, pod, &previous).await;
                    return Err(error);
                }
            }
        }
        Ok((addresses(&previous), previous))
    }

    /// Calls every plugin's DEL in reverse order, all of them even if one fails.
    ///
    /// # Errors
    /// The first failure.
    pub async fn delete(&self, network: &Value, pod: &Attachment, result: &Value) -> Result<(), CniError> {
        let mut outcome = Ok(());
        for plugin in plugins(network).iter().rev() {
            let called = self.call("DEL", network, plugin, result, pod).await;
            outcome = outcome.and(called.map(|_| ()));
        }
        outcome
    }

    async fn call(
        &self,
        command: &'static str,
        network: &Value,
        plugin: &Value,
        previous: &Value,
        pod: &Attachment,
    ) -> Result<Value, CniError> {
        let name = plugin["type"].as_str().unwrap_or_default().to_owned();
        let unstarted = |cause| CniError::NoPlugin { plugin: name.clone(), cause };
        let mut child = Command::new(self.bin.join(&name))
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &pod.sandbox)
            .env("CNI_NETNS", &pod.netns)
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", &self.bin)
            .env("CNI_ARGS", arguments(pod))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(unstarted)?;
        let input = input(network, plugin, previous).to_string();
        if let Some(mut stdin) = child.stdin.take() {
            // A plugin that does not read says why in its output.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let failed = |message: String| CniError::Failed { plugin: name.clone(), command, message };
        let output = tokio::time::timeout(PLUGIN_MAX, child.wait_with_output())
            .await
            .map_err(|_| failed(format!("no answer within {PLUGIN_MAX:?}")))?
            .map_err(unstarted)?;
        let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if !output.status.success() {
            let said = answer.as_ref().and_then(|answer| answer["msg"].as_str()).map(|message| {
                let details =
                    answer.as_ref().and_then(|answer| answer["details"].as_str()).unwrap_or_default();
                format!("{message} {details}").trim().to_owned()
            });
            let stderr = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(failed(said.unwrap_or_else(stderr)));
        }
        match (command, answer) {
            ("ADD", None) => Err(failed("it gave no result".to_owned())),
            (_, answer) => Ok(answer.unwrap_or_default()),
        }
    }
}

fn is_config(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "conflist" || end == "conf" || end == "json")
}

fn as_list(value: Value) -> Option<Value> {
    if value["plugins"].as_array().is_some_and(|plugins| !plugins.is_empty()) {
        return Some(value);
    }
    value["type"]
        .is_string()
        .then(|| json!({"cniVersion": value["cniVersion"], "name": value["name"], "plugins": [value]}))
}

fn plugins(network: &Value) -> &[Value] {
    network["plugins"].as_array().map_or(&[], Vec::as_slice)
}

/// What a plugin reads: its own configuration, the network's name and version, the result so far.
fn input(network: &Value, plugin: &Value, previous: &Value) -> Value {
    let mut own: Map<String, Value> = plugin.as_object().cloned().unwrap_or_default();
    own.insert("name".to_owned(), network["name"].clone());
    own.insert("cniVersion".to_owned(), network["cniVersion"].clone());
    own.remove("capabilities");
    if !previous.is_null() {
        own.insert("prevResult".to_owned(), previous.clone());
    }
    Value::Object(own)
}

fn arguments(pod: &Attachment) -> String {
    format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
        pod.namespace, pod.name, pod.sandbox, pod.uid
    )
}

/// The addresses in a result, without their prefix lengths.
fn addresses(result: &Value) -> Vec<IpAddr> {
    let all = result["ips"].as_array().map_or(&[][..], Vec::as_slice);
    let texts = all.iter().filter_map(|one| one["address"].as_str());
    texts.filter_map(|text| text.split('/').next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn plugin(folder: &Path, name: &str, script: &str) {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn pod() -> Attachment {
        Attachment {
            sandbox: "s1".into(),
            netns: "/run/netns/x".into(),
            namespace: "shop".into(),
            name: "web".into(),
            uid: "u1".into(),
        }
    }

    #[tokio::test]
    async fn plugins_are_called_in_order_with_the_result_so_far_and_undone_in_reverse() {
        let folder = tempfile::tempdir().unwrap();
        let chain = Chain { config: folder.path().to_owned(), bin: folder.path().to_owned() };
        assert!(matches!(chain.network(), Err(CniError::NoConfiguration(_))));
        let calls = folder.path().join("calls");
        let note = format!("echo $0 $CNI_COMMAND $CNI_ARGS >> {}; cat > $0.$CNI_COMMAND", calls.display());
        plugin(
            folder.path(),
            "one",
            &format!(r#"{note}; echo '{{"cniVersion":"1.0.0","ips":[{{"address":"10.11.1.7/32"}}]}}'"#),
        );
        plugin(
            folder.path(),
            "two",
            &format!(r#"{note}; echo '{{"cniVersion":"1.0.0","ips":[{{"address":"10.11.1.8/32"}}]}}'"#),
        );
        std::fs::write(
            folder.path().join("10-a.conflist"),
            r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"one"},{"type":"two","more":1}]}"#,
        )
        .unwrap();
        let network = chain.network().unwrap();
        let (ips, result) = chain.add(&network, &pod()).await.unwrap();
        assert_eq!(ips, ["10.11.1.8".parse::<IpAddr>().unwrap()]);
        let seen: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("two.ADD")).unwrap()).unwrap();
        assert_eq!(seen["prevResult"]["ips"][0]["address"], "10.11.1.7/32");
        assert_eq!((seen["name"].as_str(), seen["more"].as_i64()), (Some("net"), Some(1)));
        chain.delete(&network, &pod(), &result).await.unwrap();
        let calls = std::fs::read_to_string(calls).unwrap();
        let order: Vec<_> = calls.lines().map(|line| line.rsplit('/').next().unwrap()).collect();
        let order: Vec<_> = order.iter().map(|line| line.split(" Ignore").next().unwrap()).collect();
        assert_eq!(order, ["one ADD", "two ADD", "two DEL", "one DEL"]);
    }

    #[tokio::test]
    async fn a_plugin_that_refuses_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let chain = Chain { config: folder.path().to_owned(), bin: folder.path().to_owned() };
        plugin(folder.path(), "bad", r#"echo '{"code":11,"msg":"no addresses left"}'; exit 1"#);
        std::fs::write(folder.path().join("a.conf"), r#"{"cniVersion":"1.0.0","name":"n","type":"bad"}"#)
            .unwrap();
        let network = chain.network().unwrap();
        let error = chain.add(&network, &pod()).await.unwrap_err().to_string();
        assert_eq!(error, "CNI plugin bad failed (ADD): no addresses left");
    }
}
