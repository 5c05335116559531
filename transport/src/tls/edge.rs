//! TLS for strangers who come in at a gateway: they say a name, and what is served is chosen by it.
//!
//! TLS 1.3, and 1.2 with forward secrecy. Which of several configurations serves is decided by the caller when the
//! name is known, so that a new certificate holds from the next handshake on, and older connections go on.

use std::{fmt, io, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{io::AsyncWriteExt as _, time::timeout as within};
use tokio_rustls::LazyConfigAcceptor;

use super::{Alpn, TlsStream, server_certificate::ServerCertificate};
use crate::{credential::provider::for_strangers, socket::Socket};

/// A fatal alert `unrecognized_name` as it is said before anything is agreed (RFC 8446, sections 5.1 and 6.2).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What is served under some names.
#[derive(Debug, Clone)]
pub struct EdgeTls(Arc<ServerConfig>);

/// Why nobody came in.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// TLS failed: not TLS at all, an old version, nothing in common.
    #[error("TLS failed")]
    Tls(#[source] io::Error),
    /// Nothing is served under the name.
    #[error("nothing is served under {0:?}")]
    Name(Option<String>),
    /// It did not get that far in time.
    #[error("the handshake was not finished in time")]
    Slow,
}

impl EdgeTls {
    /// Serves with these certificates: the first that has the name, else the first. `None` if there are none.
    pub fn new(certificates: Vec<ServerCertificate>) -> Option<Self> {
        if certificates.is_empty() {
            return None;
        }
        let mut config = ServerConfig::builder_with_provider(for_strangers())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName(certificates)));
        config.alpn_protocols = Alpn::H2OrHttp1.names().iter().map(|name| name.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Some(Self(Arc::new(config)))
    }
}

struct ByName(Vec<ServerCertificate>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let signs = |it: &&ServerCertificate| it.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let named =
            hello.server_name().and_then(|name| self.0.iter().filter(|it| it.serves(name)).find(signs));
        named.or_else(|| self.0.iter().find(signs)).map(|it| Arc::clone(&it.key))
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(&self.0).finish()
    }
}

/// Shakes hands with a stranger: `choose` is told the name that it says, in lower case, and answers with what serves
/// it and whatever the caller wants to remember of the choice.
///
/// # Errors
/// When nothing serves the name, or the stranger does not speak TLS, or is too slow.
pub async fn accept_edge<T>(
    socket: Socket,
    timeout: Duration,
    choose: impl FnOnce(Option<&str>) -> Option<(EdgeTls, T)>,
) -> Result<(TlsStream, T), EdgeError> {
    let address = socket.peer_address();
    let shake = async {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), socket).await.map_err(EdgeError::Tls)?;
        let name = start.client_hello().server_name().map(str::to_ascii_lowercase);
        let Some((tls, chosen)) = choose(name.as_deref()) else {
            // Whoever does not wait for it learns it from the end of the connection.
            let _ = start.io.write_all(&UNRECOGNIZED_NAME).await;
            let _ = start.io.shutdown().await;
            return Err(EdgeError::Name(name));
        };
        let io = start.into_stream(tls.0).await.map_err(EdgeError::Tls)?;
        Ok((TlsStream::new(io.into(), None, address), chosen))
    };
    within(timeout, shake).await.unwrap_or(Err(EdgeError::Slow))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::{
        Address, DialError, Listener,
        tls::outside::{OutsideTls, connect_outside},
    };

    const PATIENCE: Duration = Duration::from_secs(10);

    fn certificate(name: &str) -> (ServerCertificate, String) {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (ServerCertificate::from_pem(&made.pem(), &key.serialize_pem()).unwrap(), made.pem())
    }

    fn listener() -> (Listener, std::net::SocketAddr) {
        let listener = Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("it is TCP") };
        (listener, address)
    }

    #[tokio::test]
    async fn what_serves_is_chosen_by_name() {
        let (a, root_a) = certificate("a.example");
        let (b, root_b) = certificate("b.example");
        let tls = EdgeTls::new(vec![a, b]).unwrap();
        let (listener, address) = listener();
        tokio::spawn(async move {
            loop {
                let socket = listener.accept().await.unwrap();
                let tls = tls.clone();
                tokio::spawn(async move {
                    let choose = |name: Option<&str>| {
                        (name != Some("c.example")).then(|| (tls, name.map(str::to_owned)))
                    };
                    let Ok((mut stream, name)) = accept_edge(socket, PATIENCE, choose).await else { return };
                    let said = format!("{name:?} {}", stream.is_h2());
                    stream.write_all(said.as_bytes()).await.unwrap();
                    stream.shutdown().await.unwrap();
                });
            }
        });
        let roots = OutsideTls::with_roots(&format!("{root_a}{root_b}")).unwrap();
        let ask = async |name: &str, alpn| {
            let mut stream = connect_outside(&[address], Some((&roots, name)), alpn, PATIENCE).await?;
            let mut said = String::new();
            stream.read_to_string(&mut said).await.unwrap();
            Ok::<_, DialError>(said)
        };
        let both = Alpn::H2OrHttp1;
        assert_eq!(ask("a.example", both).await.unwrap(), "Some(\"a.example\") true");
        assert_eq!(ask("B.example", Alpn::Http1).await.unwrap(), "Some(\"b.example\") false");
        // Refused by name, and refused by who asks because the certificate is another's.
        assert!(matches!(ask("c.example", both).await, Err(DialError::Handshake { .. })));
        assert!(matches!(ask("d.example", both).await, Err(DialError::Handshake { .. })));
    }

    #[tokio::test]
    async fn who_says_nothing_or_nonsense_does_not_come_in() {
        let (a, _) = certificate("a.example");
        let tls = EdgeTls::new(vec![a]).unwrap();
        let (ours, theirs) = Socket::pair().unwrap();
        let slow = accept_edge(ours, Duration::from_millis(1), |_| Some((tls.clone(), ()))).await;
        assert!(matches!(slow, Err(EdgeError::Slow)));
        drop(theirs);
        let (ours, mut theirs) = Socket::pair().unwrap();
        theirs.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await.unwrap();
        let plain = accept_edge(ours, PATIENCE, |_| Some((tls.clone(), ()))).await;
        assert!(matches!(plain, Err(EdgeError::Tls(_))));
        assert!(EdgeTls::new(Vec::new()).is_none());
    }
}
