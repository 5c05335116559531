//! A container's `config.json`, from its pod. Pure.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::{Value, json};

use super::{capabilities, user};
use crate::{expand::expand, images::Image};

/// Where programs are looked for if the image does not say.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a container must not read of the machine, unless it is privileged.
const MASKED: [&str; 6] =
    ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware"];
/// Devices that a privileged container has beside the usual ones. Not all of the machine's: its
/// `/dev` is not the node's, and nothing is to be left there.
const DEVICES: [(&str, u32, u32); 4] =
    [("/dev/net/tun", 10, 200), ("/dev/fuse", 10, 229), ("/dev/kmsg", 1, 11), ("/dev/loop-control", 10, 237)];
/// What it must not write.
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Why a container has no bundle: the status says `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BundleError {
    /// Neither pod nor image say what to run.
    #[error("no command specified: neither the container nor the image {0:?} has one")]
    NoCommand(String),
    /// It must not be root.
    #[error(transparent)]
    WouldBeRoot(#[from] user::WouldBeRoot),
}

/// A bind mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// On the machine.
    pub source: PathBuf,
    /// In the container.
    pub destination: String,
    /// Whether it cannot be written.
    pub readonly: bool,
    /// How mounts travel: `rprivate`, `rslave` or `rshared`.
    pub propagation: &'static str,
}

/// Whose processes a container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidNamespace {
    /// Its own.
    Own,
    /// The machine's.
    Host,
    /// Those of this process.
    Of(i32),
}

/// What a bundle is made from.
#[derive(Debug)]
pub struct Request<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// Its image.
    pub image: &'a Image,
    /// Its environment, whole.
    pub env: &'a BTreeMap<String, String>,
    /// Its volumes and files.
    pub mounts: &'a [Mount],
    /// Its host name.
    pub hostname: &'a str,
    /// Its network namespace; `None`: that of the caller.
    pub netns: Option<&'a Path>,
    /// Its processes.
    pub pid: PidNamespace,
    /// What it may have at most, as bits.
    pub capabilities: u64,
    /// Name of its cgroup.
    pub cgroup: &'a str,
}

/// The `config.json`.
///
/// # Errors
/// When there is nothing to run, or it may not run as the user it would.
pub fn spec(request: &Request<'_>) -> Result<Value, BundleError> {
    let Request { container, image, .. } = request;
    let none = PodSpec::default();
    let pod = request.pod.spec.as_ref().unwrap_or(&none);
    let context = container.security_context.as_ref();
    let privileged = context.and_then(|context| context.privileged) == Some(true);
    let user = user::of(pod, container, image)?;
    let mut env = request.env.clone();
    env.entry("PATH".to_owned()).or_insert_with(|| PATH_DEFAULT.to_owned());
    env.entry("HOSTNAME".to_owned()).or_insert_with(|| request.hostname.to_owned());
    let capabilities = capabilities::of(context, request.capabilities);
    let workdir = container.working_dir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or(&image.workdir);
    let no_new_privileges =
        !privileged && context.and_then(|context| context.allow_privilege_escalation) == Some(false);
    Ok(json!({
        "ociVersion": "1.0.2",
        "hostname": request.hostname,
        "root": {
            "path": "rootfs",
            "readonly": context.and_then(|context| context.read_only_root_filesystem) == Some(true),
        },
        "process": {
            "terminal": container.tty == Some(true),
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups},
            "args": arguments(request)?,
            "env": env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
            "cwd": if workdir.is_empty() { "/" } else { workdir },
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "noNewPrivileges": no_new_privileges,
            "oomScoreAdj": 0,
        },
        "mounts": mounts(request, privileged),
        "linux": linux(request, pod, privileged),
    }))
}

/// The command line: `command` replaces the image's both parts, `args` its second.
fn arguments(request: &Request<'_>) -> Result<Vec<String>, BundleError> {
    let Request { container, image, .. } = request;
    let own = |list: &Option<Vec<String>>| -> Vec<String> {
        let all = list.iter().flatten();
        all.map(|text| expand(text, |name| request.env.get(name).cloned())).collect()
    };
    let (command, args) = (own(&container.command), own(&container.args));
    let all = match (command.is_empty(), args.is_empty()) {
        (false, _) => [command, args].concat(),
        (true, false) => [image.entrypoint.clone(), args].concat(),
        (true, true) => [image.entrypoint.clone(), image.cmd.clone()].concat(),
    };
    let named = container.image.clone().unwrap_or_default();
    if all.is_empty() { Err(BundleError::NoCommand(named)) } else { Ok(all) }
}

fn mounts(request: &Request<'_>, privileged: bool) -> Vec<Value> {
    let sys = if privileged { "rw" } else { "ro" };
    let mut all = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", sys]}),
    ];
    all.extend([
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
            json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
            json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]}),
        ]);
    for folder in &request.image.binds {
        all.push(json!({"destination": folder, "type": "bind", "source": folder, "options": ["rbind", "ro", "rprivate"]}));
    }
    for mount in request.mounts {
        let mode = if mount.readonly { "ro" } else { "rw" };
        all.push(json!({"destination": mount.destination, "type": "bind", "source": mount.source,
            "options": ["rbind", mount.propagation, mode]}));
    }
    all
}

fn linux(request: &Request<'_>, pod: &PodSpec, privileged: bool) -> Value {
    let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "uts"})];
    if pod.host_ipc != Some(true) {
        namespaces.push(json!({"type": "ipc"}));
    }
    let mut sysctl = BTreeMap::new();
    if let Some(path) = request.netns {
        namespaces.push(json!({"type": "network", "path": path}));
        sysctl.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        sysctl.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
        let asked = pod.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
        sysctl.extend(asked.map(|one| (one.name.clone(), one.value.clone())));
    }
    match request.pid {
        PidNamespace::Own => namespaces.push(json!({"type": "pid"})),
        PidNamespace::Host => {}
        PidNamespace::Of(pid) => {
            namespaces.push(json!({"type": "pid", "path": format!("/proc/{pid}/ns/pid")}))
        }
    }
    let mut linux = json!({
        "namespaces": namespaces,
        "sysctl": sysctl,
        "cgroupsPath": format!("/{}", request.cgroup),
        "resources": {"devices": [{"allow": privileged, "access": "rwm"}]},
    });
    let widest = request.mounts.iter().map(|mount| mount.propagation);
    if let Some(propagation) = widest.filter(|word| *word != "rprivate").max() {
        // `rslave` sorts after `rshared`, which is the wider of the two.
        let shared = request.mounts.iter().any(|mount| mount.propagation == "rshared");
        linux["rootfsPropagation"] = json!(if shared { "rshared" } else { propagation });
    }
    if privileged {
        linux["devices"] = DEVICES
            .map(|(path, major, minor)| {
                json!({"path": path, "type": "c",
            "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0})
            })
            .into();
    } else {
        linux["maskedPaths"] = json!(MASKED);
        linux["readonlyPaths"] = json!(READONLY);
    }
    linux
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        serde_json::from_value(
            json!({"entrypoint": ["/run"], "cmd": ["a", "b"], "user": "7:8", "binds": ["/usr"]}),
        )
        .unwrap()
    }

    fn made(container: Value, pod_spec: Value) -> Result<Value, BundleError> {
        let mut container = container;
        container["name"] = "c".into();
        container["image"] = "x".into();
        let mut pod_spec = pod_spec;
        pod_spec["containers"] = json!([container]);
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": pod_spec})).unwrap();
        let env = BTreeMap::from([("WHO".to_owned(), "me".to_owned())]);
        let mount =
            Mount { source: "/s".into(), destination: "/d".into(), readonly: true, propagation: "rslave" };
        spec(&Request {
            pod: &pod,
            container: &pod.spec.as_ref().unwrap().containers[0],
            image: &image(),
            env: &env,
            mounts: &[mount],
            hostname: "p",
            netns: Some(Path::new("/run/netns/x")),
            pid: PidNamespace::Own,
            capabilities: u64::MAX,
            cgroup: "podlet-1",
        })
    }

    #[test]
    fn command_and_args_replace_the_images_parts() {
        for (container, expected) in [
            (json!({}), json!(["/run", "a", "b"])),
            (json!({"args": ["$(WHO)"]}), json!(["/run", "me"])),
            (json!({"command": ["/other", "$(WHAT)"]}), json!(["/other", "$(WHAT)"])),
            (json!({"command": ["/other"], "args": ["x"]}), json!(["/other", "x"])),
        ] {
            assert_eq!(
                made(container.clone(), json!({})).unwrap()["process"]["args"],
                expected,
                "{container}"
            );
        }
    }

    #[test]
    fn the_user_is_the_containers_or_the_pods_or_the_images() {
        let user =
            |container: Value, pod: Value| made(container, pod).map(|spec| spec["process"]["user"].clone());
        assert_eq!(user(json!({}), json!({})).unwrap(), json!({"uid": 7, "gid": 8, "additionalGids": []}));
        let pod = json!({"securityContext": {"runAsUser": 5, "fsGroup": 9}});
        assert_eq!(user(json!({}), pod.clone()).unwrap(), json!({"uid": 5, "gid": 8, "additionalGids": [9]}));
        let own = json!({"securityContext": {"runAsUser": 0, "runAsGroup": 0}});
        assert_eq!(user(own, pod).unwrap(), json!({"uid": 0, "gid": 0, "additionalGids": [9]}));
        let root = json!({"securityContext": {"runAsUser": 0, "runAsNonRoot": true}});
        assert_eq!(user(root, json!({})), Err(BundleError::WouldBeRoot(user::WouldBeRoot)));
    }

    #[test]
    fn a_privileged_container_has_more_devices_and_nothing_is_masked() {
        let spec = made(json!({"securityContext": {"privileged": true}}), json!({})).unwrap();
        assert!(spec["linux"]["maskedPaths"].is_null());
        assert_eq!(spec["linux"]["resources"]["devices"][0]["allow"], true);
        assert_eq!(spec["linux"]["devices"][0]["path"], "/dev/net/tun");
    }

    #[test]
    fn mounts_travel_into_the_container_if_one_of_them_should() {
        let spec = made(json!({}), json!({})).unwrap();
        assert_eq!(spec["linux"]["rootfsPropagation"], "rslave");
        let last = spec["mounts"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["options"], json!(["rbind", "rslave", "ro"]));
    }
}
