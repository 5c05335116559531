//! Who is believed: every way in which a peer is not what it should be, at both ends.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use transport::{
    BuildError, Credential, CredentialParts, DialError, Expected, PeerError, Pool,
    hbone::{self, AcceptError, Limits},
    pool::Config,
};

use crate::support::*;

/// What our server says of a client that shows this leaf.
async fn server_says(leaf: Option<Leaf>, believed: &[&Authority]) -> Result<String, AcceptError> {
    let own = Authority::new("east");
    let mut all = vec![&own];
    all.extend(believed);
    let server = own.credential(SERVER, &all);
    let listener = listener();
    let raw = Raw { leaf, alpn: vec![b"h2"], versions: vec![&rustls::version::TLS13] };
    let client = async {
        if let Ok(mut stream) = raw.connect(address(&listener)).await {
            let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
            let _ = stream.read(&mut [0; 1]).await;
        }
    };
    let serve = async {
        let socket = listener.accept().await.expect("it listens");
        hbone::accept(socket, &server, &Limits::default())
            .await
            .map(|tunnel| tunnel.peer().identity.to_string())
    };
    timeout(PATIENCE, async { tokio::join!(client, serve).1 }).await.expect("in time")
}

/// What our client says of a server that shows this leaf.
async fn client_says(leaf: Leaf, believed: &[&Authority], expected: Expected) -> DialError {
    let own = Authority::new("home");
    let mut all = vec![&own];
    all.extend(believed);
    let client = own.credential("spiffe://home/client", &all);
    let listener = listener();
    let acceptor = Raw::new(leaf).acceptor();
    let serve = async {
        let socket = listener.accept().await.expect("it listens");
        let socket = socket.into_fd().expect("a descriptor");
        let socket = TcpStream::from_std(socket.into()).expect("a socket");
        if let Ok(mut stream) = acceptor.accept(socket).await {
            let _ = stream.read(&mut [0; 1]).await;
        }
    };
    let pool = Pool::new(Config::default());
    let to =
        transport::pool::Destination { source: "a".into(), address: address(&listener), peers: expected };
    let connect = pool.connect(&to, &client, request());
    let both = async { tokio::join!(connect, serve).0 };
    timeout(PATIENCE, both).await.expect("in time").expect_err("nobody answers as HBONE does")
}

fn anyone() -> Expected {
    Expected::new([identity("spiffe://east/a"), identity("spiffe://east/b"), identity("spiffe://west/a")])
}

#[tokio::test]
async fn a_peer_is_believed_by_the_bundle_of_its_own_trust_domain() {
    let west = Authority::new("west");
    let leaf = west.leaf(&["spiffe://west/a"], |_| ());
    assert_eq!(server_says(Some(leaf), &[&west]).await.expect("believed"), "spiffe://west/a");
    let (under, certificate) = west.intermediate();
    let mut leaf = under.leaf(&["spiffe://west/any/path"], |_| ());
    leaf.chain.push(certificate);
    assert_eq!(server_says(Some(leaf), &[&west]).await.expect("believed"), "spiffe://west/any/path");
    // During a rotation a bundle has several roots.
    let newer = Authority::new("west");
    let leaf = newer.leaf(&["spiffe://west/a"], |_| ());
    assert_eq!(server_says(Some(leaf), &[&west, &newer]).await.expect("believed"), "spiffe://west/a");
}

