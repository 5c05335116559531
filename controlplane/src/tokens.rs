//! Join tokens of nodes and gateways, and the tokens of workloads' explicit proxies.
//!
//! *Flow*: a token says whose it is and has 32 random bytes; it is made once, kept in a file of mode 0600, and
//! checked against the hash of that file. *Guarantees*: a token proves its own owner and no other; taking its
//! file away ends it. *Caveats*: whoever can read the file is its owner.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use mesh::{Identity, TrustDomain, names::NodeName};
use parking_lot::Mutex;
use runtime::sealed::private_directory;

use crate::roll::Roll;

/// Longest token, in bytes: its owner's names and 64 digits.
const TOKEN_BYTES_MAX: u64 = 1024;
/// Most tokens that are held.
const TOKENS_MAX: usize = 100_000;
/// Between the parts of a token: legal in URLs and in no Kubernetes name.
const PART: char = '~';

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A node proxy.
    Node(String),
    /// A gateway or waypoint: namespace and name.
    Gateway(String, String),
    /// A workload's processes, at their explicit proxy: namespace and name.
    Workload(String, String),
}

impl Owner {
    fn parts(&self) -> Vec<&str> {
        match self {
            Self::Node(name) => vec!["node", name],
            Self::Gateway(namespace, name) => vec!["gateway", namespace, name],
            Self::Workload(namespace, name) => vec!["workload", namespace, name],
        }
    }

    fn read(token: &str) -> Option<Self> {
        let parts: Vec<&str> = token.split(PART).collect();
        match parts.as_slice() {
            ["node", name, _] => Some(Self::Node((*name).to_owned())),
            ["gateway", namespace, name, _] => {
                Some(Self::Gateway((*namespace).to_owned(), (*name).to_owned()))
            }
            ["workload", namespace, name, _] => {
                Some(Self::Workload((*namespace).to_owned(), (*name).to_owned()))
            }
            _ => None,
        }
    }

    /// True if its names can stand in a file name and a token.
    fn is_legal(&self) -> bool {
        let legal =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        self.parts().iter().all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(legal))
    }

    /// The names of files that may hold its token: one that people like, and one that no other owner has.
    fn files(&self) -> [String; 2] {
        [self.parts().join("-"), self.parts().join(&PART.to_string())]
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        write!(out, "{} {}", parts[0], parts[1..].join("/"))
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The directory is open to others, or cannot be made.
    #[error(transparent)]
    Directory(#[from] runtime::sealed::SealedError),
    /// A file cannot be read or written.
    #[error("cannot use the token file {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The name cannot be that of a token's owner.
    #[error("{0} has no legal name")]
    Name(Owner),
    /// Both names for its file are taken by others.
    #[error("the token file of {0} holds something else: remove it")]
    Taken(Owner),
    /// There are too many.
    #[error("{TOKENS_MAX} tokens are the most")]
    TooMany,
}

/// The tokens of a cluster. Clones share them.
#[derive(Clone)]
pub struct Tokens {
    directory: PathBuf,
    random: fn() -> [u8; 32],
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    hashes: BTreeMap<Owner, [u8; 32]>,
    read_at: Option<SystemTime>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tokens").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Tokens {
    /// The tokens in a directory, which is made (0700) if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made or is open to others.
    pub fn open(directory: &Path, random: fn() -> [u8; 32]) -> Result<Self, TokenError> {
        private_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), random, known: Arc::default() })
    }

    /// The file of an owner's token, which is made if there is none.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn file(&self, owner: &Owner) -> Result<PathBuf, TokenError> {
        self.ensure(owner).map(|(path, _)| path)
    }

    /// The SHA-256 of an owner's token, in hex; the token is made if there is none.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn hash(&self, owner: &Owner) -> Result<String, TokenError> {
        if let Some(hash) = self.known.lock().hashes.get(owner) {
            return Ok(hex(hash));
        }
        self.ensure(owner).map(|(_, hash)| hex(&hash))
    }

    fn ensure(&self, owner: &Owner) -> Result<(PathBuf, [u8; 32]), TokenError> {
        if !owner.is_legal() {
            return Err(TokenError::Name(owner.clone()));
        }
        for name in owner.files() {
            let path = self.directory.join(name);
            let failed = |cause| TokenError::File { path: path.clone(), cause };
            let token = match read(&path) {
                Ok(token) => token,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    let secret = hex(&(self.random)());
                    let token = [owner.parts().join(&PART.to_string()), secret].join(&PART.to_string());
                    match create(&path, &token) {
                        Ok(()) => token,
                        // Another process was faster: its token is the token.
                        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                            read(&path).map_err(failed)?
                        }
                        Err(cause) => return Err(failed(cause)),
                    }
                }
                Err(cause) => return Err(failed(cause)),
            };
            if Owner::read(&token).as_ref() == Some(owner) {
                let hash = sha256(&token);
                let mut known = self.known.lock();
                if known.hashes.len() >= TOKENS_MAX && !known.hashes.contains_key(owner) {
                    return Err(TokenError::TooMany);
                }
                known.hashes.insert(owner.clone(), hash);
                return Ok((path, hash));
            }
        }
        Err(TokenError::Taken(owner.clone()))
    }

    /// Whose token this is.
    pub(crate) fn owner(&self, token: &str) -> Option<Owner> {
        let owner = Owner::read(token)?;
        if !owner.is_legal() {
            return None;
        }
        let given = sha256(token);
        self.refresh();
        let mut known = self.known.lock();
        let hash = match known.hashes.get(&owner) {
            Some(hash) => *hash,
            // It may have been made by `strait token` since.
            None => {
                let stored = owner.files().iter().find_map(|name| {
                    read(&self.directory.join(name))
                        .ok()
                        .filter(|text| Owner::read(text).as_ref() == Some(&owner))
                })?;
                let hash = sha256(&stored);
                if known.hashes.len() >= TOKENS_MAX {
                    return None;
                }
                known.hashes.insert(owner.clone(), hash);
                hash
            }
        };
        verify_slices_are_equal(&hash, &given).is_ok().then_some(owner)
    }

    /// A file that was taken away or replaced ends its token: what is known is read anew when the directory changed.
    fn refresh(&self) {
        let changed = fs::metadata(&self.directory).and_then(|found| found.modified()).ok();
        let mut known = self.known.lock();
        if known.read_at != changed {
            known.hashes.clear();
            known.read_at = changed;
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

/// Written whole beside its place and then put there, so that nobody reads half of it.
fn create(path: &Path, token: &str) -> io::Result<()> {
    let beside = path.with_file_name(format!(".new-{}", &token[token.len().saturating_sub(16)..]));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = writeln!(file, "{token}").and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&beside, path));
    fs::remove_file(&beside)?;
    linked
}

