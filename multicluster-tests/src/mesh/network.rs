//! Addresses of a cluster's own: 127.N.0.0/16, with an N that nobody else holds.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU8, Ordering},
};

use anyhow::bail;

/// The first number that is tried; those before are of the demo and of other tests.
const FIRST: u8 = 100;
/// The last one.
const LAST: u8 = 250;
/// Who listens here holds the number.
const HELD: (u8, u8, u16) = (0, 250, 15999);

static NEXT: AtomicU8 = AtomicU8::new(FIRST);

/// A number that is held as long as this value lives, also against other processes.
#[derive(Debug)]
pub struct Number {
    number: u8,
    _held: TcpListener,
}

impl Number {
    /// Takes the next one that is free.
    ///
    /// # Errors
    /// When none is.
    pub fn take() -> anyhow::Result<Self> {
        for _ in FIRST..=LAST {
            let number = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| {
                Some(if number == LAST { FIRST } else { number + 1 })
            });
            let number = number.unwrap_or(FIRST);
            let (third, fourth, port) = HELD;
            if let Ok(held) = TcpListener::bind((Ipv4Addr::new(127, number, third, fourth), port)) {
                return Ok(Self { number, _held: held });
            }
        }
        bail!("every number from {FIRST} to {LAST} is held")
    }

    /// The number.
    pub fn get(&self) -> u8 {
        self.number
    }

    /// An address under it.
    pub fn ip(&self, third: u8, fourth: u8) -> IpAddr {
        Ipv4Addr::new(127, self.number, third, fourth).into()
    }

    /// A socket address under it.
    pub fn at(&self, third: u8, fourth: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(third, fourth), port)
    }
}
