//! Two sides of a connection over a pipe in memory, as a user of the crate sees them.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use spdy::{Connection, ConnectionError, Headers, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

type Carrier = JoinHandle<Result<(), ConnectionError>>;

struct Pair {
    client: Connection,
    server: Connection,
    carriers: [Carrier; 2],
}

/// A pipe with room for little, so that back pressure is met early.
fn pair() -> Pair {
    let (near, far) = duplex(1000);
    let (client, client_carrier) = spdy::client(near);
    let (server, server_carrier) = spdy::server(far);
    Pair { client, server, carriers: [tokio::spawn(client_carrier), tokio::spawn(server_carrier)] }
}

/// A server alone, and the pipe's other end for raw bytes.
fn bare() -> (DuplexStream, Connection, Carrier) {
    let (near, far) = duplex(100_000);
    let (server, carrier) = spdy::server(far);
    (near, server, tokio::spawn(carrier))
}

impl Pair {
    /// Opens a stream and takes it up on the other side.
    async fn stream(&mut self, kind: &str) -> (Stream, Stream) {
        let near = self.client.open(Headers::new().with("streamType", kind)).await.unwrap();
        let incoming = self.server.accept().await.unwrap();
        assert_eq!(incoming.headers().get("streamtype"), Some(kind));
        let far = incoming.accept().await;
        near.replied().await.unwrap();
        (near, far)
    }

    async fn end(self) -> [Result<(), ConnectionError>; 2] {
        drop((self.client, self.server));
        let [client, server] = self.carriers;
        [client.await.unwrap(), server.await.unwrap()]
    }
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_way_ends_on_its_own() {
    let mut pair = pair();
    let (mut near, mut far) = pair.stream("stdin").await;
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"question");
    far.write_all(b"answer").await.unwrap();
    far.shutdown().await.unwrap();
    heard.clear();
    near.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"answer");
    drop((near, far));
    assert!(pair.end().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn three_megabytes_arrive_whole_and_before_the_goodbye() {
    let mut pair = pair();
    let (mut near, mut far) = pair.stream("stdout").await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let server = tokio::spawn(async move {
        far.write_all(&sent).await.unwrap();
        far.shutdown().await.unwrap();
        // Dropped with bytes still in the queue: they go first.
        drop((far, pair.server));
    });
    let mut heard = Vec::new();
    near.read_to_end(&mut heard).await.unwrap();
    server.await.unwrap();
    assert!(heard == expected);
}

#[tokio::test]
async fn a_slow_reader_holds_the_writer_and_loses_nothing() {
    let mut pair = pair();
    let (mut near, mut far) = pair.stream("stdin").await;
    let (reached, mut seen) = tokio::sync::watch::channel(0usize);
    let writer = tokio::spawn(async move {
        for _ in 0..2000 {
            near.write_all(&[1; 1000]).await.unwrap();
            reached.send_modify(|bytes| *bytes += 1000);
        }
        near.shutdown().await.unwrap();
        near
    });
    // The bounds let about one megabyte in before the reader begins; two never fit.
    seen.wait_for(|bytes| *bytes >= 10_000).await.unwrap();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(*seen.borrow() < 1_500_000, "{} bytes went in unread", *seen.borrow());
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.len(), 2_000_000);
    writer.await.unwrap();
}

#[tokio::test]
async fn a_dropped_stream_is_reset_and_the_others_live() {
    let mut pair = pair();
    let (mut near, mut far) = pair.stream("a").await;
    let (other_near, mut other_far) = pair.stream("b").await;
    drop(other_near);
    let error = other_far.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    other_far.gone().await;
    assert!(other_far.write_all(b"x").await.is_err());
    near.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
}

#[tokio::test]
async fn a_refused_stream_is_gone_for_who_opened_it() {
    let mut pair = pair();
    let near = pair.client.open(Headers::new()).await.unwrap();
    pair.server.accept().await.unwrap().refuse().await;
    assert_eq!(near.replied().await, None);
}

#[tokio::test]
async fn when_the_peer_vanishes_every_stream_learns_it() {
    let mut pair = pair();
    let (near, mut far) = pair.stream("stdin").await;
    let ended = pair.server.ended();
    pair.carriers[0].abort();
    ended.await;
    let error = far.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    assert!(far.write_all(b"x").await.is_err());
    near.gone().await;
    assert!(pair.server.accept().await.is_none());
}

#[tokio::test]
async fn many_streams_at_once_keep_their_bytes_apart() {
    let mut pair = pair();
    let echo = tokio::spawn(async move {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let stream = pair.server.accept().await.unwrap();
            tasks.spawn(async move {
                let mut stream = stream.accept().await;
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).await.unwrap();
                stream.write_all(&heard).await.unwrap();
                stream.shutdown().await.unwrap();
            });
        }
        while tasks.join_next().await.is_some() {}
        pair.server
    });
    let mut clients = Vec::new();
    for number in 0..200u32 {
        let mut stream = pair.client.open(Headers::new()).await.unwrap();
        clients.push(tokio::spawn(async move {
            stream.replied().await.unwrap();
            let sent = number.to_be_bytes().repeat(500);
            stream.write_all(&sent).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, sent);
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    echo.await.unwrap();
}

#[tokio::test]
async fn a_ping_comes_back_and_windows_change_nothing() {
    let (mut near, _server, _carrier) = bare();
    near.write_all(&[0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 1]).await.unwrap();
    near.write_all(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 5]).await.unwrap();
    let mut answer = [0; 12];
    near.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 5]);
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection_with_a_goodbye() {
    let (mut near, _server, carrier) = bare();
    near.write_all(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 5]).await.unwrap();
    let mut answer = [0; 16];
    near.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
    drop(near);
    assert!(matches!(carrier.await.unwrap(), Err(ConnectionError::Frame(_))));
}

mod any_bytes {
    use proptest::prelude::*;

    use super::*;

    /// Frames that are nearly right, so that the deep parts are reached too.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let control = (0u8..12, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)).prop_map(
            |(kind, flags, payload)| {
                let mut frame = vec![0x80, 3, 0, kind, flags, 0, 0, payload.len() as u8];
                frame.extend(payload);
                frame
            },
        );
        let data = (0u8..9, any::<u8>(), 0u8..60).prop_map(|(id, flags, length)| {
            let mut frame = vec![0, 0, 0, id, flags, 0, 0, length];
            frame.resize(8 + usize::from(length), 7);
            frame
        });
        let noise = proptest::collection::vec(any::<u8>(), 0..30);
        proptest::collection::vec(prop_oneof![4 => control, 4 => data, 1 => noise], 0..12)
            .prop_map(|frames| frames.concat())
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_connection_panic_or_stay(bytes in nearly()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.unwrap().block_on(async {
                let (mut near, mut server, carrier) = bare();
                let accept = tokio::spawn(async move {
                    let mut streams = Vec::new();
                    while let Some(stream) = server.accept().await {
                        streams.push(stream.accept().await);
                    }
                });
                // An error says that the server has ended already.
                let _ = near.write_all(&bytes).await;
                drop(near);
                let _ = carrier.await.expect("the connection does not panic");
                accept.await.expect("the acceptor does not panic");
            });
        }
    }
}
