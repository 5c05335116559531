//! What a link told last, on disk: it counts after a restart, until something newer comes.

use std::path::Path;

use mesh::TrustDomain;
use runtime::SealedFile;
use serde::{Deserialize, Serialize};
use transport::tls::SpkiPin;
use wire::export::Exported;

/// Most bytes of one file.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The file of one link.
pub(super) struct Kept {
    file: SealedFile,
    stored: Stored,
    trust_domain: TrustDomain,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Of which trust domain and pin this is: with others it is worth nothing.
    of: String,
    /// The bundle in its own JSON.
    bundle: Option<String>,
    exports: Option<Vec<Exported>>,
}

impl Kept {
    /// Opens the file of a link. Corrupt or of another trust domain is absent.
    pub(super) fn open(directory: &Path, link: &str, trust_domain: &TrustDomain, pin: &SpkiPin) -> Self {
        let file = SealedFile::new(directory.join(link), "link/1", FILE_BYTES_MAX);
        let of = format!("{trust_domain} {pin}");
        let read = file.read().ok().flatten().and_then(|body| serde_json::from_slice::<Stored>(&body).ok());
        let stored = read.filter(|stored| stored.of == of).unwrap_or(Stored { of, ..Stored::default() });
        Self { file, stored, trust_domain: trust_domain.clone() }
    }

    pub(super) fn bundle(&self) -> Option<authority::Bundle> {
        let text = self.stored.bundle.as_ref()?;
        authority::Bundle::parse(text.as_bytes(), &self.trust_domain).ok()
    }

    pub(super) fn exports(&self) -> Option<&[Exported]> {
        self.stored.exports.as_deref()
    }

    pub(super) fn set_bundle(&mut self, bundle: &authority::Bundle) {
        self.stored.bundle = bundle.encode().ok().and_then(|json| String::from_utf8(json).ok());
        self.write();
    }

    pub(super) fn set_exports(&mut self, exports: &[Exported]) {
        self.stored.exports = Some(exports.to_vec());
        self.write();
    }

    fn write(&self) {
        let written = serde_json::to_vec(&self.stored).map_err(|error| error.to_string());
        let written = written.and_then(|body| self.file.write(&body).map_err(|error| error.to_string()));
        if let Err(cause) = written {
            tracing::warn!(file = %self.file.path().display(), cause, "what a link told cannot be kept");
        }
    }
}
