//! What a tunnel does with its streams, well-behaved or not.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use transport::{
    DialError,
    drain::{Drained, Tunnels},
    hbone::{
        self, AcceptError, ConnectRequest, Limits, Origin, OriginField, RefusalStatus, ResponseHead,
        Terminated,
    },
    pool::Config,
};

use crate::support::*;

#[tokio::test]
async fn each_direction_ends_by_itself() {
    for client_first in [true, false] {
        let pair = Pair::new();
        let (client, server) = pair.stream().await;
        let (mut first, mut second) = if client_first { (client, server) } else { (server, client) };
        first.write_chunks([Bytes::from_static(b"a question")]).await.expect("open");
        first.finish().await.expect("open");
        first.finish().await.expect("twice is once");
        assert_eq!(read_all(&mut second).await.expect("whole"), b"a question");
        second
            .write_chunks([Bytes::new(), Bytes::from_static(b"an "), Bytes::from_static(b"answer")])
            .await
            .expect("open");
        second.finish().await.expect("open");
        assert_eq!(read_all(&mut first).await.expect("whole"), b"an answer");
    }
}

#[tokio::test]
async fn much_arrives_as_it_was_sent() {
    let pair = Pair::new();
    let (client, server) = pair.stream().await;
    let sent = content(12 * 1024 * 1024);
    let run = |stream: transport::Stream, sent: Bytes| async move {
        let (mut reader, mut writer) = stream.split();
        let write = async {
            let mut rest = sent.clone();
            let mut size = 1;
            while !rest.is_empty() {
                let mut chunks: std::collections::VecDeque<_> = [rest.split_to(size.min(rest.len()))].into();
                writer.write_chunks(&mut chunks).await.expect("open");
                size = size * 3 % 700_001 + 1;
            }
            writer.finish().expect("open");
        };
        let read = async {
            let mut all = Vec::new();
            while let Some(chunk) = reader.read_chunk().await.expect("whole") {
                all.extend_from_slice(&chunk);
            }
            assert!(all == sent, "{} bytes differ", all.len());
        };
        tokio::join!(write, read);
    };
    let both = async { tokio::join!(run(client, sent.clone()), run(server, sent.clone())) };
    timeout(PATIENCE, both).await.expect("in time");
}

#[tokio::test]
async fn it_also_reads_and_writes_as_others_do() {
    let pair = Pair::new();
    let (mut client, mut server) = pair.stream().await;
    let sent = content(3 * 1024 * 1024);
    let write = async {
        client.write_all(&sent).await.expect("open");
        client.shutdown().await.expect("open");
    };
    let read = async {
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.expect("whole");
        assert!(all == sent);
    };
    tokio::join!(write, read);
}

#[tokio::test]
async fn a_reset_is_no_end() {
    for by_client in [true, false] {
        for dropped in [true, false] {
            let pair = Pair::new();
            let (client, server) = pair.stream().await;
            let (mut cutter, mut other) = if by_client { (client, server) } else { (server, client) };
            cutter.write_chunks([Bytes::from_static(b"half")]).await.expect("open");
            assert_eq!(other.read_chunk().await.expect("open"), Some(Bytes::from_static(b"half")));
            if dropped {
                drop(cutter)
            } else {
                cutter.reset()
            }
            let error = read_all(&mut other).await.expect_err("it was cut");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
            let write = async {
                loop {
                    other.write_chunks([Bytes::from_static(b"more")]).await?;
                }
            };
            let error: Result<(), io::Error> = timeout(PATIENCE, write).await.expect("in time");
            assert!(error.is_err());
        }
    }
}

