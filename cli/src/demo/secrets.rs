//! What the demo makes anew at each start and writes as Secrets: nothing secret stands in the example files.

use std::{fs, path::Path};

/// The secrets of one run.
pub(crate) struct Secrets {
    /// The key that the model servers want to be shown.
    pub(crate) model_key: String,
}

impl Secrets {
    /// Makes them.
    pub(crate) fn make() -> Self {
        Self { model_key: format!("key-{:032x}", rand::random::<u128>()) }
    }

    /// Writes them where the control plane of east finds them.
    pub(crate) fn write(&self, files: &Path) -> std::io::Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: model-key, namespace: agents}}\n\
             stringData: {{token: {}}}\n",
            self.model_key
        );
        fs::write(files.join("secrets.yaml"), text)
    }
}