fn sha256(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Who a bearer of a token is, for configuration and certificates.
#[derive(Debug, Clone)]
pub(crate) struct Bearers {
    pub(crate) tokens: Tokens,
    pub(crate) roll: Roll,
    pub(crate) trust_domain: TrustDomain,
}

/// A bearer that may ask for something.
enum Proven {
    Node(NodeName),
    Gateway(Identity),
}

impl Bearers {
    fn prove(&self, token: &str) -> Result<Proven, String> {
        match self.tokens.owner(token) {
            None => Err("the token is nobody's".to_owned()),
            Some(Owner::Node(name)) => Ok(Proven::Node(name.as_str().into())),
            Some(Owner::Gateway(namespace, name)) => {
                let identity = Identity::of_service_account(&self.trust_domain, &namespace, &name)
                    .map_err(|error| error.to_string())?;
                match self.roll.is_gateway(&identity) {
                    true => Ok(Proven::Gateway(identity)),
                    false => Err(format!("there is no Gateway {namespace}/{name} now")),
                }
            }
            Some(owner @ Owner::Workload(..)) => {
                Err(format!("the token of {owner} is good at its explicit proxy, not here"))
            }
        }
    }
}

#[tonic::async_trait]
impl wire::Authenticate for Bearers {
    async fn authenticate(&self, bearer: &str) -> Result<wire::Caller, wire::Unauthenticated> {
        match self.prove(bearer) {
            Ok(Proven::Node(name)) => Ok(wire::Caller::Node { name }),
            Ok(Proven::Gateway(identity)) => Ok(wire::Caller::Gateway { identity }),
            Err(why) => Err(wire::Unauthenticated(why)),
        }
    }
}

impl authority::Callers for Bearers {
    async fn identify(&self, token: &str) -> Result<authority::Bearer, authority::serve::CallerError> {
        match self.prove(token) {
            Ok(Proven::Node(name)) => Ok(authority::Bearer::Node(name)),
            Ok(Proven::Gateway(identity)) => Ok(authority::Bearer::Workload(identity)),
            Err(why) => Err(authority::serve::CallerError::Rejected(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn tokens(directory: &Path) -> Tokens {
        Tokens::open(&directory.join("tokens"), || [7; 32]).expect("the directory can be made")
    }

    #[test]
    fn a_token_is_made_once_and_proves_its_owner_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let owner = Owner::Workload("shop".to_owned(), "planner".to_owned());
        let file = tokens(directory.path()).file(&owner).expect("a token");
        assert!(file.ends_with("workload-shop-planner"));
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
        let text = read(&file).expect("it can be read");
        let again = tokens(directory.path());
        assert_eq!(again.file(&owner).expect("the same"), file);
        assert_eq!(again.owner(&text), Some(owner.clone()));
        assert_eq!(again.owner(&text.replace("planner", "intern")), None);
        assert_eq!(again.owner(&text[..text.len() - 1]), None);
        assert_eq!(again.owner(""), None);
        fs::remove_file(&file).expect("it can be removed");
        assert_eq!(tokens(directory.path()).owner(&text), None, "its file is gone");
    }

    #[test]
    fn owners_whose_files_would_have_one_name_have_two() {
        let directory = tempfile::tempdir().expect("a directory");
        let tokens = tokens(directory.path());
        let one = Owner::Gateway("a-b".to_owned(), "c".to_owned());
        let other = Owner::Gateway("a".to_owned(), "b-c".to_owned());
        let files = [tokens.file(&one).expect("a token"), tokens.file(&other).expect("a token")];
        assert_ne!(files[0], files[1]);
        for (file, owner) in files.iter().zip([one, other]) {
            assert_eq!(tokens.owner(&read(file).expect("it can be read")), Some(owner));
        }
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["../x", "", ".x", "a/b", "a~b", "A"] {
            assert!(tokens(directory.path()).file(&Owner::Node(name.to_owned())).is_err(), "{name:?}");
        }
    }
}
