//! Seals what callers hold for us, so that it comes back unchanged and unread: any replica with the key can open it.

use runtime::vault::{KeyError, NONCE_BYTES, Vault};

/// How long a seal may be that is opened, in bytes.
pub const SEAL_MAX: usize = 1 << 20;

/// What a seal is for. Its first byte, so that a later form can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// A session with one server.
    Session = 1,
    /// A session with several servers.
    Sessions = 2,
    /// The id or progress token of a server's request.
    Id = 3,
    /// Where a list goes on.
    Cursor = 4,
    /// Where streams are to be resumed.
    Events = 5,
    /// Where messages of the transport of 2024-11-05 are posted.
    Post = 6,
}

/// Seals and opens.
#[derive(Debug)]
pub struct Sealer(Vault);

impl Sealer {
    /// Seals by the current key, and opens by it and by those it replaced. Replicas that share sessions share keys.
    ///
    /// # Errors
    /// When a key has not 32 bytes, or there are too many.
    pub fn new(current: &[u8], former: &[Vec<u8>]) -> Result<Self, KeyError> {
        Vault::new("mcp", current, former).map(Self)
    }

    /// As [`Vault::seal`].
    pub(crate) fn seal(
        &self,
        form: Form,
        bound: &str,
        plain: Vec<u8>,
        nonce: [u8; NONCE_BYTES],
    ) -> Option<String> {
        self.0.seal(form as u8, bound, plain, nonce)
    }

    /// As [`Vault::seal_alike`].
    pub(crate) fn seal_alike(&self, form: Form, bound: &str, plain: Vec<u8>) -> Option<String> {
        self.0.seal_alike(form as u8, bound, plain)
    }

    /// As [`Vault::open`], of at most [`SEAL_MAX`].
    pub(crate) fn open(&self, form: Form, bound: &str, token: &str) -> Option<Vec<u8>> {
        if token.len() > SEAL_MAX {
            return None;
        }
        self.0.open(form as u8, bound, token)
    }
}