#[tokio::test]
async fn a_slow_reader_holds_nobody_else_up() {
    let pair = Pair::with(one_tunnel(), Limits::default());
    let serve = async {
        let arrived = AtomicU32::new(0);
        // Together the windows of those that stall are more than the connection's.
        serve(pair.accept().await, move |connect| {
            let stalls = arrived.fetch_add(1, Ordering::Relaxed) < 6;
            async move {
                if stalls {
                    let _stalled = connect.accept(ResponseHead::default()).expect("open");
                    std::future::pending::<()>().await;
                } else {
                    echo(connect).await;
                }
            }
        });
    };
    let clients = async {
        let mut streams = Vec::new();
        for _ in 0..6 {
            streams.push(pair.connect().await.expect("accepted"));
        }
        streams
    };
    let ((), streams) = tokio::join!(serve, clients);
    let mut blocked = Vec::new();
    for mut stream in streams {
        blocked.push(tokio::spawn(async move { stream.write_chunks([content(5 * 1024 * 1024)]).await }));
    }
    let sent = content(6 * 1024 * 1024);
    let through = async {
        let (mut reader, mut writer) = pair.connect().await.expect("accepted").split();
        let mut chunks = [sent.clone()].into();
        let write = async {
            writer.write_chunks(&mut chunks).await.expect("open");
            writer.finish().expect("open");
        };
        let read = async {
            let mut all = Vec::new();
            while let Some(chunk) = reader.read_chunk().await.expect("whole") {
                all.extend_from_slice(&chunk);
            }
            assert!(all == sent);
        };
        tokio::join!(write, read);
    };
    timeout(PATIENCE, through).await.expect("the stalled streams do not hold it up");
    assert!(blocked.iter().all(|task| !task.is_finished()), "a stalled stream took more than its window");
    blocked.iter().for_each(|task| task.abort());
}

fn one_tunnel() -> Config {
    Config { tunnels_per_key: 1.try_into().expect("not zero"), ..Config::default() }
}

#[tokio::test]
async fn what_one_end_says_the_other_hears() {
    let pair = Pair::new();
    let request = ConnectRequest {
        authority: "tools.shop.svc.clusterset.local:80".parse().expect("an authority"),
        origin: Some(Origin::Identity(identity("spiffe://west/a"))),
        forwarded: Some("for=\"10.20.0.9:1\";host=tools".to_owned()),
        baggage: Some("k8s.cluster.name=east".to_owned()),
        network: Some("east".into()),
        trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".to_owned()),
    };
    let serve = async {
        let mut tunnel = pair.accept().await;
        let connect = tunnel.next().await.expect("a request");
        assert_eq!(connect.authority, request.authority);
        assert_eq!(connect.head.origin, OriginField::One(Origin::Identity(identity("spiffe://west/a"))));
        assert_eq!(connect.head.forwarded, request.forwarded);
        assert_eq!(connect.head.baggage, request.baggage);
        assert_eq!(connect.head.network, request.network);
        assert_eq!(connect.head.trace, request.trace);
        assert_eq!(connect.peer().map(|peer| &peer.identity), Some(&identity(CLIENT)));
        let stream =
            connect.accept(ResponseHead { baggage: Some("service.name=tools".to_owned()) }).expect("open");
        assert_eq!(stream.peer().map(|peer| &peer.identity), Some(&identity(CLIENT)));
        drive(tunnel);
        stream
    };
    let to = pair.to_server();
    let (client, _server) = tokio::join!(pair.pool.connect(&to, &pair.client, request.clone()), serve);
    let client = client.expect("accepted");
    assert_eq!(client.answer().and_then(|answer| answer.baggage.as_deref()), Some("service.name=tools"));
    assert_eq!(client.peer().map(|peer| &peer.identity), Some(&identity(SERVER)));
}

#[tokio::test]
async fn a_refusal_says_why() {
    let cases = [
        (Some((RefusalStatus::Denied, Some("id=1; reason=NoGrant"))), 401, Some("id=1; reason=NoGrant")),
        (Some((RefusalStatus::Unavailable, None)), 503, None),
        (Some((RefusalStatus::BadRequest, None)), 400, None),
        (None, 503, None),
    ];
    for (refusal, status, denied) in cases {
        let pair = Pair::new();
        let serve = async {
            let mut tunnel = pair.accept().await;
            let connect = tunnel.next().await.expect("a request");
            match refusal {
                Some((status, denied)) => connect.refuse(status, denied),
                None => drop(connect),
            }
            drive(tunnel);
        };
        let (refused, ()) = tokio::join!(pair.connect(), serve);
        let error = refused.expect_err("it is refused");
        assert_eq!(error.refusal(), Some((status, denied)), "{error}");
    }
}

/// A client of the h2 crate in a tunnel to our server, which echoes.
async fn raw_client(
    pair: &Pair,
) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>, Terminated) {
    let raw = Raw::new(pair.authority.leaf(&[CLIENT], |_| ()));
    let client = async {
        let tls = raw.connect(pair.address()).await.expect("TLS");
        h2::client::handshake(tls).await.expect("HTTP/2")
    };
    let ((send, connection), tunnel) = tokio::join!(client, pair.accept());
    (send, tokio::spawn(connection), tunnel)
}

