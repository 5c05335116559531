//! Waits until links carry packets.
//!
//! A link that is switched on, and whose other end is, still drops packets until the kernel has noticed both, a
//! little later and on a thread of its own. Whoever sends a single packet meanwhile has lost it.

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::netlink::{Change, Socket};

/// How long the kernel may take to notice.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is asked.
const PERIOD: Duration = Duration::from_micros(500);

/// Waits until all these links of this thread's namespace carry packets.
pub(crate) fn wait(links: &[&str]) -> io::Result<()> {
    // In the order given: a bridge runs when a port of it does.
    let mut socket = Socket::open()?;
    for link in links {
        socket.apply(&Change::Settle { link: (*link).to_owned() }).map_err(io::Error::other)?;
    }
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let running: Vec<String> = getifaddrs()?
            .filter(|link| link.flags.contains(InterfaceFlags::IFF_RUNNING))
            .map(|link| link.interface_name)
            .collect();
        let Some(missing) = links.iter().find(|link| !running.iter().any(|one| one == *link)) else {
            return Ok(());
        };
        if Instant::now() > deadline {
            let words = format!("the link {missing} is on and still carries nothing");
            return Err(io::Error::new(io::ErrorKind::TimedOut, words));
        }
        sleep(PERIOD);
    }
}
