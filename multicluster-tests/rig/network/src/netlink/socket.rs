//! Asks the kernel for one change at a time, in the network namespace of the thread that opened the socket.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::change::Change;
use super::message::HEADER_LEN;

/// The kernel answers at once; longer than this is a fault of the machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Room for one answer: a header, a code, the header of the request and a sentence.
const ANSWER_LEN_MAX: usize = 8192;
/// `linux/netlink.h`: the answer does not repeat the request.
const NETLINK_CAP_ACK: libc::c_int = 10;
/// `linux/netlink.h`: a refusal carries a sentence.
const NETLINK_EXT_ACK: libc::c_int = 11;
/// `linux/netlink.h`: attributes follow the code.
const FLAG_ACK_TLVS: u16 = 0x200;
/// `linux/netlink.h`, NLMSGERR_ATTR_MSG: the sentence.
const ATTRIBUTE_SENTENCE: u16 = 1;

/// A change that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {change}: {cause}{note}")]
pub struct NetlinkError {
    /// What was wanted, in the words of `ip`.
    pub change: String,
    /// Why not.
    pub cause: io::Error,
    /// What the kernel adds in its own words; begins with a colon when there is any.
    pub note: String,
}

/// An rtnetlink socket.
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket that speaks for the network namespace of this thread.
    pub(crate) fn open() -> io::Result<Socket> {
        // SAFETY: plain system calls on numbers; the descriptor is owned by us alone.
        let fd = unsafe {
            let raw =
                libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE);
            if raw < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(raw)
        };
        option(&fd, libc::SOL_NETLINK, NETLINK_CAP_ACK, &1i32)?;
        option(&fd, libc::SOL_NETLINK, NETLINK_EXT_ACK, &1i32)?;
        let timeout = libc::timeval { tv_sec: ANSWER_TIMEOUT.as_secs() as libc::time_t, tv_usec: 0 };
        option(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &timeout)?;
        Ok(Socket { fd, sequence: 0 })
    }

    /// Carries out a change, or says which one failed and why.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<(), NetlinkError> {
        let failed = |cause, note| NetlinkError { change: change.to_string(), cause, note };
        self.sequence += 1;
        let sequence = self.sequence;
        // Descriptors that the request names live until it is answered.
        let (message, _kept) = change.message().map_err(|cause| failed(cause, String::new()))?;
        let bytes = message.finish(sequence);
        self.send(&bytes).map_err(|cause| failed(cause, String::new()))?;
        match self.answer(sequence) {
            Ok((0, _)) => Ok(()),
            Ok((code, note)) => Err(failed(io::Error::from_raw_os_error(code), note)),
            Err(cause) => Err(failed(cause, String::new())),
        }
    }

    /// Carries out changes in order, until one fails.
    pub(crate) fn apply_all<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<(), NetlinkError> {
        changes.into_iter().try_for_each(|change| self.apply(change))
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: the buffer is valid for its length; without an address the kernel is the receiver.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The error code of the answer to this request, 0 for success, and the kernel's sentence.
    fn answer(&self, sequence: u32) -> io::Result<(i32, String)> {
        let mut buffer = [0u8; ANSWER_LEN_MAX];
        loop {
            // SAFETY: the buffer is valid and writable for its length.
            let len = unsafe { libc::recv(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            let Ok(len) = usize::try_from(len) else {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            };
            if let Some(answer) = read_answer(&buffer[..len], sequence) {
                return Ok(answer);
            }
        }
    }
}

fn option<T>(fd: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).expect("an option is a few bytes");
    // SAFETY: value is a plain C value, valid for its size.
    let code =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), len) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads an acknowledgement; none if it is another message.
fn read_answer(bytes: &[u8], sequence: u32) -> Option<(i32, String)> {
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let flags = u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?);
    let answered = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    if i32::from(kind) != libc::NLMSG_ERROR || answered != sequence {
        return None;
    }
    let code = i32::from_ne_bytes(bytes.get(HEADER_LEN..HEADER_LEN + 4)?.try_into().ok()?);
    let attributes = bytes.get(HEADER_LEN + 4 + HEADER_LEN..).unwrap_or_default();
    let note = if flags & FLAG_ACK_TLVS != 0 { sentence(attributes) } else { None };
    Some((-code, note.map(|note| format!(": {note}")).unwrap_or_default()))
}

fn sentence(mut attributes: &[u8]) -> Option<String> {
    loop {
        let len = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        let value = attributes.get(4..len)?;
        if kind == ATTRIBUTE_SENTENCE {
            return Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Route, Way};

    #[test]
    fn a_refusal_names_the_change_in_the_words_of_ip() {
        let Ok(mut socket) = Socket::open() else { return };
        let route = Route::new("192.0.2.0/24".parse().unwrap(), Way::Link("no-such-link".to_owned()));
        let error = socket.apply(&Change::Route(route)).unwrap_err().to_string();
        assert!(error.starts_with("cannot route replace 192.0.2.0/24 dev no-such-link: "), "{error}");
    }

    #[test]
    fn bytes_that_are_no_answer_are_none() {
        assert_eq!(read_answer(&[0; 10], 1), None);
        assert_eq!(read_answer(&[0; 64], 1), None);
    }
}
