//! Starts one container: gathers what it needs, writes its bundle, calls its shim.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{
    Context, clear, mounts,
    record::{Record, Shim},
    sandbox::Sandbox,
};
use crate::{
    bundle::{self, Mount, PidNamespace, Request, network},
    containers::ContainerId,
    env::{self, Known},
    expand::expand,
    fields::Facts,
    images::{self, Image, ImageError},
    pidfd, services,
    shim::run::{ORDERS, Orders},
    volumes::{Mounted, folders},
};

/// How long a shim may take to say that its container runs.
const START_MAX: Duration = Duration::from_secs(30);
/// Where a container leaves its last words, unless it says otherwise.
const LAST_WORDS: &str = "/dev/termination-log";
/// Name of the file with the last words in the container's folder.
pub(super) const LAST_WORDS_FILE: &str = "termination-log";

/// What is to be started.
pub(super) struct Launch<'a> {
    pub(super) pod: &'a Pod,
    pub(super) container: &'a Container,
    pub(super) attempt: u32,
    pub(super) sandbox: &'a Sandbox,
    pub(super) volumes: &'a Mounted,
    pub(super) logs: &'a Path,
    pub(super) pid: PidNamespace,
    pub(super) facts: &'a Facts,
}

/// Why a container was not started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// There is no image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What it asks for cannot be had.
    #[error("{0}")]
    Config(String),
    /// The runtime failed.
    #[error("failed to start container: {0}")]
    Run(String),
}

impl StartError {
    fn config(cause: impl std::fmt::Display) -> Self {
        Self::Config(cause.to_string())
    }
    fn run(cause: impl std::fmt::Display) -> Self {
        Self::Run(cause.to_string())
    }
}

/// Starts it; gives back what is written down of it, and its shim.
pub(super) async fn start(context: &Context, launch: &Launch<'_>) -> Result<(Record, Shim), StartError> {
    let reference = launch.container.image.as_deref().unwrap_or_default();
    let image = images::find(&context.config.images, reference)?;
    let env = environment(context, launch, &image).await?;
    let id = ContainerId::fresh().map_err(StartError::run)?;
    let folder = context.paths.container(&id);
    let started = begin(context, launch, &image, &env, &id, &folder).await;
    if started.is_err() {
        clear::container(&context.runc, &context.config.cgroup, &id, &folder).await;
    }
    started
}

async fn begin(
    context: &Context,
    launch: &Launch<'_>,
    image: &Image,
    env: &BTreeMap<String, String>,
    id: &ContainerId,
    folder: &Path,
) -> Result<(Record, Shim), StartError> {
    fs::create_dir_all(folder).map_err(StartError::run)?;
    let hostname = network::hostname(launch.pod, &context.names());
    let all = mount_list(context, launch, env, folder, &hostname).map_err(StartError::config)?;
    let spec = bundle::spec(&Request {
        pod: launch.pod,
        container: launch.container,
        image,
        env,
        mounts: &all,
        hostname: &hostname,
        netns: launch.sandbox.own.as_ref().map(|own| own.netns.as_path()),
        pid: launch.pid,
        capabilities: bundle::capabilities::permitted(),
        cgroup: &format!("{}/{id}", context.config.cgroup),
    })
    .map_err(StartError::config)?;
    mounts::overlay(folder, &image.folder.join("rootfs")).map_err(StartError::run)?;
    let log = context.paths.log(launch.logs, &launch.container.name, launch.attempt);
    fs::create_dir_all(log.parent().unwrap_or(&log)).map_err(StartError::run)?;
    let orders = Orders {
        runc: context.runc.program().to_owned(),
        runc_root: context.runc.root().to_owned(),
        id: id.to_string(),
        log: log.clone(),
        tty: launch.container.tty == Some(true),
        stdin: launch.container.stdin == Some(true),
        stdin_once: launch.container.stdin_once == Some(true),
    };
    fs::write(folder.join("config.json"), spec.to_string()).map_err(StartError::run)?;
    let text = serde_json::to_vec(&orders).map_err(StartError::run)?;
    fs::write(folder.join(ORDERS), text).map_err(StartError::run)?;
    let (pid, shim) = shim(folder).await?;
    link_log(context, launch, id, &log);
    let shim_pid = shim.id().and_then(|pid| i32::try_from(pid).ok());
    let began = shim_pid.and_then(|pid| Some((pid, pidfd::began(pid)?)));
    let record = Record {
        pod: launch.pod.metadata.uid.clone().unwrap_or_default(),
        container: launch.container.name.clone(),
        id: id.clone(),
        pid,
        log,
        attempt: launch.attempt,
        tty: orders.tty,
        stdin: orders.stdin,
        since: jiff::Timestamp::now(),
        shim: began.ok_or_else(|| StartError::run("the shim died"))?,
    };
    record.write(&context.paths).map_err(StartError::run)?;
    Ok((record, Shim::Child(shim)))
}

