//! The pod addresses of one node: a folder with a file for each address that is given out.
//!
//! An address is given again only after all others, so that a packet for a pod that is gone rarely finds a new
//! one. A lock lets one program at a time decide.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use nix::fcntl::{Flock, FlockArg};

use super::answer::CniError;

/// Remembers the address given last.
const LAST: &str = "last";
const LOCK: &str = "lock";

/// The folder, not yet locked.
pub(super) struct Addresses {
    folder: PathBuf,
    range: Ipv4Net,
}

/// The folder, ours until this is dropped.
pub(super) struct Held<'a> {
    addresses: &'a Addresses,
    _lock: Flock<File>,
}

impl Addresses {
    pub(super) fn at(folder: &Path, range: Ipv4Net) -> Addresses {
        Addresses { folder: folder.to_owned(), range }
    }

    pub(super) fn lock(&self) -> Result<Held<'_>, CniError> {
        let locked = fs::create_dir_all(&self.folder)
            .and_then(|()| File::create(self.folder.join(LOCK)))
            .and_then(|file| Ok(Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error)?));
        let lock = locked.map_err(|cause| {
            CniError::failed(&format!("cannot lock the addresses in {}", self.folder.display()), cause)
        })?;
        Ok(Held { addresses: self, _lock: lock })
    }
}

impl Held<'_> {
    /// The address of a container's interface: the one it has, else the next that is free.
    pub(super) fn take(&self, container: &str, interface: &str) -> Result<Ipv4Addr, CniError> {
        if let Some(held) = self.of(container, interface)? {
            return Ok(held);
        }
        let last = fs::read_to_string(self.file(LAST)).ok().and_then(|text| text.trim().parse().ok());
        let address = self.next_free(last)?;
        self.written(fs::write(self.file(&address.to_string()), format!("{container}\n{interface}\n")))?;
        self.written(fs::write(self.file(LAST), address.to_string()))?;
        Ok(address)
    }

    /// Gives an address back. None to give back is no error.
    pub(super) fn release(&self, container: &str, interface: &str) -> Result<(), CniError> {
        match self.of(container, interface)? {
            Some(address) => self.written(fs::remove_file(self.file(&address.to_string()))),
            None => Ok(()),
        }
    }

    /// The address that a container's interface has.
    pub(super) fn of(&self, container: &str, interface: &str) -> Result<Option<Ipv4Addr>, CniError> {
        let wanted = format!("{container}\n{interface}\n");
        Ok(self.given()?.into_iter().find(|(_, holder)| *holder == wanted).map(|(address, _)| address))
    }

    /// Containers and interfaces that have an address.
    pub(super) fn holders(&self) -> Result<Vec<(String, String)>, CniError> {
        let named = |(_, holder): (Ipv4Addr, String)| {
            let (container, interface) = holder.trim_end().split_once('\n')?;
            Some((container.to_owned(), interface.to_owned()))
        };
        Ok(self.given()?.into_iter().filter_map(named).collect())
    }

    /// Frees addresses whose file names nobody, as a crash may leave.
    pub(super) fn forget_unnamed(&self) -> Result<(), CniError> {
        for (address, holder) in self.given()? {
            if holder.trim_end().split_once('\n').is_none() {
                self.written(fs::remove_file(self.file(&address.to_string())))?;
            }
        }
        Ok(())
    }

    /// Whether another pod could have an address.
    pub(super) fn any_free(&self) -> Result<(), CniError> {
        self.next_free(None).map(drop)
    }

    fn next_free(&self, last: Option<Ipv4Addr>) -> Result<Ipv4Addr, CniError> {
        let given: Vec<Ipv4Addr> = self.given()?.into_iter().map(|(address, _)| address).collect();
        let range = self.addresses.range;
        let (later, earlier): (Vec<_>, Vec<_>) = range.hosts().partition(|host| Some(*host) > last);
        let next = later.into_iter().chain(earlier).find(|host| !given.contains(host));
        next.ok_or_else(|| CniError::full(format!("all {} addresses of {range} are given", given.len())))
    }

    fn given(&self) -> Result<Vec<(Ipv4Addr, String)>, CniError> {
        let mut given = Vec::new();
        for entry in self.written(fs::read_dir(&self.addresses.folder))? {
            let name = self.written(entry)?.file_name();
            let Some(address) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            match fs::read_to_string(self.file(&name.to_string_lossy())) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => given.push((address, self.written(other)?)),
            }
        }
        Ok(given)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.addresses.folder.join(name)
    }

    fn written<T>(&self, result: io::Result<T>) -> Result<T, CniError> {
        let folder = self.addresses.folder.display();
        result.map_err(|cause| CniError::failed(&format!("cannot keep the addresses in {folder}"), cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(range: &str) -> (tempfile::TempDir, Addresses) {
        let folder = tempfile::tempdir().unwrap();
        let addresses = Addresses::at(&folder.path().join("addresses"), range.parse().unwrap());
        (folder, addresses)
    }

    #[test]
    fn an_address_is_given_once_until_it_is_released_and_again_only_after_all_others() {
        let (_folder, addresses) = addresses("10.11.1.0/30");
        let held = addresses.lock().unwrap();
        assert_eq!(held.take("a", "eth0").unwrap().to_string(), "10.11.1.1");
        assert_eq!(held.take("a", "eth0").unwrap().to_string(), "10.11.1.1", "the same pod asks again");
        held.release("a", "eth0").unwrap();
        held.release("a", "eth0").unwrap();
        assert_eq!(held.take("b", "eth0").unwrap().to_string(), "10.11.1.2");
        assert_eq!(held.take("c", "eth0").unwrap().to_string(), "10.11.1.1");
    }

    #[test]
    fn the_last_free_address_is_given_and_then_no_more() {
        let (_folder, addresses) = addresses("10.11.1.0/24");
        let held = addresses.lock().unwrap();
        for pod in 0..254 {
            held.any_free().unwrap();
            held.take(&pod.to_string(), "eth0").unwrap();
        }
        let error = held.take("one more", "eth0").unwrap_err();
        assert_eq!(error.to_string(), "all 254 addresses of 10.11.1.0/24 are given (CNI error 50)");
        assert!(held.any_free().is_err());
    }

    #[test]
    fn a_file_that_names_nobody_is_taken_until_it_is_collected() {
        let (folder, addresses) = addresses("10.11.1.0/30");
        let held = addresses.lock().unwrap();
        fs::write(folder.path().join("addresses/10.11.1.1"), "").unwrap();
        assert_eq!(held.take("a", "eth0").unwrap().to_string(), "10.11.1.2");
        held.forget_unnamed().unwrap();
        assert_eq!(held.take("b", "eth0").unwrap().to_string(), "10.11.1.1");
    }
}
