//! An application that answers each request with the head that it received.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Longest head, in bytes.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// A server on a loopback port. Its threads end with the process.
#[derive(Debug)]
pub struct Echo {
    address: SocketAddr,
    served: Arc<AtomicUsize>,
}

impl Echo {
    /// Listens on a free port of 127.0.0.1 and says its name in each answer.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn listen(name: &'static str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, served) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&served);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                // A caller that leaves early is no error of the server.
                thread::spawn(move || drop(serve(stream, name, &count)));
            }
        });
        Ok(Self { address, served })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many requests it answered.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

fn serve(stream: TcpStream, name: &str, served: &AtomicUsize) -> std::io::Result<()> {
    let mut writing = stream.try_clone()?;
    let mut reading = BufReader::new(stream);
    loop {
        let mut head = String::new();
        let mut lines = (&mut reading).take(HEAD_BYTES_MAX);
        while !head.ends_with("\r\n\r\n") {
            if lines.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let length = head.lines().filter_map(|line| line.split_once(':'));
        let length = length.filter(|(key, _)| key.eq_ignore_ascii_case("content-length"));
        let length: u64 = length.filter_map(|(_, value)| value.trim().parse().ok()).next().unwrap_or(0);
        std::io::copy(&mut (&mut reading).take(length), &mut std::io::sink())?;
        served.fetch_add(1, Ordering::SeqCst);
        let body = format!("{name}\r\n{head}");
        write!(writing, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
    }
}
