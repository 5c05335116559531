//! The explicit proxy of a workload: SOCKS5 and HTTP on one port.
//!
//! It reads who asks (the token) and where to, and nothing more; `outbound` does the rest. Of HTTP it knows one
//! request head: CONNECT, or an absolute-form request that is sent on in origin form, one request a connection.

mod head;
mod host;
mod socks;
mod token;

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use mesh::{Denial, Reason, names::Hostname};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

pub use token::TokenHash;

/// The longest head of an HTTP request, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// The most header fields of an HTTP request.
pub const HEADER_FIELDS_MAX: usize = 100;
/// How long a client may take to say where it wants to go.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a client wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An address.
    Address(SocketAddr),
    /// A name, lower case, without the last dot.
    Name {
        /// The name.
        host: Hostname,
        /// The port.
        port: u16,
    },
}

/// A client that may use this proxy, and what it asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where to.
    pub target: Target,
    /// What to send there first: a rewritten request head and what followed it, or what came after CONNECT.
    pub first: Bytes,
    /// How to answer.
    pub form: Form,
}

/// In which protocol a client asked, and so how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// SOCKS version 5 (RFC 1928).
    Socks,
    /// HTTP CONNECT (RFC 9110, section 9.3.6).
    Connect,
    /// An HTTP request in absolute form (RFC 9112, section 3.2.2).
    Absolute,
}

/// A client that may not use this proxy, or asked for what it does not do. It was answered already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    /// Why.
    pub denial: Denial,
}

impl Turned {
    fn malformed(why: impl Into<String>) -> Self {
        Self { denial: Denial::plain(Reason::Malformed, why.into()) }
    }

    fn wrong_token() -> Self {
        Self {
            denial: Denial::plain(
                Reason::WrongToken,
                "the workload's token is missing or wrong: use http://workload:TOKEN@ADDRESS, or SOCKS5 with user \
                 `workload` and the token as password",
            ),
        }
    }
}

/// Reads what a client asks for, and answers it if it must be turned away.
///
/// # Errors
/// When the token is missing or wrong, or the request cannot be read or is of a kind that is not served.
pub async fn ask<S>(client: &mut S, token: &TokenHash) -> Result<Asked, Turned>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match tokio::time::timeout(ASK_TIMEOUT, read(client, token)).await {
        Ok(asked) => asked,
        Err(_) => Err(Turned {
            denial: Denial::plain(Reason::TooMuch, format!("nothing was asked for within {ASK_TIMEOUT:?}")),
        }),
    }
}

async fn read<S>(client: &mut S, token: &TokenHash) -> Result<Asked, Turned>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let first = client.read_u8().await.map_err(|_| Turned::malformed("the client left before it asked"))?;
    if first == socks::VERSION { socks::ask(client, token).await } else { http(client, token, first).await }
}

async fn http<S>(client: &mut S, token: &TokenHash, first: u8) -> Result<Asked, Turned>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut received = BytesMut::with_capacity(1024);
    received.extend_from_slice(&[first]);
    let end = loop {
        if let Some(end) = head::end(&received) {
            break end;
        }
        if received.len() >= HEAD_BYTES_MAX {
            say(client, 431, "the request head is too long", None).await;
            return Err(Turned::malformed("the request head is too long"));
        }
        let room = HEAD_BYTES_MAX - received.len();
        let read = (&mut *client).take(room as u64).read_buf(&mut received).await;
        if !matches!(read, Ok(1..)) {
            return Err(Turned::malformed("the client left in the middle of its request head"));
        }
    };
    let rest = received.split_off(end);
    match head::parse(&received) {
        Err(fault) => {
            say(client, 400, &fault.to_string(), None).await;
            Err(Turned::malformed(fault.to_string()))
        }
        Ok(head) if !token.admits(head.token.as_deref()) => {
            say(client, 407, "this proxy needs its workload's token", None).await;
            Err(Turned::wrong_token())
        }
        Ok(head) => {
            let mut first = BytesMut::from(&head.forward[..]);
            first.extend_from_slice(&rest);
            let form = if head.is_connect { Form::Connect } else { Form::Absolute };
            Ok(Asked { target: head.target, first: first.freeze(), form })
        }
    }
}

impl Form {
    /// Tells the client that the way is open. An absolute-form request hears the answer of the server itself.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn opened(self, client: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        match self {
            Self::Socks => client.write_all(&socks::reply(socks::Reply::Opened)).await,
            Self::Connect => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await,
            Self::Absolute => Ok(()),
        }
    }

    /// Tells the client that it was refused, and by which id it is explained.
    pub async fn refused(self, client: &mut (impl AsyncWrite + Unpin), denial: &Denial, id: &str) {
        match self {
            // A client that is gone needs no answer.
            Self::Socks => drop(client.write_all(&socks::reply(socks::Reply::of(denial.reason))).await),
            Self::Connect | Self::Absolute => {
                let status = match denial.reason {
                    Reason::ControlPlaneSilent
                    | Reason::Unreachable
                    | Reason::NoEndpoint
                    | Reason::DeliveryFailed => 503,
                    Reason::TooMuch | Reason::Draining | Reason::NoCertificate => 503,
                    Reason::UnknownDestination | Reason::UnknownPort => 502,
                    _ => 403,
                };
                let denied = format!("id={id}; reason={}", denial.reason);
                say(client, status, &format!("refused: {} ({id})", denial.reason), Some(&denied)).await;
            }
        }
    }
}

