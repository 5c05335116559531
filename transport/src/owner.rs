//! Which user owns the process at the other end of a connection on this machine.
//!
//! The kernel lists both ends of such a connection; the row that is ours with the addresses exchanged is the other
//! end's. It proves a user, not a process: processes of one user are not told apart.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::socket::{Kind, Socket};

/// The uid of the process at the other end. Only for connections within this machine: for any other, and when the
/// kernel names nobody, it is an error.
///
/// # Errors
/// When the other end is not on this machine, or its owner cannot be found.
pub fn peer_uid(socket: &Socket) -> io::Result<u32> {
    let stream = match &socket.kind {
        Kind::Unix(stream) => return Ok(stream.peer_cred()?.uid()),
        Kind::Tcp(stream) => stream,
    };
    let (theirs, ours) = (plain(stream.peer_addr()?), plain(stream.local_addr()?));
    if !theirs.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the other end is not on this machine"));
    }
    // An IPv4 connection may have been made with an IPv6 socket.
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match std::fs::read_to_string(table) {
            Ok(text) => {
                if let Some(uid) = text.lines().skip(1).find_map(|line| owner(line, theirs, ours)) {
                    return Ok(uid);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "the kernel names no owner of the other end"))
}

/// The uid in a line, if it is of the socket with these addresses and a process holds it. A socket that nobody holds
/// any more (closed, TIME_WAIT) has inode 0, and its uid says nothing.
fn owner(line: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace();
    let found_local = address(fields.nth(1)?)?;
    let found_remote = address(fields.next()?)?;
    // Between remote address and uid: state, queues, timer, retransmits.
    let uid = fields.nth(4)?.parse().ok()?;
    let inode: u64 = fields.nth(1)?.parse().ok()?;
    (found_local == local && found_remote == remote && inode != 0).then_some(uid)
}

/// Addresses stand in it as words of the machine's byte order, in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| {
        let digits = host.get(index * 8..index * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip: IpAddr = match host.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(plain(SocketAddr::new(ip, port)))
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Address, Listener,
        dial::{Target, dial},
    };

    async fn check(address: &str) {
        let listener =
            Listener::bind(&Address::Tcp(address.parse().expect("an address"))).expect("a free port");
        let target = Target {
            address: listener.address().clone(),
            from: None,
            timeout: std::time::Duration::from_secs(5),
        };
        let dialled = dial(&target).await.expect("somebody listens");
        let arrived = listener.accept().await.expect("somebody dialled");
        // SAFETY: getuid has no preconditions and cannot fail.
        let own = unsafe { libc::getuid() };
        assert_eq!(peer_uid(&arrived).expect("it is here"), own);
        assert_eq!(peer_uid(&dialled).expect("it is here"), own);
        drop(dialled);
        assert!(peer_uid(&arrived).is_err(), "a closed socket has no owner");
    }

    #[tokio::test]
    async fn the_owner_of_the_other_end_is_found() {
        check("127.0.0.1:0").await;
        check("[::1]:0").await;
    }

    #[tokio::test]
    async fn a_unix_socket_knows_its_peer() {
        let (one, _other) = Socket::pair().expect("descriptors");
        // SAFETY: getuid has no preconditions and cannot fail.
        assert_eq!(peer_uid(&one).expect("it is here"), unsafe { libc::getuid() });
    }

    #[test]
    fn a_line_is_read_by_its_columns() {
        let line = "   5: 0100007F:3A98 0900007F:CF2C 01 00000000:00000000 00:00000000 00000000  1001        0 69871 1 x";
        let (local, remote) = (([127, 0, 0, 1], 15000).into(), ([127, 0, 0, 9], 53036).into());
        assert_eq!(owner(line, local, remote), Some(1001));
        assert_eq!(owner(line, remote, local), None);
        assert_eq!(owner(&line.replace("69871", "0"), local, remote), None);
        let mapped = line.replace("0100007F", "0000000000000000FFFF00000100007F");
        assert_eq!(
            owner(&mapped.replace("0900007F", "0000000000000000FFFF00000900007F"), local, remote),
            Some(1001)
        );
        for end in 0..line.len() - 4 {
            let _ = owner(&line[..end], local, remote);
        }
        assert_eq!(owner("", local, remote), None);
    }
}
