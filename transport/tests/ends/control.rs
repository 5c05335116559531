//! TLS to and from the control plane: who may connect, and why a server is believed.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tower::Service;
use transport::{
    Credential, DialError, Expected, PeerError,
    hbone::AcceptError,
    tls::{
        Alpn, ClientCertificates, Connector, ConnectorConfig, ServerTls, ServerTrust, SpkiPin, TlsStream,
        accept_tls, incoming,
    },
};

use crate::support::*;

struct Rig {
    east: Authority,
    server: Arc<Credential>,
}

impl Rig {
    fn new() -> Self {
        let east = Authority::new("east");
        Self { server: east.credential(SERVER, &[&east]), east }
    }

    fn by_identity(&self, expected: &str) -> ServerTrust {
        ServerTrust::Identity {
            expected: Expected::from(identity(expected)),
            bundles: Arc::new(bundles(&[&self.east])),
        }
    }

    async fn both(
        &self,
        clients: ClientCertificates,
        trust: ServerTrust,
        credential: Option<Arc<Credential>>,
    ) -> (Result<TlsStream, DialError>, Result<TlsStream, AcceptError>) {
        let listener = listener();
        let tls = ServerTls::new(&self.server, clients, Alpn::H2);
        let config = ConnectorConfig { trust, credential, alpn: Alpn::H2, timeout: PATIENCE };
        let connector = Connector::new(config).expect("roots that can be read");
        let to = address(&listener);
        let serve = async {
            let socket = listener.accept().await.expect("it listens");
            accept_tls(socket, &tls, PATIENCE).await
        };
        tokio::join!(connector.connect("127.0.0.1", to.port()), serve)
    }
}

#[tokio::test]
async fn a_client_proves_itself_when_it_must_or_may() {
    let rig = Rig::new();
    let client = rig.east.credential(CLIENT, &[&rig.east]);
    let stranger = Authority::new("west").credential("spiffe://west/a", &[&rig.east]);
    type Seen = Option<&'static str>;
    type Case<'a> = (ClientCertificates, Option<&'a Arc<Credential>>, Result<Seen, PeerError>);
    let cases: [Case<'_>; 8] = [
        (ClientCertificates::None, None, Ok(None)),
        (ClientCertificates::None, Some(&client), Ok(None)),
        (ClientCertificates::Optional, None, Ok(None)),
        (ClientCertificates::Optional, Some(&client), Ok(Some(CLIENT))),
        (ClientCertificates::Optional, Some(&stranger), Err(PeerError::NoBundle(domain("west")))),
        (ClientCertificates::Required, None, Err(PeerError::NoCertificate)),
        (ClientCertificates::Required, Some(&client), Ok(Some(CLIENT))),
        (ClientCertificates::Required, Some(&stranger), Err(PeerError::NoBundle(domain("west")))),
    ];
    for (clients, credential, expected) in cases {
        let (_client, server) = rig.both(clients, rig.by_identity(SERVER), credential.cloned()).await;
        let seen = match server {
            Ok(stream) => Ok(stream.peer().map(|peer| peer.identity.to_string())),
            Err(AcceptError::Peer(error)) => Err(error),
            Err(other) => panic!("{clients:?}: {other}"),
        };
        assert_eq!(seen, expected.map(|seen| seen.map(str::to_owned)), "{clients:?}");
    }
}

#[tokio::test]
async fn a_server_is_believed_by_its_identity_or_its_roots_key() {
    let rig = Rig::new();
    let other = Authority::new("east");
    let pin = |authority: &Authority, trust_domain: &str| ServerTrust::Pin {
        pin: SpkiPin::of(&authority.root).expect("a root"),
        trust_domain: domain(trust_domain),
    };
    let by_others = ServerTrust::Identity {
        expected: Expected::from(identity(SERVER)),
        bundles: Arc::new(bundles(&[&other])),
    };
    type Check = fn(&Result<TlsStream, DialError>) -> bool;
    let unproven: Check = |found| matches!(found, Err(DialError::Unproven { .. }));
    let cases: [(&str, ServerTrust, Check); 6] = [
        ("its identity", rig.by_identity(SERVER), |found| found.is_ok()),
        ("another identity", rig.by_identity(CLIENT), |found| {
            matches!(found, Err(DialError::WrongPeer { .. }))
        }),
        ("another root", by_others, unproven),
        ("its root's key", pin(&rig.east, "east"), |found| found.is_ok()),
        ("another root's key", pin(&other, "east"), unproven),
        ("its root's key for another domain", pin(&rig.east, "west"), unproven),
    ];
    for (name, trust, check) in cases {
        let (client, _server) = rig.both(ClientCertificates::None, trust, None).await;
        assert!(check(&client), "{name}: {client:?}");
        if let Ok(stream) = client {
            assert_eq!(stream.peer().map(|peer| peer.identity.to_string()), Some(SERVER.to_owned()));
            assert!(stream.is_h2());
        }
    }
}

