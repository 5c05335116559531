//! Which user owns the process at the other end of a connection on this machine.

use std::{io, net::SocketAddr};

use crate::socket::Socket;

/// The uid of the process at the other end. Only for connections within this machine: for any other, and when the
/// kernel names nobody, it is an error.
///
/// # Errors
/// When the other end is not on this machine, or its owner cannot be found.
pub fn peer_uid(socket: &Socket) -> io::Result<u32> {
    let _ = (socket, None::<SocketAddr>);
    todo!()
}
