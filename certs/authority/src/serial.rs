//! Serial numbers of certificates. Random bytes are an argument.

use rcgen::SerialNumber;

/// The serial number of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial([u8; 16]);

impl Serial {
    /// Makes a serial number of random bytes. 126 of the bits stay random; the number is positive and never short.
    pub const fn from_random(mut random: [u8; 16]) -> Self {
        random[0] = (random[0] & 0x3f) | 0x40;
        Self(random)
    }

    pub(crate) fn number(self) -> SerialNumber {
        SerialNumber::from_slice(&self.0)
    }

    /// As lower-case hexadecimal.
    pub fn text(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_positive_and_long() {
        for random in [[0; 16], [0xff; 16]] {
            let serial = Serial::from_random(random);
            assert!((0x40..0x80).contains(&serial.0[0]));
            assert_eq!(serial.text().len(), 32);
        }
    }
}
