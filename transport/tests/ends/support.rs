//! Authorities, credentials and tunnels to test with, and a peer that keeps no rule.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use mesh::{Identity, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use transport::{
    Address, Bundles, Credential, CredentialParts, Expected, Listener, Pool, Stream,
    hbone::{self, Connect, Limits, ResponseHead, Terminated},
    pool::{Config, Destination},
};

/// How long anything may take before a test gives up; no test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn identity(text: &str) -> Identity {
    text.parse().expect("tests name identities")
}

pub(crate) fn domain(text: &str) -> TrustDomain {
    text.parse().expect("tests name trust domains")
}

/// An authority of one trust domain.
pub(crate) struct Authority {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) root: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, of whatever kind.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(trust_domain: &str) -> Self {
        Self::lasting(trust_domain, 2000, 2100)
    }

    pub(crate) fn lasting(trust_domain: &str, from: i32, to: i32) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // All roots have one name, so that only the key tells them apart.
        params.distinguished_name.push(DnType::CommonName, "root");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root").der().to_vec();
        Self { trust_domain: domain(trust_domain), root, issuer: Issuer::new(params, key) }
    }

    /// The leaf of a workload, changed as the test wants.
    pub(crate) fn leaf(&self, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::default();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().expect("ASCII")));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf").der().to_vec();
        Leaf { chain: vec![leaf], key: key.serialize_der() }
    }

    /// An authority under this one, and its certificate.
    pub(crate) fn intermediate(&self) -> (Self, Vec<u8>) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "intermediate");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("an intermediate").der().to_vec();
        let under = Self {
            trust_domain: self.trust_domain.clone(),
            root: self.root.clone(),
            issuer: Issuer::new(params, key),
        };
        (under, certificate)
    }

    pub(crate) fn credential(&self, identity: &str, believed: &[&Authority]) -> Arc<Credential> {
        self.credential_with(identity, believed, |_| ())
    }

    pub(crate) fn credential_with(
        &self,
        identity: &str,
        believed: &[&Authority],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<Credential> {
        credential(identity, self.leaf(&[identity], change), believed)
    }
}

pub(crate) fn credential(identity: &str, leaf: Leaf, believed: &[&Authority]) -> Arc<Credential> {
    let parts = CredentialParts {
        identity: self::identity(identity),
        chain_der: leaf.chain,
        key_pkcs8_der: leaf.key,
        bundles: Arc::new(bundles(believed)),
    };
    Arc::new(Credential::new(parts).expect("a good leaf"))
}

pub(crate) fn bundles(believed: &[&Authority]) -> Bundles {
    let mut bundles = Bundles::new();
    for authority in believed {
        bundles.entry(authority.trust_domain.clone()).or_default().push(authority.root.clone());
    }
    bundles
}

pub(crate) const CLIENT: &str = "spiffe://east/ns/agents/sa/planner";
pub(crate) const SERVER: &str = "spiffe://east/ns/tools/sa/server";

/// A client and a server of one trust domain, a listener, and a pool.
pub(crate) struct Pair {
    pub(crate) authority: Authority,
    pub(crate) client: Arc<Credential>,
    pub(crate) server: Arc<Credential>,
    pub(crate) listener: Listener,
    pub(crate) pool: Pool,
    pub(crate) limits: Limits,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(Config::default(), Limits::default())
    }

    pub(crate) fn with(config: Config, limits: Limits) -> Self {
        let authority = Authority::new("east");
        let client = authority.credential(CLIENT, &[&authority]);
        let server = authority.credential(SERVER, &[&authority]);
        Self { client, server, listener: listener(), pool: Pool::new(config), limits, authority }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(&self.listener)
    }

    pub(crate) fn to_server(&self) -> Destination {
        Destination {
            source: "east//agents/planner".into(),
            address: self.address(),
            peers: Expected::from(identity(SERVER)),
        }
    }

    /// Accepts one tunnel.
    pub(crate) async fn accept(&self) -> Terminated {
        let socket = self.listener.accept().await.expect("it listens");
        hbone::accept(socket, &self.server, &self.limits).await.expect("a tunnel")
    }

    pub(crate) async fn connect(&self) -> Result<Stream, transport::DialError> {
        self.pool.connect(&self.to_server(), &self.client, request()).await
    }

    /// A stream, both its ends, and the server's tunnel, which goes on in a task of its own.
    pub(crate) async fn stream(&self) -> (Stream, Stream) {
        let serve = async {
            let mut tunnel = self.accept().await;
            let connect = tunnel.next().await.expect("a request");
            let stream = connect.accept(ResponseHead::default()).expect("the client is there");
            drive(tunnel);
            stream
        };
        let (client, server) = tokio::join!(self.connect(), serve);
        (client.expect("it is accepted"), server)
    }
}

/// Keeps a tunnel in a task, and refuses more streams.
pub(crate) fn drive(mut tunnel: Terminated) {
    tokio::spawn(async move { while tunnel.next().await.is_some() {} });
}

/// Serves a tunnel in a task: each stream is given to `serve`.
pub(crate) fn serve<F>(mut tunnel: Terminated, serve: impl Fn(Connect) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(async move {
        while let Some(connect) = tunnel.next().await {
            tokio::spawn(serve(connect));
        }
    });
}

/// Accepts and sends back what comes until it ends.
pub(crate) async fn echo(connect: Connect) {
    let Ok(mut stream) = connect.accept(ResponseHead::default()) else { return };
    while let Ok(Some(chunk)) = stream.read_chunk().await {
        if stream.write_chunks([chunk]).await.is_err() {
            return;
        }
    }
    let _ = stream.finish().await;
}

pub(crate) fn request() -> hbone::ConnectRequest {
    hbone::ConnectRequest::to("10.20.0.5:80".parse().expect("an authority"))
}

pub(crate) fn listener() -> Listener {
    Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).expect("a free port")
}

pub(crate) fn address(listener: &Listener) -> SocketAddr {
    match listener.address() {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{path:?} is no port"),
    }
}

/// All bytes until the other end finishes.
pub(crate) async fn read_all(stream: &mut Stream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.read_chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// So many bytes that no two blocks of them are alike.
pub(crate) fn content(bytes: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect::<Vec<u8>>().into()
}

pub(crate) fn year(year: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_557_600)
}

/// A TLS client that believes everybody and shows what it is told to.
pub(crate) struct Raw {
    pub(crate) leaf: Option<Leaf>,
    pub(crate) alpn: Vec<&'static [u8]>,
    pub(crate) versions: Vec<&'static rustls::SupportedProtocolVersion>,
}

impl Raw {
    pub(crate) fn new(leaf: Leaf) -> Self {
        Self { leaf: Some(leaf), alpn: vec![b"h2"], versions: vec![&rustls::version::TLS13] }
    }

    pub(crate) async fn connect(
        &self,
        to: SocketAddr,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Gullible(provider)));
        let mut config = match &self.leaf {
            Some(leaf) => builder.with_client_auth_cert(chain(leaf), key(leaf)).expect("a key"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("anything.example").expect("a name");
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(to).await?).await
    }

    /// A TLS server that asks for nothing.
    pub(crate) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let leaf = self.leaf.as_ref().expect("a server has a certificate");
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain(leaf), key(leaf))
            .expect("a key");
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config).into()
    }
}

fn chain(leaf: &Leaf) -> Vec<CertificateDer<'static>> {
    leaf.chain.iter().cloned().map(CertificateDer::from).collect()
}

fn key(leaf: &Leaf) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(leaf.key.clone()).into()
}

#[derive(Debug)]
struct Gullible(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
