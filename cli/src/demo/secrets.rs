//! What the demo makes anew at each start and writes as objects: nothing secret stands in the example files, and no key
//! that belongs to a secret one.

use std::{fs, path::Path};

use serde_json::json;

use super::people::{AUDIENCE, ISSUER, Shown, TokenIssuer};

/// The secrets of one run.
pub(crate) struct Secrets {
    /// The key that the model servers want to be shown.
    pub(crate) model_key: String,
    /// What the way in shows.
    pub(crate) shown: Shown,
    /// Who issues the tokens of people.
    pub(crate) issuer: TokenIssuer,
}

impl Secrets {
    /// Makes them.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let model_key = format!("key-{:032x}", rand::random::<u128>());
        Ok(Self { model_key, shown: Shown::make()?, issuer: TokenIssuer::make()? })
    }

    /// Writes them where the control plane of east finds them.
    pub(crate) fn write(&self, files: &Path) -> anyhow::Result<()> {
        let objects = [
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": "model-key", "namespace": "agents" },
                "stringData": { "token": self.model_key },
            }),
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": { "name": "edge-tls", "namespace": "agents" },
                "stringData": { "tls.crt": self.shown.chain, "tls.key": self.shown.key },
            }),
            json!({
                "apiVersion": "strait.dev/v1alpha1", "kind": "TokenIssuer",
                "metadata": { "name": "acme" },
                "spec": { "jwt": {
                    "issuer": ISSUER, "audiences": [AUDIENCE], "jwks": { "inline": self.issuer.keys()? },
                } },
            }),
        ];
        // JSON is YAML.
        let text: Vec<String> = objects.iter().map(ToString::to_string).collect();
        Ok(fs::write(files.join("secrets.yaml"), text.join("\n---\n"))?)
    }

    /// Writes what a person needs to come in by hand.
    pub(crate) fn leave_for_people(&self, folder: &Path) -> anyhow::Result<()> {
        fs::write(folder.join("authority.pem"), &self.shown.root)?;
        Ok(fs::write(folder.join("ann.jwt"), self.issuer.token("ann", "docs")?)?)
    }
}
