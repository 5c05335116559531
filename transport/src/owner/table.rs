//! The kernel's list of connections as text, for machines whose kernel answers no questions about single ones.
//!
//! It is read in pieces while connections come and go, so one that is there may be missed.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::plain;

/// The uid of the socket with these addresses, if a process holds it and the list has it.
pub(super) fn uid(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    // An IPv4 connection may have been made with an IPv6 socket.
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match std::fs::read_to_string(table) {
            Ok(text) => {
                if let Some(uid) = text.lines().skip(1).find_map(|line| owner(line, local, remote)) {
                    return Ok(Some(uid));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
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

#[cfg(test)]
mod tests {
    use super::*;

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
