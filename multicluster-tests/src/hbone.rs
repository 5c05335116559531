//! A minimal HBONE client and server, written from the wire description only, with raw h2 and rustls.
//!
//! TLS 1.3 with client certificates, ALPN `h2`, no server name; HTTP/2 `CONNECT` whose `:authority` is the
//! destination; 200 opens the tunnel; bytes are DATA frames; END_STREAM is the end of one direction.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::svid::Svid;

/// What a client got.
#[derive(Debug)]
pub enum Connected {
    /// The tunnel is open.
    Open(Tunnel, HeaderMap),
    /// It was refused.
    Refused(StatusCode, HeaderMap),
}

/// An open tunnel.
#[derive(Debug)]
pub struct Tunnel {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// The leaf that the other end presented.
    pub peer: CertificateDer<'static>,
}

impl Tunnel {
    /// Sends bytes, as much at a time as the window allows.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn send(&mut self, mut bytes: Bytes) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            self.send.reserve_capacity(bytes.len());
            let room = std::future::poll_fn(|cx| self.send.poll_capacity(cx))
                .await
                .context("the stream is gone")??;
            let part = bytes.split_to(room.min(bytes.len()));
            self.send.send_data(part, false)?;
        }
        Ok(())
    }

    /// Ends our direction.
    ///
    /// # Errors
    /// When the stream is gone.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.send.send_data(Bytes::new(), true)?)
    }

    /// The next bytes; nothing at the other end's END_STREAM.
    ///
    /// # Errors
    /// When the stream was reset or the connection lost.
    pub async fn receive(&mut self) -> anyhow::Result<Option<Bytes>> {
        let Some(chunk) = self.receive.data().await.transpose()? else { return Ok(None) };
        self.receive.flow_control().release_capacity(chunk.len())?;
        Ok(Some(chunk))
    }
}

/// The provider that every end uses.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Opens one tunnel on a connection of its own.
///
/// # Errors
/// When the connection, the handshake or HTTP/2 fails.
pub async fn connect(
    address: SocketAddr,
    own: &Svid,
    roots: &[CertificateDer<'static>],
    authority: &str,
    headers: HeaderMap,
) -> anyhow::Result<Connected> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ChainOnly::new(roots)?))
        .with_client_auth_cert(vec![own.leaf.clone()], own.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.enable_sni = false;
    let name = ServerName::IpAddress(address.ip().into());
    let stream = TcpStream::connect(address).await?;
    let tls = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let session = tls.get_ref().1;
    if session.alpn_protocol() != Some(b"h2") {
        bail!("the server did not agree to h2");
    }
    let peer = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .context("no certificate")?
        .clone()
        .into_owned();
    let (client, connection) = h2::client::handshake(tls).await?;
    tokio::spawn(connection);
    let mut client = client.ready().await?;
    let mut request = Request::builder().method(Method::CONNECT).uri(authority).body(())?;
    *request.headers_mut() = headers;
    let (response, send) = client.send_request(request, false)?;
    let response = response.await?;
    let (head, receive) = response.into_parts();
    Ok(match head.status {
        StatusCode::OK => Connected::Open(Tunnel { send, receive, peer }, head.headers),
        status => Connected::Refused(status, head.headers),
    })
}

/// What a server was asked.
#[derive(Debug)]
pub struct Asked {
    /// The `:authority`.
    pub authority: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The tunnel, already answered with 200.
    pub tunnel: Tunnel,
}

/// Accepts one connection and hands on each CONNECT of it; anything else fails.
///
/// # Errors
/// When the handshake or HTTP/2 fails.
pub async fn accept_one(
    listener: &TcpListener,
    own: &Svid,
    roots: &[CertificateDer<'static>],
    asked: tokio::sync::mpsc::Sender<Asked>,
) -> anyhow::Result<()> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(store(roots)?), provider()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![own.leaf.clone()], own.key.clone_key())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (stream, _) = listener.accept().await?;
    let tls = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
    let peer =
        tls.get_ref().1.peer_certificates().and_then(|chain| chain.first()).context("no certificate")?;
    let peer = peer.clone().into_owned();
    let mut connection = h2::server::handshake(tls).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        if request.method() != Method::CONNECT || request.uri().path_and_query().is_some() {
            bail!("{} {} is no CONNECT", request.method(), request.uri());
        }
        let authority = request.uri().authority().context("no :authority")?.to_string();
        let headers = request.headers().clone();
        let send = respond.send_response(Response::new(()), false)?;
        let tunnel = Tunnel { send, receive: request.into_body(), peer: peer.clone() };
        if asked.send(Asked { authority, headers, tunnel }).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn store(roots: &[CertificateDer<'static>]) -> anyhow::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone())?;
    }
    Ok(store)
}

/// Verifies the chain and not the name: in HBONE the name is an identity that the caller compares.
#[derive(Debug)]
struct ChainOnly {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl ChainOnly {
    fn new(roots: &[CertificateDer<'static>]) -> anyhow::Result<Self> {
        Ok(Self { roots: store(roots)?, provider: provider() })
    }
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let leaf = rustls::server::ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