#[tokio::test]
async fn only_connect_with_an_authority_opens_a_stream() {
    let pair = Pair::new();
    let (send, _connection, tunnel) = raw_client(&pair).await;
    serve(tunnel, echo);
    let cases = [
        (Method::GET, "https://10.20.0.5:80/", StatusCode::BAD_REQUEST),
        (Method::POST, "https://10.20.0.5:80/", StatusCode::BAD_REQUEST),
        (Method::CONNECT, "10.20.0.5", StatusCode::BAD_REQUEST),
        (Method::CONNECT, "10.20.0.5:0", StatusCode::BAD_REQUEST),
        (Method::CONNECT, "user@10.20.0.5:80", StatusCode::BAD_REQUEST),
        (Method::CONNECT, "[::ffff:10.20.0.5]:80", StatusCode::BAD_REQUEST),
        (Method::CONNECT, "127.1:80", StatusCode::BAD_REQUEST),
        (Method::CONNECT, "10.20.0.5:80", StatusCode::OK),
        (Method::CONNECT, "[2001:db8::1]:80", StatusCode::OK),
        (Method::CONNECT, "tools.shop:80", StatusCode::OK),
    ];
    for (method, uri, status) in cases {
        let mut send = send.clone().ready().await.expect("open");
        let request = Request::builder().method(method.clone()).uri(uri).body(()).expect("a request");
        let (response, _body) = send.send_request(request, false).expect("open");
        assert_eq!(response.await.expect("an answer").status(), status, "{method} {uri}");
    }
}

#[tokio::test]
async fn an_origin_that_is_there_twice_is_seen_to_be() {
    let pair = Pair::new();
    let (send, _connection, mut tunnel) = raw_client(&pair).await;
    let mut send = send.ready().await.expect("open");
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("10.20.0.5:80")
        .header("x-strait-origin", "unknown")
        .header("x-strait-origin", "spiffe://east/a")
        .body(())
        .expect("a request");
    let _response = send.send_request(request, false).expect("open");
    assert_eq!(tunnel.next().await.expect("a request").head.origin, OriginField::Many(2));
}

#[tokio::test]
async fn header_fields_have_a_bound_and_the_tunnel_survives() {
    let pair = Pair::new();
    let (send, _connection, tunnel) = raw_client(&pair).await;
    serve(tunnel, echo);
    for (bytes, accepted) in [(60 * 1024, true), (66 * 1024, false)] {
        let mut send = send.clone().ready().await.expect("open");
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri("10.20.0.5:80")
            .header("baggage", "a".repeat(bytes))
            .body(())
            .expect("a request");
        let (response, _body) = send.send_request(request, false).expect("open");
        let status = response.await.map(|response| response.status());
        assert_eq!(matches!(status, Ok(StatusCode::OK)), accepted, "{bytes}: {status:?}");
    }
}

