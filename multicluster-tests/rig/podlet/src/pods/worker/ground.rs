//! What a pod stands on: its network and its volumes.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::Worker;
use crate::{
    fields::Facts,
    pods::sandbox::Sandbox,
    volumes::{self, Keeper, Mounted, Source, VolumeError, folders},
};

impl Worker {
    /// Makes the network and the volumes, if they are not there yet.
    pub(super) async fn prepare(&mut self) -> bool {
        let context = self.context.clone();
        if self.sandbox.is_none() {
            let _permit = context.starting.acquire().await;
            match Sandbox::create(&context, &self.pod).await {
                Ok(sandbox) => {
                    self.sandbox = Some(sandbox);
                    self.retry.reset();
                    self.tell();
                }
                Err(error) => {
                    context.events.warning(&self.pod, None, "FailedCreatePodSandBox", error.to_string());
                    self.not_before = Some(Instant::now() + self.retry.pause());
                    return false;
                }
            }
        }
        if self.volumes.is_none() {
            match self.make_volumes().await {
                Ok(mounted) => {
                    self.volumes = Some(mounted);
                    self.retry.reset();
                }
                Err(error) => {
                    context.events.warning(&self.pod, None, "FailedMount", error.to_string());
                    self.not_before = Some(Instant::now() + self.retry.pause());
                    return false;
                }
            }
        }
        true
    }

    pub(super) async fn make_volumes(&mut self) -> Result<Mounted, VolumeError> {
        let mut mounted = BTreeMap::new();
        let mut keepers = Vec::new();
        let security = self.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let group =
            security.and_then(|security| security.fs_group).and_then(|group| u32::try_from(group).ok());
        let around = volumes::files::Around {
            client: self.context.client.clone(),
            objects: self.context.objects.clone(),
            facts: self.facts(),
            group,
        };
        let top = self.context.paths.pod(&self.entry.uid).join("volumes");
        for volume in volumes::plan(&self.pod) {
            let folder = top.join(&volume.name);
            let failed = |cause: std::io::Error| VolumeError::Failed {
                volume: volume.name.clone(),
                why: cause.to_string(),
            };
            let place = match volume.source {
                Source::Refused(why) => return Err(VolumeError::Refused { volume: volume.name, why }),
                Source::Empty { memory } => {
                    folders::empty(&folder, memory, group).map_err(failed)?;
                    folder
                }
                Source::Host { path, kind } => {
                    folders::host(self.context.paths.root(), &path, &kind).map_err(failed)?
                }
                Source::Files(pieces) => {
                    let mut keeper = Keeper::new(&volume.name, &folder, pieces, &around);
                    keeper.write(&self.pod).await?;
                    keepers.push(keeper);
                    folder
                }
            };
            mounted.insert(volume.name, place);
        }
        for keeper in keepers {
            self.keepers.spawn(keeper.keep(self.pod_tell.subscribe()));
        }
        Ok(mounted)
    }

    pub(super) fn facts(&self) -> Facts {
        Facts {
            host_ip: self.context.config.node_address,
            pod_ips: self.sandbox.as_ref().map(|sandbox| sandbox.ips.clone()).unwrap_or_default(),
            cpus: self.context.config.cpus,
            memory_gib: self.context.config.memory_gib,
        }
    }
}
