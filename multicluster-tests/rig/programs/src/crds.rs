//! The definitions of the Gateway API, as its module brings them.

use std::path::{Path, PathBuf};

use crate::cache::{Cache, Job, ProgramError, create};
use crate::go;
use crate::recipe::Set;

/// Which of its definitions the Gateway API promises to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Those that stay.
    Standard,
    /// Those, and what is tried out.
    Experimental,
}

impl Channel {
    fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Experimental => "experimental",
        }
    }
}

impl Cache {
    /// The folder of the definitions of a channel: only files that `kubectl apply --server-side -f` takes.
    /// There once [`crate::Program::GatewayConformance`] was ensured.
    #[must_use]
    pub fn gateway_api_crds(&self, channel: Channel) -> PathBuf {
        self.folder(Set::GatewayApi).join("crds").join(channel.name())
    }
}

/// Copies the definitions from Go's cache, which a user may clear, into the set.
pub(crate) fn copy(job: &Job<'_>) -> Result<(), ProgramError> {
    let module = go::module_folder(job, "sigs.k8s.io/gateway-api")?;
    for channel in [Channel::Standard, Channel::Experimental] {
        let from = Path::new(&module).join("config/crd").join(channel.name());
        let to = job.staging.join("crds").join(channel.name());
        create(&to)?;
        let failed =
            |cause| ProgramError::Cache { act: "copy the definitions of", path: from.clone(), cause };
        for entry in std::fs::read_dir(&from).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            // What kustomize reads is no object of Kubernetes.
            let Some(name) = path.file_name().filter(|name| *name != "kustomization.yaml") else { continue };
            // Read and written, since a copy would take over that Go keeps its files unwritable.
            std::fs::read(&path).and_then(|bytes| std::fs::write(to.join(name), bytes)).map_err(failed)?;
        }
    }
    Ok(())
}
