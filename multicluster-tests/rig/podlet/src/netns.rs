//! Network namespaces of pods: made, mounted at a path, unmounted.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

/// Makes a namespace with its loopback up and mounts it at `path`.
///
/// # Errors
/// When the kernel refuses.
pub async fn create(path: PathBuf) -> io::Result<()> {
    let (done, wait) = tokio::sync::oneshot::channel();
    // A thread of its own: it ends in the new namespace and serves nobody else.
    std::thread::Builder::new().name("netns".to_owned()).spawn(move || {
        let _ = done.send(make(&path));
    })?;
    wait.await.unwrap_or_else(|_| Err(io::Error::other("the thread that makes namespaces died")))
}

fn make(path: &Path) -> io::Result<()> {
    fs::File::create(path)?;
    let made = unshare(CloneFlags::CLONE_NEWNET)
        .map_err(io::Error::from)
        .and_then(|()| loopback_up())
        .and_then(|()| {
            let own = Path::new("/proc/thread-self/ns/net");
            Ok(mount(Some(own), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
        });
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
    made
}

fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: ifreq is plain data; zeros are a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: SIOCSIFFLAGS reads one ifreq from the pointer, which outlives the call.
    let result = unsafe { libc::ioctl(descriptor, libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Unmounts it and removes the file; one that is gone is no error.
pub fn remove(path: &Path) {
    let _ = umount2(path, MntFlags::MNT_DETACH);
    let _ = fs::remove_file(path);
}
