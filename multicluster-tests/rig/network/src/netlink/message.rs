//! The bytes of one rtnetlink request: a header, a fixed body, attributes that may nest.

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER_LEN: usize = 16;
/// Attributes and messages begin at multiples of this many bytes.
const ALIGN: usize = 4;
/// Says that an attribute holds attributes (`linux/netlink.h`, NLA_F_NESTED).
const NESTED: u16 = 1 << 15;

/// A request under construction.
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Begins a request of this kind (`RTM_…`) with these flags (`NLM_F_…`).
    pub(super) fn new(kind: u16, flags: u16) -> Message {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Message { bytes }
    }

    /// Appends a fixed body.
    pub(super) fn body(mut self, parts: &[&[u8]]) -> Message {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.pad();
        self
    }

    /// Appends an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        let len =
            u16::try_from(ALIGN + value.len()).expect("attributes here are names, addresses and numbers");
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Appends an attribute that holds a name, with the zero that ends it.
    pub(super) fn name(self, kind: u16, name: &str) -> Message {
        let mut value = name.as_bytes().to_vec();
        value.push(0);
        self.attribute(kind, &value)
    }

    /// Appends an attribute that holds what `fill` appends.
    pub(super) fn nested(mut self, kind: u16, fill: impl FnOnce(Message) -> Message) -> Message {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ALIGN]);
        let mut filled = fill(self);
        let len = u16::try_from(filled.bytes.len() - start).expect("nested attributes here are few");
        filled.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        filled.bytes[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
        filled
    }

    /// The finished bytes, numbered so that the answer can be told apart.
    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let len = u32::try_from(self.bytes.len()).expect("a request is some hundred bytes");
        self.bytes[..4].copy_from_slice(&len.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested_lengths_cover_what_they_hold() {
        let bytes =
            Message::new(16, 5).nested(18, |message| message.name(1, "veth").attribute(2, &[7])).finish(9);
        assert_eq!(bytes.len(), 16 + 4 + 12 + 8);
        assert_eq!(bytes[..4], 40u32.to_ne_bytes());
        assert_eq!(bytes[8..12], 9u32.to_ne_bytes());
        assert_eq!(bytes[16..18], 24u16.to_ne_bytes());
        assert_eq!(bytes[18..20], (18 | NESTED).to_ne_bytes());
        assert_eq!(&bytes[20..32], b"\x09\0\x01\0veth\0\0\0\0");
        assert_eq!(&bytes[32..40], &[5, 0, 2, 0, 7, 0, 0, 0]);
    }
}
