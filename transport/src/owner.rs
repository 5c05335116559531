//! Which user owns the process at the other end of a connection on this machine.
//!
//! The kernel knows both ends of such a connection; the one that is ours with the addresses exchanged is the other
//! end's. It proves a user, not a process: processes of one user are not told apart.

mod diag;
mod table;

use std::{io, net::SocketAddr};

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
    // A kernel without the question says the same as one that knows of no such connection, so the list is the last word.
    if let Ok(Some(uid)) = diag::uid(theirs, ours) {
        return Ok(uid);
    }
    table::uid(theirs, ours)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the kernel names no owner of the other end"))
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

    /// A list that is read in pieces loses rows while others come and go, and with them whoever called.
    #[tokio::test]
    async fn the_owner_is_found_while_connections_come_and_go() {
        let listener =
            Listener::bind(&Address::Tcp("127.0.0.1:0".parse().expect("an address"))).expect("a free port");
        let target = Target {
            address: listener.address().clone(),
            from: None,
            timeout: std::time::Duration::from_secs(5),
        };
        let _dialled = dial(&target).await.expect("somebody listens");
        let arrived = listener.accept().await.expect("somebody dialled");
        let others = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = others.local_addr().expect("it is bound");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let one = std::net::TcpStream::connect(address).expect("it listens");
                    drop(others.accept().expect("one connected"));
                    drop(one);
                }
            });
            let kind = match &arrived.kind {
                Kind::Tcp(stream) => stream,
                Kind::Unix(_) => unreachable!("it came by TCP"),
            };
            let (theirs, ours) = (kind.peer_addr().expect("it is"), kind.local_addr().expect("it is"));
            let found = (0..2000).filter(|_| matches!(diag::uid(theirs, ours), Ok(Some(_)))).count();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(found, 2000);
        });
    }
}
