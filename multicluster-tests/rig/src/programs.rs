//! Where the rig finds the programs it runs: those built from Go modules in their cache, ours beside this one.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use rig_programs::{Cache, Program};

use crate::Progress;

/// The variable that names the folder of our own programs, when they are not beside this one.
const OWN_VARIABLE: &str = "STRAIT_RIG_BIN";
/// What an API server alone needs.
const SMALL: [Program; 3] = [Program::Etcd, Program::KubeApiserver, Program::Kubectl];
/// What a cluster needs.
const CLUSTER: [Program; 10] = [
    Program::Etcd,
    Program::KubeApiserver,
    Program::KubeControllerManager,
    Program::KubeScheduler,
    Program::KubeProxy,
    Program::Kubectl,
    Program::Helm,
    Program::CoreDns,
    Program::EchoBasic,
    Program::Pause,
];

/// The programs, all there.
#[derive(Clone)]
pub(crate) struct Programs {
    cache: Arc<Cache>,
}

/// Why a rig cannot run on this machine, and what to do; none if it can.
pub fn unavailable() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    rig_programs::available().err().map(|missing| missing.to_string())
}

impl Programs {
    /// Those of whole clusters, made first where they are missing.
    pub(crate) async fn of_clusters(progress: &Progress) -> anyhow::Result<Self> {
        let programs = Self::ensure(&CLUSTER, progress).await?;
        let (cache, progress) = (Arc::clone(&programs.cache), *progress);
        let laid_out = tokio::task::spawn_blocking(move || {
            rig_programs::images::assemble(&cache, &mut |line| progress.say(line))
        });
        laid_out.await.context("the layout of images was interrupted")??;
        Ok(programs)
    }

    /// Those of an API server alone.
    pub(crate) async fn of_small(progress: &Progress) -> anyhow::Result<Self> {
        Self::ensure(&SMALL, progress).await
    }

    /// Those of the conformance suite.
    pub(crate) async fn of_conformance(progress: &Progress) -> anyhow::Result<Self> {
        Self::ensure(&[Program::GatewayConformance], progress).await
    }

    /// The folder of the Gateway API's definitions.
    pub(crate) fn definitions(&self, channel: rig_programs::Channel) -> PathBuf {
        self.cache.gateway_api_crds(channel)
    }

    async fn ensure(wanted: &'static [Program], progress: &Progress) -> anyhow::Result<Self> {
        let progress = *progress;
        let made = tokio::task::spawn_blocking(move || -> anyhow::Result<Cache> {
            let cache = Cache::open()?;
            cache.ensure(wanted, &mut |line| progress.say(line))?;
            Ok(cache)
        });
        Ok(Self { cache: Arc::new(made.await.context("the build of programs was interrupted")??) })
    }

    /// Where a program is.
    pub(crate) fn path(&self, program: Program) -> PathBuf {
        self.cache.path(program)
    }

    /// The folder of image folders.
    pub(crate) fn images(&self) -> PathBuf {
        self.cache.images()
    }

    pub(crate) fn etcd(&self) -> PathBuf {
        self.path(Program::Etcd)
    }

    pub(crate) fn apiserver(&self) -> PathBuf {
        self.path(Program::KubeApiserver)
    }

    pub(crate) fn controller_manager(&self) -> PathBuf {
        self.path(Program::KubeControllerManager)
    }

    pub(crate) fn scheduler(&self) -> PathBuf {
        self.path(Program::KubeScheduler)
    }

    pub(crate) fn kube_proxy(&self) -> PathBuf {
        self.path(Program::KubeProxy)
    }

    pub(crate) fn kubectl(&self) -> PathBuf {
        self.path(Program::Kubectl)
    }

    pub(crate) fn helm(&self) -> PathBuf {
        self.path(Program::Helm)
    }
}

/// A program of this repository, as `podlet`: beside this one, or above it when this one is a test.
pub(crate) fn own(name: &str) -> anyhow::Result<PathBuf> {
    if let Some(folder) = env::var_os(OWN_VARIABLE) {
        return Ok(PathBuf::from(folder).join(name));
    }
    let exe = env::current_exe().context("cannot tell where this program is")?;
    let folders = exe.parent().into_iter().flat_map(|folder| [Some(folder), folder.parent()]).flatten();
    let found = folders.map(|folder: &Path| folder.join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("{name} is not built; run: cargo build -p rig -p rig-network -p podlet"),
    }
}
