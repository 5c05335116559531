//! Asks the kernel about one connection: `sock_diag(7)`, exact and at one cost however many there are.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::plain;

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h: the kind of question and of its answer.
const BY_FAMILY: u16 = 20;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct inet_diag_req_v2`: family, protocol, extensions, padding, states, `struct inet_diag_sockid`.
const QUESTION: usize = 8 + ID;
/// Length of `struct inet_diag_sockid`: two ports, two addresses, interface, cookie.
const ID: usize = 48;
/// Length of `struct inet_diag_msg`: four single bytes, the id, five words of which uid and inode are the last.
const ANSWER: usize = 4 + ID + 20;
/// Room for an answer and what a newer kernel may add to it.
const ROOM: usize = 1024;

/// The uid of the socket with these addresses, if the kernel knows it and a process holds it.
///
/// # Errors
/// When the kernel cannot be asked.
pub(super) fn uid(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::DGRAM,
        Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
    )?;
    // The kernel answers within the call that asks, so an answer that is not there never comes.
    socket.set_nonblocking(true)?;
    (&socket).write_all(&question(local, remote))?;
    let mut room = [0; ROOM];
    let length = (&socket).read(&mut room)?;
    answer(&room[..length], local, remote)
}

/// The question by exact addresses. Family and addresses in the form of the socket's own: IPv4 finds an IPv6 socket
/// with mapped addresses too.
fn question(local: SocketAddr, remote: SocketAddr) -> [u8; HEADER + QUESTION] {
    let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut out = [0; HEADER + QUESTION];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&u32::try_from(HEADER + QUESTION).expect("a small constant").to_ne_bytes());
    put(&BY_FAMILY.to_ne_bytes());
    put(&u16::try_from(libc::NLM_F_REQUEST).expect("the first flag").to_ne_bytes());
    // Sequence and sender: one question a socket, so nothing is to be told apart.
    put(&[0; 8]);
    put(&[
        u8::try_from(family).expect("families are small numbers"),
        u8::try_from(libc::IPPROTO_TCP).expect("6"),
        0,
        0,
    ]);
    put(&u32::MAX.to_ne_bytes());
    put(&local.port().to_be_bytes());
    put(&remote.port().to_be_bytes());
    put(&words(local.ip()));
    put(&words(remote.ip()));
    put(&0_u32.to_ne_bytes());
    // `INET_DIAG_NOCOOKIE`.
    put(&[0xff; 8]);
    out
}

fn words(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut out = [0; 16];
            out[..4].copy_from_slice(&ip.octets());
            out
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// What an answer says. The kernel names a listener where no connection has the addresses, and what nobody holds any
/// more (closed, TIME_WAIT) has inode 0 and a uid that says nothing: neither is the other end.
fn answer(bytes: &[u8], local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is cut short");
    let word = |at: usize| -> io::Result<u32> {
        let bytes = bytes.get(at..at + 4).ok_or_else(malformed)?;
        Ok(u32::from_ne_bytes(bytes.try_into().expect("four bytes")))
    };
    let kind = u16::from_ne_bytes(bytes.get(4..6).ok_or_else(malformed)?.try_into().expect("two bytes"));
    if i32::from(kind) == libc::NLMSG_ERROR {
        let code = word(HEADER)?.cast_signed().saturating_neg();
        return if code == libc::ENOENT { Ok(None) } else { Err(io::Error::from_raw_os_error(code)) };
    }
    if kind != BY_FAMILY || bytes.len() < HEADER + ANSWER {
        return Err(malformed());
    }
    let id = HEADER + 4;
    let found_local = address(bytes, id, id + 4);
    let found_remote = address(bytes, id + 2, id + 20);
    let (uid, inode) = (word(id + ID + 12)?, word(id + ID + 16)?);
    Ok((found_local == local && found_remote == remote && inode != 0).then_some(uid))
}

/// The address in an answer that is long enough, of the family that the answer names.
fn address(bytes: &[u8], port: usize, ip: usize) -> SocketAddr {
    let port = u16::from_be_bytes([bytes[port], bytes[port + 1]]);
    let octets: [u8; 16] = bytes[ip..ip + 16].try_into().expect("sixteen bytes");
    let ip = if i32::from(bytes[HEADER]) == libc::AF_INET {
        IpAddr::from([octets[0], octets[1], octets[2], octets[3]])
    } else {
        IpAddr::from(Ipv6Addr::from(octets))
    };
    plain(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> (SocketAddr, SocketAddr) {
        (([127, 0, 0, 1], 15000).into(), ([127, 0, 0, 9], 53036).into())
    }

    /// As the kernel answers about `local` to `remote`.
    fn said(local: SocketAddr, remote: SocketAddr, uid: u32, inode: u32) -> Vec<u8> {
        let mut out = vec![0; HEADER + ANSWER];
        out[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        out[HEADER] = question(local, remote)[HEADER];
        out[HEADER + 4..HEADER + 4 + ID].copy_from_slice(&question(local, remote)[HEADER + 8..]);
        out[HEADER + ANSWER - 8..HEADER + ANSWER - 4].copy_from_slice(&uid.to_ne_bytes());
        out[HEADER + ANSWER - 4..].copy_from_slice(&inode.to_ne_bytes());
        out
    }

    #[test]
    fn an_answer_counts_if_it_is_of_the_connection_and_somebody_holds_it() {
        let (local, remote) = addresses();
        let six = ("[::1]:1".parse().expect("an address"), "[::1]:2".parse().expect("an address"));
        let table = [
            ("held", said(local, remote, 1001, 7), Some(1001)),
            ("nobody's", said(local, remote, 0, 0), None),
            ("the other end's", said(remote, local, 1001, 7), None),
            ("a listener's", said(local, ([0, 0, 0, 0], 0).into(), 1001, 7), None),
        ];
        for (what, bytes, wanted) in table {
            assert_eq!(answer(&bytes, local, remote).expect("an answer"), wanted, "{what}");
        }
        assert_eq!(answer(&said(six.0, six.1, 5, 7), six.0, six.1).expect("an answer"), Some(5));
    }

    #[test]
    fn an_error_is_told_apart_from_nobody() {
        let (local, remote) = addresses();
        let error = |code: i32| {
            let mut out = vec![0; HEADER + 4];
            out[4..6].copy_from_slice(&u16::try_from(libc::NLMSG_ERROR).expect("2").to_ne_bytes());
            out[HEADER..].copy_from_slice(&(-code).to_ne_bytes());
            out
        };
        assert_eq!(answer(&error(libc::ENOENT), local, remote).expect("nobody"), None);
        let refused = answer(&error(libc::EPERM), local, remote).expect_err("not allowed");
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        let (local, remote) = addresses();
        let whole = said(local, remote, 1001, 7);
        for end in 0..whole.len() {
            assert!(answer(&whole[..end], local, remote).is_err(), "{end} bytes");
        }
    }
}