#[tokio::test]
async fn http_1_inside_tls_is_refused() {
    let pair = Pair::new();
    let raw = Raw::new(pair.authority.leaf(&[CLIENT], |_| ()));
    let client = async {
        let mut tls = raw.connect(pair.address()).await.expect("TLS");
        tls.write_all(b"CONNECT 10.20.0.5:80 HTTP/1.1\r\nhost: 10.20.0.5\r\n\r\n").await.expect("open");
        let _ = tls.read_to_end(&mut Vec::new()).await;
    };
    let serve = async {
        let socket = pair.listener.accept().await.expect("it listens");
        hbone::accept(socket, &pair.server, &pair.limits).await.expect_err("no tunnel")
    };
    let ((), error) = timeout(PATIENCE, async { tokio::join!(client, serve) }).await.expect("in time");
    assert!(matches!(error, AcceptError::Protocol), "{error:?}");
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_tunnel() {
    let pair = Pair::new();
    let raw = Raw::new(pair.authority.leaf(&[CLIENT], |_| ()));
    let flood = async {
        let tls = raw.connect(pair.address()).await.expect("TLS");
        let (mut reader, mut writer) = tokio::io::split(tls);
        let write = async {
            writer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
            writer.write_all(&frame(4, 0, 0, &[])).await?;
            for stream in (1..200_001).step_by(2) {
                let connect = frame(1, 4, stream, b"\x02\x07CONNECT\x01\x0c10.20.0.5:80");
                writer.write_all(&[connect, frame(3, 0, stream, &[0, 0, 0, 8])].concat()).await?;
            }
            Ok::<_, io::Error>(())
        };
        let read = async {
            let mut all = Vec::new();
            let _ = reader.read_to_end(&mut all).await;
            all
        };
        tokio::join!(write, read).0
    };
    let serve = async {
        let tunnel = pair.accept().await;
        let ended = tunnel.handle();
        serve(tunnel, echo);
        ended.ended().await;
    };
    let (flooded, ()) = timeout(PATIENCE, async { tokio::join!(flood, serve) }).await.expect("in time");
    assert!(flooded.is_err(), "100000 resets were let pass");
}

#[tokio::test]
async fn streams_that_are_reset_one_by_one_before_their_answer_end_the_tunnel_too() {
    let pair = Pair::with(Config::default(), Limits { resets_unanswered: 5, ..Limits::default() });
    let (send, connection, mut tunnel) = raw_client(&pair).await;
    let mut resets = 0;
    loop {
        let Ok(mut send) = send.clone().ready().await else { break };
        let request =
            Request::builder().method(Method::CONNECT).uri("10.20.0.5:80").body(()).expect("a request");
        let Ok((_, mut body)) = send.send_request(request, false) else { break };
        let Some(mut connect) = tunnel.next().await else { break };
        body.send_reset(h2::Reason::CANCEL);
        tokio::select! {
            () = connect.withdrawn() => {}
            more = tunnel.next() => {
                assert!(more.is_none());
                break;
            }
        }
        connect.refuse(RefusalStatus::Denied, None);
        resets += 1;
        assert!(resets <= 6, "{resets} resets were let pass");
    }
    assert_eq!(resets, 6);
    drive(tunnel);
    assert!(timeout(PATIENCE, connection).await.expect("in time").expect("no panic").is_err());
}

#[tokio::test]
async fn a_silent_peer_is_given_up_at_both_ends() {
    let quick = Limits {
        ping_interval: Duration::from_millis(20),
        ping_timeout: Duration::from_millis(20),
        ..Limits::default()
    };
    let pair = Pair::with(Config { limits: quick.clone(), ..Config::default() }, quick);
    let raw = Raw::new(pair.authority.leaf(&[CLIENT], |_| ()));
    let client = async {
        let mut tls = raw.connect(pair.address()).await.expect("TLS");
        tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("open");
        tls
    };
    let (_silent, mut tunnel) = tokio::join!(client, pair.accept());
    assert!(timeout(PATIENCE, tunnel.next()).await.expect("in time").is_none());

    let acceptor = Raw::new(pair.authority.leaf(&[SERVER], |_| ())).acceptor();
    let serve = async {
        loop {
            let socket = pair.listener.accept().await.expect("it listens").into_fd().expect("a descriptor");
            let mut tls =
                acceptor.accept(TcpStream::from_std(socket.into()).expect("a socket")).await.expect("TLS");
            tls.write_all(b"\0\0\0\x04\0\0\0\0\0").await.expect("open");
            let _ = tls.read_to_end(&mut Vec::new()).await;
        }
    };
    let both = async {
        tokio::select! {
            connected = pair.connect() => connected,
            () = serve => unreachable!("it serves for ever"),
        }
    };
    let error = timeout(PATIENCE, both).await.expect("in time").expect_err("nobody answers");
    assert!(matches!(error, DialError::Lost { .. }), "{error}");
}

#[tokio::test]
async fn pings_keep_an_idle_tunnel_that_answers() {
    let quick = Limits { ping_interval: Duration::from_millis(5), ..Limits::default() };
    let pair = Pair::with(Config { limits: quick.clone(), ..Config::default() }, quick);
    let (mut client, mut server) = pair.stream().await;
    let quiet = timeout(Duration::from_millis(100), server.read_chunk()).await;
    assert!(quiet.is_err(), "nothing was sent");
    client.write_chunks([Bytes::from_static(b"still here")]).await.expect("open");
    assert_eq!(server.read_chunk().await.expect("open"), Some(Bytes::from_static(b"still here")));
}

#[tokio::test]
async fn bytes_move_whether_the_next_request_is_awaited_or_not() {
    let pair = Pair::new();
    let accept = async {
        let mut tunnel = pair.accept().await;
        let stream = tunnel.next().await.expect("a request").accept(ResponseHead::default()).expect("open");
        (tunnel, stream)
    };
    let (client, (tunnel, mut server)) = tokio::join!(pair.connect(), accept);
    let mut client = client.expect("accepted");
    client.write_chunks([Bytes::from_static(b"hello")]).await.expect("open");
    assert_eq!(server.read_chunk().await.expect("open"), Some(Bytes::from_static(b"hello")));
    let handle = tunnel.handle();
    drop(tunnel);
    timeout(PATIENCE, handle.ended()).await.expect("dropping it cuts it");
    assert!(timeout(PATIENCE, client.read_chunk()).await.expect("in time").is_err());
}

#[tokio::test]
async fn a_drain_serves_what_is_open_and_then_ends() {
    let pair = Pair::new();
    let serve = async {
        let mut tunnel = pair.accept().await;
        let tunnels = Tunnels::default();
        tunnels.register(tunnel.handle());
        let connect = tunnel.next().await.expect("a request");
        let stream = connect.accept(ResponseHead::default()).expect("open");
        drive(tunnel);
        (tunnels, stream)
    };
    let (client, (tunnels, mut server)) = tokio::join!(pair.connect(), serve);
    let mut client = client.expect("accepted");
    let drained = tokio::spawn({
        let tunnels = tunnels.clone();
        async move { tunnels.drain(PATIENCE).await }
    });
    for _ in 0..10 {
        client.write_chunks([Bytes::from_static(b"ping")]).await.expect("open");
        assert_eq!(server.read_chunk().await.expect("open"), Some(Bytes::from_static(b"ping")));
    }
    assert!(!drained.is_finished());
    client.finish().await.expect("open");
    server.finish().await.expect("open");
    assert_eq!(read_all(&mut server).await.expect("whole"), b"");
    assert_eq!(read_all(&mut client).await.expect("whole"), b"");
    drop((client, server));
    let drained = timeout(PATIENCE, drained).await.expect("in time").expect("no panic");
    assert_eq!(drained, Drained { finished: 1, cut: 0 });
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let pair = Pair::new();
    let serve = async {
        let mut tunnel = pair.accept().await;
        let tunnels = Tunnels::default();
        tunnels.register(tunnel.handle());
        let stream = tunnel.next().await.expect("a request").accept(ResponseHead::default()).expect("open");
        drive(tunnel);
        (tunnels, stream)
    };
    let (client, (tunnels, _server)) = tokio::join!(pair.connect(), serve);
    let mut client = client.expect("accepted");
    assert_eq!(tunnels.drain(Duration::from_millis(20)).await, Drained { finished: 0, cut: 1 });
    assert!(timeout(PATIENCE, client.read_chunk()).await.expect("in time").is_err());
    assert_eq!(tunnels.open(), 0);
}

#[tokio::test]
async fn a_tunnel_that_refuses_new_streams_keeps_the_open_ones() {
    let pair = Pair::new();
    let (mut client, mut server) = {
        let serve = async {
            let mut tunnel = pair.accept().await;
            let stream =
                tunnel.next().await.expect("a request").accept(ResponseHead::default()).expect("open");
            tunnel.refuse_new_streams();
            drive(tunnel);
            stream
        };
        let (client, server) = tokio::join!(pair.connect(), serve);
        (client.expect("accepted"), server)
    };
    assert_eq!(pair.connect().await.expect_err("refused").refusal(), Some((503, None)));
    client.write_chunks([Bytes::from_static(b"still")]).await.expect("open");
    assert_eq!(server.read_chunk().await.expect("open"), Some(Bytes::from_static(b"still")));
}

static YEAR: AtomicU32 = AtomicU32::new(2026);

fn some_year() -> std::time::SystemTime {
    year(YEAR.load(Ordering::Relaxed).into())
}

#[tokio::test]
async fn a_tunnel_takes_no_new_streams_after_a_certificate_ended() {
    let pair = Pair::with(Config::default(), Limits { now: some_year, ..Limits::default() });
    let serve = async {
        let mut tunnel = pair.accept().await;
        let stream = tunnel.next().await.expect("a request").accept(ResponseHead::default()).expect("open");
        drive(tunnel);
        stream
    };
    let (client, server) = tokio::join!(pair.connect(), serve);
    let (mut client, mut server) = (client.expect("accepted"), server);
    YEAR.store(2095, Ordering::Relaxed);
    assert_eq!(pair.connect().await.expect_err("refused").refusal(), Some((503, None)));
    client.write_chunks([Bytes::from_static(b"still")]).await.expect("open");
    assert_eq!(server.read_chunk().await.expect("open"), Some(Bytes::from_static(b"still")));
}
