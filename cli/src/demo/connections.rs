//! Which connections the processes of the demo hold, as the kernel says it (proc(5), `/proc/net/tcp`).

use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
};

/// One established TCP connection of one process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Held {
    /// The process.
    pub(crate) pid: u32,
    /// Its end.
    pub(crate) local: SocketAddr,
    /// The other end.
    pub(crate) remote: SocketAddr,
}

/// Every established TCP connection that these processes hold.
pub(crate) fn held_by(pids: &[u32]) -> io::Result<Vec<Held>> {
    let mut by_inode = BTreeMap::new();
    for line in fs::read_to_string("/proc/net/tcp")?.lines().skip(1) {
        if let Some((inode, local, remote)) = established(line) {
            by_inode.insert(inode, (local, remote));
        }
    }
    let mut held = Vec::new();
    for &pid in pids {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let inode = target
                .to_str()
                .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(&(local, remote)) = inode.and_then(|inode: u64| by_inode.get(&inode)) {
                held.push(Held { pid, local, remote });
            }
        }
    }
    held.sort();
    held.dedup();
    Ok(held)
}

/// Inode and both ends of a line of `/proc/net/tcp` whose state is ESTABLISHED (01).
fn established(line: &str) -> Option<(u64, SocketAddr, SocketAddr)> {
    let mut fields = line.split_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    if fields.next()? != "01" {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some((inode, local, remote))
}

/// An address as the kernel prints it: the four bytes in the machine's order, the port in hex.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    Some(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let line = "   1: 0100007F:1F90 0200007F:3AA0 01 00000000:00000000 00:00000000 00000000  1000        0 424242 1 0 20 4 30 10 -1";
        let expected = (424_242, "127.0.0.1:8080".parse().unwrap(), "127.0.0.2:15008".parse().unwrap());
        assert_eq!(established(line), Some(expected));
        assert_eq!(established(&line.replace(" 01 ", " 0A ")), None);
        assert_eq!(established("nonsense"), None);
    }
}
