//! An application that uses its workload's explicit proxy.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{WAIT, words::TOKEN};

/// A connection, and what was read of it.
pub struct Client(pub TcpStream);

/// `GET` without anything, and the whole answer; empty if there is none.
pub async fn get(address: SocketAddr, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address).await else { return String::new() };
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(request.as_bytes()).await;
    let mut text = String::new();
    let _ = timeout(WAIT, stream.read_to_string(&mut text)).await;
    text
}

pub fn basic(token: &str) -> String {
    STANDARD.encode(format!("workload:{token}"))
}

impl Client {
    /// CONNECT; the connection, or the head with which it was refused.
    pub async fn connect(proxy: SocketAddr, to: &str, token: &str) -> Result<Self, String> {
        let mut client = Self(TcpStream::connect(proxy).await.unwrap());
        let request = format!(
            "CONNECT {to} HTTP/1.1\r\nhost: {to}\r\nproxy-authorization: Basic {}\r\n\r\n",
            basic(token)
        );
        client.0.write_all(request.as_bytes()).await.unwrap();
        let head = client.until("\r\n\r\n").await;
        if head.starts_with("HTTP/1.1 200 ") { Ok(client) } else { Err(head) }
    }

    /// CONNECT with the right token.
    pub async fn open(proxy: SocketAddr, to: &str) -> Result<Self, String> {
        Self::connect(proxy, to, TOKEN).await
    }

    /// SOCKS5; the connection, or the reply's code.
    pub async fn socks(proxy: SocketAddr, host: &str, port: u16, token: &str) -> Result<Self, u8> {
        let mut client = Self(TcpStream::connect(proxy).await.unwrap());
        client.0.write_all(&[5, 2, 0, 2]).await.unwrap();
        assert_eq!(client.bytes::<2>().await, [5, 2]);
        let password = [&[1, 1, b'w', token.len() as u8], token.as_bytes()].concat();
        client.0.write_all(&password).await.unwrap();
        if client.bytes::<2>().await != [1, 0] {
            return Err(0xff);
        }
        let request = [&[5, 1, 0, 3, host.len() as u8], host.as_bytes(), &port.to_be_bytes()].concat();
        client.0.write_all(&request).await.unwrap();
        match client.bytes::<10>().await[1] {
            0 => Ok(client),
            code => Err(code),
        }
    }

    async fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        timeout(WAIT, self.0.read_exact(&mut bytes)).await.unwrap().unwrap();
        bytes
    }

    /// Reads until this was read.
    pub async fn until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            match timeout(WAIT, self.0.read_u8()).await.expect("it answers in time") {
                Ok(byte) => text.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(text).unwrap()
    }

    /// Says a line and returns the answer.
    pub async fn ask(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        self.until("\n").await.trim_end().to_owned()
    }

    /// Waits until the connection ended.
    pub async fn ended(mut self) {
        let mut rest = Vec::new();
        let _ = timeout(WAIT, self.0.read_to_end(&mut rest)).await.expect("it ends in time");
    }
}