#[tokio::test]
async fn every_bad_certificate_is_refused_by_name_at_both_ends() {
    let west = Authority::new("west");
    let north = Authority::new("north");
    let ended = Authority::lasting("west", 2000, 2020);
    let a = "spiffe://west/a";
    let (under, certificate) = west.intermediate();
    let mut long = under.leaf(&[a], |_| ());
    long.chain.extend(std::iter::repeat_n(certificate, 8));
    type Check = fn(&PeerError) -> bool;
    let cases: Vec<(&str, Leaf, Check)> = vec![
        ("another's root", north.leaf(&[a], |_| ()), |error| matches!(error, PeerError::Chain { .. })),
        ("its own root", Authority::new("west").leaf(&[a], |_| ()), |error| {
            matches!(error, PeerError::Chain { .. })
        }),
        ("an ended root", ended.leaf(&[a], |_| ()), |error| matches!(error, PeerError::Chain { .. })),
        ("a missing intermediate", under.leaf(&[a], |_| ()), |error| {
            matches!(error, PeerError::Chain { .. })
        }),
        ("an unknown domain", Authority::new("south").leaf(&["spiffe://south/a"], |_| ()), |error| {
            *error == PeerError::NoBundle(domain("south"))
        }),
        ("no URI", west.leaf(&[], |_| ()), |error| *error == PeerError::UriNames(0)),
        ("two URIs", west.leaf(&[a, "spiffe://west/b"], |_| ()), |error| *error == PeerError::UriNames(2)),
        ("one URI twice", west.leaf(&[a, a], |_| ()), |error| *error == PeerError::UriNames(2)),
        ("another URI", west.leaf(&["https://west/a"], |_| ()), |error| {
            matches!(error, PeerError::Identity(_))
        }),
        ("no path", west.leaf(&["spiffe://west"], |_| ()), |error| matches!(error, PeerError::Identity(_))),
        ("ended", west.leaf(&[a], |leaf| leaf.not_after = rcgen::date_time_ymd(2020, 1, 1)), |error| {
            matches!(error, PeerError::Expired(_))
        }),
        ("not begun", west.leaf(&[a], |leaf| leaf.not_before = rcgen::date_time_ymd(2080, 1, 1)), |error| {
            matches!(error, PeerError::NotYetValid(_))
        }),
        (
            "a CA",
            west.leaf(&[a], |leaf| leaf.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            |error| matches!(error, PeerError::Usage { .. }),
        ),
        (
            "a signer of certificates",
            west.leaf(&[a], |leaf| leaf.key_usages.push(rcgen::KeyUsagePurpose::KeyCertSign)),
            |error| matches!(error, PeerError::Usage { .. }),
        ),
        ("for one role only", west.leaf(&[a], |leaf| drop(leaf.extended_key_usages.pop())), |error| {
            matches!(error, PeerError::Usage { .. })
        }),
        (
            "for another purpose",
            west.leaf(&[a], |leaf| {
                leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning]
            }),
            |error| matches!(error, PeerError::Usage { .. }),
        ),
        ("too long a chain", long, |error| matches!(error, PeerError::ChainTooLarge { certificates: 9, .. })),
    ];
    let believed = [&west, &north, &ended];
    for (name, leaf, check) in cases {
        match server_says(Some(leaf.clone()), &believed).await {
            Err(AcceptError::Peer(error)) => assert!(check(&error), "{name}: {error}"),
            other => panic!("{name}: the server said {other:?}"),
        }
        match client_says(leaf, &believed, anyone()).await {
            DialError::Unproven { cause, .. } => assert!(check(&cause), "{name}: {cause}"),
            other => panic!("{name}: the client said {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    assert!(matches!(server_says(None, &[]).await, Err(AcceptError::Peer(PeerError::NoCertificate))));
}

#[tokio::test]
async fn a_proven_peer_that_is_not_expected_is_refused() {
    let west = Authority::new("west");
    for expected in [Expected::new([]), Expected::from(identity("spiffe://west/b"))] {
        let leaf = west.leaf(&["spiffe://west/a"], |_| ());
        match client_says(leaf, &[&west], expected.clone()).await {
            DialError::WrongPeer { cause, .. } => {
                assert_eq!((cause.found, cause.expected), (identity("spiffe://west/a"), expected));
            }
            other => panic!("the client said {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_peer_that_does_not_accept_us_is_told_from_one_that_is_not_there() {
    let west = Authority::new("west");
    let pair = Pair::new();
    let stranger = west.credential("spiffe://west/a", &[&pair.authority, &west]);
    let to = pair.to_server();
    let serve = async {
        let socket = pair.listener.accept().await.expect("it listens");
        hbone::accept(socket, &pair.server, &pair.limits).await.expect_err("not believed")
    };
    let (refused, error) = tokio::join!(pair.pool.connect(&to, &stranger, request()), serve);
    assert!(matches!(error, AcceptError::Peer(PeerError::NoBundle(_))), "{error:?}");
    assert!(matches!(refused, Err(DialError::Handshake { .. })), "{refused:?}");
}

/// What our server says of a client that sends these bytes.
async fn server_says_of_bytes(bytes: &'static [u8]) -> AcceptError {
    let pair = Pair::new();
    let client = async {
        let mut stream = TcpStream::connect(pair.address()).await.expect("somebody listens");
        stream.write_all(bytes).await.expect("it is read");
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let serve = async {
        let socket = pair.listener.accept().await.expect("it listens");
        hbone::accept(socket, &pair.server, &pair.limits).await.expect_err("no tunnel")
    };
    timeout(PATIENCE, async { tokio::join!(client, serve).1 }).await.expect("in time")
}

#[tokio::test]
async fn key_exchange_is_hybrid_where_the_peer_can_and_no_name_is_sent() {
    let pair = Pair::new();
    let raw = Raw::new(pair.authority.leaf(&[CLIENT], |_| ()));
    let client = async {
        let client = raw.connect(pair.address()).await.expect("TLS");
        let state = client.get_ref().1;
        let group = state.negotiated_key_exchange_group().expect("a group").name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        let suite = state.negotiated_cipher_suite().expect("a suite").suite();
        assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    };
    let serve = async {
        let socket = pair.listener.accept().await.expect("it listens");
        let _ = hbone::accept(socket, &pair.server, &pair.limits).await;
    };
    tokio::join!(client, serve);

    let raw = Raw::new(pair.authority.leaf(&[SERVER], |_| ()));
    let serve = async {
        let socket = pair.listener.accept().await.expect("it listens").into_fd().expect("a descriptor");
        let tls =
            raw.acceptor().accept(TcpStream::from_std(socket.into()).expect("a socket")).await.expect("TLS");
        let state = tls.get_ref().1;
        assert_eq!((state.server_name(), state.alpn_protocol()), (None, Some(&b"h2"[..])));
        let group = state.negotiated_key_exchange_group().expect("a group").name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    };
    let (connected, ()) = tokio::join!(pair.connect(), serve);
    assert!(connected.is_err());
}

#[tokio::test]
async fn what_is_not_tls_is_refused() {
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0; 512],
        &[0x16; 512],
    ] {
        let error = server_says_of_bytes(bytes).await;
        assert!(matches!(error, AcceptError::Tls(_)), "{error:?}");
    }
}

#[tokio::test]
async fn old_versions_and_other_protocols_are_refused() {
    let pair = Pair::new();
    let leaf = || pair.authority.leaf(&[CLIENT], |_| ());
    let cases = [
        (Raw { versions: vec![&rustls::version::TLS12], ..Raw::new(leaf()) }, false),
        (Raw { alpn: vec![b"http/1.1"], ..Raw::new(leaf()) }, true),
        (Raw { alpn: vec![], ..Raw::new(leaf()) }, true),
    ];
    for (raw, is_protocol) in cases {
        let client = async {
            if let Ok(mut stream) = raw.connect(pair.address()).await {
                let _ = stream.read(&mut [0; 1]).await;
            }
        };
        let serve = async {
            let socket = pair.listener.accept().await.expect("it listens");
            hbone::accept(socket, &pair.server, &pair.limits).await.expect_err("no tunnel")
        };
        let error = timeout(PATIENCE, async { tokio::join!(client, serve).1 }).await.expect("in time");
        assert_eq!(matches!(error, AcceptError::Protocol), is_protocol, "{error:?}");
        assert_eq!(matches!(error, AcceptError::Tls(_)), !is_protocol, "{error:?}");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_has_a_bound() {
    let limits = Limits { handshake_timeout: std::time::Duration::from_millis(20), ..Limits::default() };
    let pair = Pair::with(Config::default(), limits);
    let _client = TcpStream::connect(pair.address()).await.expect("somebody listens");
    let socket = pair.listener.accept().await.expect("it listens");
    let error = hbone::accept(socket, &pair.server, &pair.limits).await.expect_err("no tunnel");
    assert!(matches!(error, AcceptError::Slow), "{error:?}");
}

#[test]
fn a_credential_is_of_its_identity_with_its_key() {
    let east = Authority::new("east");
    let parts = |leaf: Leaf, bundles| CredentialParts {
        identity: identity(CLIENT),
        chain_der: leaf.chain,
        key_pkcs8_der: leaf.key,
        bundles: std::sync::Arc::new(bundles),
    };
    let good = || east.leaf(&[CLIENT], |_| ());
    let own = Credential::new(parts(good(), bundles(&[&east]))).expect("a good leaf");
    assert_eq!((own.identity(), own.own().serial.is_empty()), (&identity(CLIENT), false));
    assert!(own.own().not_before < year(2001) && own.own().not_after > year(2089));
    let build = |leaf, bundles| Credential::new(parts(leaf, bundles)).expect_err("not good");
    assert!(matches!(build(Leaf { chain: vec![], ..good() }, bundles(&[])), BuildError::Empty(_)));
    assert!(matches!(build(east.leaf(&[SERVER], |_| ()), bundles(&[])), BuildError::OtherIdentity { .. }));
    assert!(matches!(build(east.leaf(&[CLIENT, SERVER], |_| ()), bundles(&[])), BuildError::Leaf { .. }));
    assert!(matches!(build(Leaf { key: good().key, ..good() }, bundles(&[])), BuildError::Key { .. }));
    assert!(matches!(build(Leaf { key: vec![1, 2, 3], ..good() }, bundles(&[])), BuildError::Key { .. }));
    let garbage = [(domain("west"), vec![vec![1, 2, 3]])].into();
    assert!(matches!(build(good(), garbage), BuildError::Root { .. }));
    let debug = format!("{own:?}");
    assert!(debug.contains(CLIENT) && debug.len() < 400, "{debug}");
}
