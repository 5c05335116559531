//! The WAN's device: packets that the kernel routes to it are read here, and what is written goes on.
//!
//! The device outlives its reader. Without one it has no carrier and what is routed to it is lost, so that an
//! emulator that died is a WAN that is down, never a WAN without faults.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// `linux/if_tun.h`: layer 3, without a header before each packet.
const TUN_FLAGS: libc::c_short = 0x0001 | 0x1000;
/// `linux/if_tun.h`, TUNSETIFF and TUNSETPERSIST.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;

/// Makes the device in the namespace of this thread; it stays.
pub(crate) fn create(name: &str) -> io::Result<()> {
    let file = open(name)?;
    // SAFETY: the request takes a number, no pointer.
    let code = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETPERSIST, 1) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Opens the device in the namespace of this thread. Reads do not wait.
pub(crate) fn open(name: &str) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    // SAFETY: zero is a valid value of every field of this plain C structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name of a link has at most 15 letters"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = TUN_FLAGS;
    // SAFETY: the request reads and writes one ifreq, which is valid here.
    let code = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &mut request) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}