async fn shim(folder: &Path) -> Result<(i32, Child), StartError> {
    let complaints = fs::File::create(folder.join("shim.log")).map_err(StartError::run)?;
    let mut child = Command::new("/proc/self/exe")
        .arg("shim")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(complaints)
        .process_group(0)
        .spawn()
        .map_err(StartError::run)?;
    let stdout = child.stdout.take().ok_or_else(|| StartError::run("the shim has no output"))?;
    let mut line = String::new();
    let mut reader = BufReader::new(stdout);
    let said = tokio::time::timeout(START_MAX, reader.read_line(&mut line)).await;
    match said {
        Err(_) => Err(StartError::run(format!("the shim said nothing within {START_MAX:?}"))),
        Ok(Err(error)) => Err(StartError::run(error)),
        Ok(Ok(_)) => match line.trim().strip_prefix("ok ").and_then(|pid| pid.parse().ok()) {
            Some(pid) => Ok((pid, child)),
            None => {
                let _ = child.wait().await;
                let why = if line.trim().is_empty() { "the shim died" } else { line.trim() };
                Err(StartError::run(why))
            }
        },
    }
}

async fn environment(
    context: &Context,
    launch: &Launch<'_>,
    image: &Image,
) -> Result<BTreeMap<String, String>, StartError> {
    let namespace = launch.pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut known = Known::new();
    for object in env::references(namespace, launch.container) {
        let data = context.objects.hold(&object).get(&object).await.map_err(StartError::config)?;
        known.extend(data.map(|data| (object, data)));
    }
    let links = launch.pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false);
    let all = context.services.state();
    let mut base = image.env.clone();
    base.extend(services::variables(all.iter().map(AsRef::as_ref), namespace, links));
    env::resolve(launch.pod, launch.container, launch.facts, &known, base).map_err(StartError::config)
}

/// The bind mounts of a container: its volumes, then the files of names and of last words, unless a
/// volume lies there.
fn mount_list(
    context: &Context,
    launch: &Launch<'_>,
    env: &BTreeMap<String, String>,
    folder: &Path,
    hostname: &str,
) -> io::Result<Vec<Mount>> {
    let mut all = Vec::new();
    for mount in launch.container.volume_mounts.iter().flatten() {
        let volume = launch.volumes.get(&mount.name);
        let volume = volume.ok_or_else(|| io::Error::other(format!("no volume {:?}", mount.name)))?;
        let expr = mount.sub_path_expr.as_ref();
        let sub =
            expr.map(|text| expand(text, |name| env.get(name).cloned())).or_else(|| mount.sub_path.clone());
        let source = match sub.filter(|sub| !sub.is_empty()) {
            Some(sub) => folders::sub_path(volume, &sub)?,
            None => volume.clone(),
        };
        let propagation = match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => "rslave",
            Some("Bidirectional") => "rshared",
            _ => "rprivate",
        };
        let readonly = mount.read_only == Some(true);
        all.push(Mount { source, destination: mount.mount_path.clone(), readonly, propagation });
    }
    let names = context.names();
    let words = launch.container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    for (name, destination, content, mode) in [
        ("hosts", "/etc/hosts", network::hosts(launch.pod, &launch.sandbox.ips, &names), 0o644),
        ("hostname", "/etc/hostname", format!("{hostname}\n"), 0o644),
        ("resolv.conf", "/etc/resolv.conf", network::resolv(launch.pod, &names), 0o644),
        (LAST_WORDS_FILE, words.unwrap_or(LAST_WORDS), String::new(), 0o666),
    ] {
        if all.iter().any(|mount| mount.destination == destination) {
            continue;
        }
        let source = folder.join(name);
        fs::write(&source, content)?;
        fs::set_permissions(&source, fs::Permissions::from_mode(mode))?;
        let destination = destination.to_owned();
        all.push(Mount { source, destination, readonly: false, propagation: "rprivate" });
    }
    Ok(all)
}

/// Links the log where a real node has such links.
fn link_log(context: &Context, launch: &Launch<'_>, id: &ContainerId, log: &Path) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let meta = &launch.pod.metadata;
    let (pod, namespace) = (text(&meta.name), text(&meta.namespace));
    let name = format!("{pod}_{namespace}_{}-{id}.log", launch.container.name);
    // Within the node, paths begin at its root.
    let inside = log.strip_prefix(context.paths.root()).map(|path| PathBuf::from("/").join(path));
    let _ =
        std::os::unix::fs::symlink(inside.as_deref().unwrap_or(log), context.paths.log_links().join(name));
}
