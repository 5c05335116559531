//! What a cluster is called and which addresses it has: decided once, kept in its state directory.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, ensure};
use ipnet::Ipv4Net;
use mesh::TrustDomain;
use serde::{Deserialize, Serialize};

use crate::args::Cluster;

/// The file in the state directory.
const FILE: &str = "cluster.json";
/// Letters of a trust domain's random part: no two look alike.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// What cannot change while a cluster lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// Its trust domain.
    pub(crate) trust_domain: TrustDomain,
    /// The addresses of its mesh.
    pub(crate) ranges: Ipv4Net,
}

impl Settings {
    /// Reads what was decided, or decides now and keeps it. Makes the state directory, for this user only.
    pub(crate) fn decide(state: &Path, files: &Path, asked: &Cluster, random: u128) -> anyhow::Result<Self> {
        private(state)?;
        let file = state.join(FILE);
        let kept = match fs::read_to_string(&file) {
            Ok(text) => Some(serde_json::from_str::<Self>(&text).with_context(|| {
                format!("{} is damaged; restore it, or start with a new --state", file.display())
            })?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let decided = Self::from(kept.as_ref(), files, asked, random)?;
        if let Some(kept) = kept {
            ensure!(
                kept == decided,
                "{} says cluster {}, trust domain {}, ranges {}; certificates were signed under these names. \
                 Leave the flags out, or start with a new --state",
                file.display(),
                kept.cluster,
                kept.trust_domain,
                kept.ranges
            );
            return Ok(kept);
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let out = options.open(&file).with_context(|| format!("cannot write {}", file.display()))?;
        serde_json::to_writer_pretty(out, &decided)?;
        Ok(decided)
    }

    /// What was asked for, else what is kept, else a default.
    fn from(kept: Option<&Self>, files: &Path, asked: &Cluster, random: u128) -> anyhow::Result<Self> {
        let cluster = match (&asked.cluster, kept) {
            (Some(name), _) => name.clone(),
            (None, Some(kept)) => kept.cluster.clone(),
            (None, None) => {
                let full = fs::canonicalize(files)
                    .with_context(|| format!("there is no folder {}", files.display()))?;
                let name = full.file_name().and_then(|name| name.to_str()).unwrap_or("cluster");
                name.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
            }
        };
        let trust_domain = match (&asked.trust_domain, kept) {
            (Some(name), _) => name.parse().context("--trust-domain")?,
            (None, Some(kept)) => kept.trust_domain.clone(),
            (None, None) => format!("{cluster}-{}", letters(random)).parse()?,
        };
        let ranges = match (asked.ranges, kept) {
            (Some(ranges), _) => ranges,
            (None, Some(kept)) => kept.ranges,
            (None, None) => ranges_of(&trust_domain),
        };
        Ok(Self { cluster, trust_domain, ranges })
    }
}

/// Eight letters.
fn letters(mut random: u128) -> String {
    let base = LETTERS.len() as u128;
    (0..8)
        .map(|_| {
            let letter = LETTERS[(random % base) as usize];
            random /= base;
            char::from(letter)
        })
        .collect()
}

/// 10.N.0.0/16, so that two clusters of one machine rarely meet. N is 1 to 254.
fn ranges_of(trust_domain: &TrustDomain) -> Ipv4Net {
    let sum =
        trust_domain.as_str().bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let number = 1 + (sum % 254) as u8;
    Ipv4Net::new_assert(Ipv4Addr::new(10, number, 0, 0), 16)
}

/// Makes a directory for this user only. One that others may read is refused, not repaired: somebody chose that.
fn private(state: &Path) -> anyhow::Result<()> {
    match fs::metadata(state) {
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            ensure!(
                mode & 0o077 == 0,
                "{} may be read by others (mode {mode:o}): it holds keys; run chmod 700 {}",
                state.display(),
                state.display()
            );
            Ok(())
        }
        Err(_) => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state)
            .with_context(|| format!("cannot make the state directory {}", state.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(cluster: Option<&str>) -> Cluster {
        Cluster { cluster: cluster.map(str::to_owned), trust_domain: None, ranges: None }
    }

    #[test]
    fn what_was_decided_once_stays() {
        let base = tempfile::tempdir().unwrap();
        let files = base.path().join("My Shop");
        fs::create_dir(&files).unwrap();
        let state = base.path().join("state");
        let first = Settings::decide(&state, &files, &asked(None), 42).unwrap();
        assert_eq!(first.cluster, "my-shop");
        assert!(first.trust_domain.as_str().starts_with("my-shop-"));
        assert_eq!(Settings::decide(&state, &files, &asked(None), 43).unwrap(), first);
        let other = Settings::decide(&state, &files, &asked(Some("other")), 44);
        assert!(other.unwrap_err().to_string().contains("start with a new --state"));
    }

    #[test]
    fn a_state_directory_that_others_may_read_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = Settings::decide(&state, base.path(), &asked(None), 1);
        assert!(refused.unwrap_err().to_string().contains("chmod 700"));
    }
}