#[tokio::test]
async fn no_common_http_version_is_an_error() {
    let rig = Rig::new();
    let listener = listener();
    let tls = ServerTls::new(&rig.server, ClientCertificates::None, Alpn::H2OrHttp1);
    for (alpn, h2) in [(Alpn::H2, true), (Alpn::Http1, false), (Alpn::H2OrHttp1, true)] {
        let config =
            ConnectorConfig { trust: rig.by_identity(SERVER), credential: None, alpn, timeout: PATIENCE };
        let connector = Connector::new(config).expect("roots that can be read");
        let serve = async { accept_tls(listener.accept().await.expect("it listens"), &tls, PATIENCE).await };
        let (client, server) = tokio::join!(connector.connect("127.0.0.1", address(&listener).port()), serve);
        assert_eq!((client.expect("TLS").is_h2(), server.expect("TLS").is_h2()), (h2, h2));
    }
    let strict = ServerTls::new(&rig.server, ClientCertificates::None, Alpn::H2);
    let config = ConnectorConfig {
        trust: rig.by_identity(SERVER),
        credential: None,
        alpn: Alpn::Http1,
        timeout: PATIENCE,
    };
    let connector = Connector::new(config).expect("roots that can be read");
    let serve = async { accept_tls(listener.accept().await.expect("it listens"), &strict, PATIENCE).await };
    let (client, server) = tokio::join!(connector.connect("127.0.0.1", address(&listener).port()), serve);
    assert!(matches!(client, Err(DialError::Handshake { .. })), "{client:?}");
    assert!(matches!(server, Err(AcceptError::Protocol)), "{server:?}");
}

#[tokio::test]
async fn one_bad_client_does_not_stop_the_others() {
    let rig = Rig::new();
    let listener = listener();
    let to = address(&listener);
    let tls = ServerTls::new(&rig.server, ClientCertificates::None, Alpn::H2);
    let mut arriving = Box::pin(incoming(listener, move || tls.clone(), 8, PATIENCE));
    let serve = async {
        let mut stream = arriving.next().await.expect("it goes on").expect("a good one");
        let mut text = [0; 5];
        stream.read_exact(&mut text).await.expect("open");
        assert_eq!((&text, stream.peer_address().is_some()), (b"hello", true));
    };
    let client = async {
        // One that says nothing, one that speaks something else, one that is good.
        let silent = tokio::net::TcpStream::connect(to).await.expect("somebody listens");
        let mut wrong = tokio::net::TcpStream::connect(to).await.expect("somebody listens");
        wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("open");
        let config = ConnectorConfig {
            trust: rig.by_identity(SERVER),
            credential: None,
            alpn: Alpn::H2,
            timeout: Duration::from_secs(10),
        };
        let mut connector = Connector::new(config).expect("roots that can be read");
        let uri = format!("http://127.0.0.1:{}", to.port()).parse().expect("a URI");
        let mut stream = connector.call(uri).await.expect("believed").into_inner();
        stream.write_all(b"hello").await.expect("open");
        stream.flush().await.expect("open");
        (silent, wrong, stream)
    };
    let (_clients, ()) = timeout(PATIENCE, async { tokio::join!(client, serve) }).await.expect("in time");
}

#[tokio::test]
async fn nobody_at_a_name_is_told() {
    let rig = Rig::new();
    let config = ConnectorConfig {
        trust: rig.by_identity(SERVER),
        credential: None,
        alpn: Alpn::H2,
        timeout: PATIENCE,
    };
    let connector = Connector::new(config).expect("roots that can be read");
    let port = address(&listener()).port();
    let refused = connector.connect("::1", port).await;
    assert!(matches!(refused, Err(DialError::Unreachable { .. })), "{refused:?}");
    let unresolved = connector.connect("not a name", port).await;
    assert!(matches!(unresolved, Err(DialError::Unresolved { .. })), "{unresolved:?}");
}