/// Answers with a short text and closes.
async fn say(client: &mut (impl AsyncWrite + Unpin), status: u16, text: &str, denied: Option<&str>) {
    let phrase = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        407 => "Proxy Authentication Required",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        _ => "Service Unavailable",
    };
    let challenge =
        if status == 407 { "Proxy-Authenticate: Basic realm=\"strait\", charset=\"UTF-8\"\r\n" } else { "" };
    let denied = denied.map_or_else(String::new, |denied| format!("x-strait-denied: {denied}\r\n"));
    let answer = format!(
        "HTTP/1.1 {status} {phrase}\r\n{challenge}{denied}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
        text.len() + 1
    );
    // A client that is gone needs no answer.
    let _ = client.write_all(answer.as_bytes()).await;
    let _ = client.shutdown().await;
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use tokio::io::DuplexStream;

    use super::*;

    const TOKEN: &str = "open-sesame";

    /// Says all of `bytes` to the proxy; what it understood and what it answered.
    async fn try_it(bytes: &[u8]) -> (Result<Asked, Turned>, Vec<u8>) {
        let (mut client, mut proxy) = tokio::io::duplex(64 << 10);
        let hash = TokenHash::of(TOKEN);
        client.write_all(bytes).await.unwrap();
        let serve = async {
            let asked = ask::<DuplexStream>(&mut proxy, &hash).await;
            drop(proxy);
            asked
        };
        let mut answer = Vec::new();
        let hear = async {
            client.shutdown().await.unwrap();
            client.read_to_end(&mut answer).await.unwrap();
        };
        let (asked, ()) = tokio::join!(serve, hear);
        (asked, answer)
    }

    fn basic(token: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(format!("workload:{token}"))
    }

    fn name(host: &str, port: u16) -> Target {
        Target::Name { host: host.into(), port }
    }

    #[tokio::test]
    async fn connect_with_the_token_says_where_and_keeps_what_follows() {
        let said = format!(
            "CONNECT Tools.svc:80 HTTP/1.1\r\nProxy-Authorization: Basic {}\r\n\r\nhello",
            basic(TOKEN)
        );
        let (asked, answer) = try_it(said.as_bytes()).await;
        let expected =
            Asked { target: name("tools.svc", 80), first: Bytes::from_static(b"hello"), form: Form::Connect };
        assert_eq!(asked, Ok(expected));
        assert!(answer.is_empty());
    }

    #[tokio::test]
    async fn without_the_token_nobody_gets_in() {
        for authorization in [String::new(), format!("Proxy-Authorization: Basic {}\r\n", basic("guess"))] {
            let said = format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{authorization}\r\n");
            let (asked, answer) = try_it(said.as_bytes()).await;
            assert_eq!(asked.unwrap_err().denial.reason, Reason::WrongToken);
            assert!(answer.starts_with(b"HTTP/1.1 407 "));
            assert!(String::from_utf8_lossy(&answer).contains("Proxy-Authenticate: Basic"));
        }
    }

    #[tokio::test]
    async fn socks_asks_for_the_token_and_then_for_the_destination() {
        let mut said = vec![5, 2, 0, 2];
        said.extend([1, 8]);
        said.extend(b"workload");
        said.push(TOKEN.len() as u8);
        said.extend(TOKEN.as_bytes());
        said.extend([5, 1, 0, 3, 9]);
        said.extend(b"tools.svc");
        said.extend(80_u16.to_be_bytes());
        let (asked, answer) = try_it(&said).await;
        assert_eq!(
            asked,
            Ok(Asked { target: name("tools.svc", 80), first: Bytes::new(), form: Form::Socks })
        );
        assert_eq!(answer, [5, 2, 1, 0]);
    }

    #[tokio::test]
    async fn socks_without_user_and_password_is_turned_away() {
        let (asked, answer) = try_it(&[5, 1, 0]).await;
        assert_eq!(asked.unwrap_err().denial.reason, Reason::WrongToken);
        assert_eq!(answer, [5, 0xff]);
    }

    #[tokio::test]
    async fn a_head_without_end_costs_no_more_than_its_bound() {
        let (asked, answer) = try_it(&vec![b'a'; HEAD_BYTES_MAX + 1]).await;
        assert_eq!(asked.unwrap_err().denial.reason, Reason::Malformed);
        assert!(answer.starts_with(b"HTTP/1.1 431 "));
    }

    #[tokio::test]
    async fn what_is_no_request_is_refused() {
        for garbage in [
            &b"\x16\x03\x01\x02\x00\r\n\r\n"[..],
            b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
        ] {
            let (asked, answer) = try_it(garbage).await;
            assert_eq!(asked.unwrap_err().denial.reason, Reason::Malformed);
            assert!(answer.starts_with(b"HTTP/1.1 400 "), "{garbage:?}");
        }
    }
}
