//! What the past decides, on disk: written whole after each change, read at start.

use std::path::Path;

use runtime::{SealedError, SealedFile};
use translate::Past;

/// Most bytes of the file.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The file of the past.
#[derive(Debug)]
pub(crate) struct PastFile {
    file: SealedFile,
    written: Past,
}

impl PastFile {
    /// Opens it.
    ///
    /// # Errors
    /// When there is one that cannot be read: to go on as if nothing had been would open what is closed.
    pub(crate) fn open(state: &Path) -> Result<(Self, Past), SealedError> {
        let file = SealedFile::new(state.join("past"), "past/1", FILE_BYTES_MAX);
        let past = match file.read()? {
            None => Past::default(),
            Some(body) => serde_json::from_slice(&body).map_err(|cause| SealedError::Disk {
                act: "understand",
                path: file.path().to_owned(),
                cause: std::io::Error::new(std::io::ErrorKind::InvalidData, cause),
            })?,
        };
        Ok((Self { file, written: past.clone() }, past))
    }

    /// Writes it, if it is not what is written already.
    pub(crate) fn keep(&mut self, past: Past) {
        if past == self.written {
            return;
        }
        let written = serde_json::to_vec(&past).map_err(|error| error.to_string());
        match written.and_then(|body| self.file.write(&body).map_err(|error| error.to_string())) {
            Ok(()) => self.written = past,
            Err(cause) => tracing::error!(cause, "what must be remembered cannot be written"),
        }
    }
}
