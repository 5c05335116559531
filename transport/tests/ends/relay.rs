//! Bytes carried from one stream to another, through tunnels and sockets.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::{task::JoinHandle, time::timeout};
use transport::{
    Address, Cancel, Relayed, Socket, Stream,
    dial::{Target, dial},
    relay,
    relay::{End, Options, Side},
};

use crate::support::*;

/// An application's end, and the end that is relayed.
async fn tcp() -> (Stream, Stream) {
    let listener = listener();
    let target = Target { address: listener.address().clone(), from: None, timeout: PATIENCE };
    let (dialled, arrived) = tokio::join!(dial(&target), listener.accept());
    (dialled.expect("somebody listens").into(), arrived.expect("it listens").into())
}

async fn unix() -> (Stream, Stream) {
    let (one, other) = Socket::pair().expect("descriptors");
    (one.into(), other.into())
}

struct Rig {
    near: Stream,
    far: Stream,
    cancel: Cancel,
    forth: JoinHandle<Relayed>,
    back: JoinHandle<Relayed>,
    _pair: Pair,
}

/// Application, relay, tunnel, relay, application.
async fn rig((near, near_relayed): (Stream, Stream), (far, far_relayed): (Stream, Stream)) -> Rig {
    let pair = Pair::new();
    let (client, server) = pair.stream().await;
    let cancel = Cancel::new();
    let run = |first: Stream, second: Stream| {
        let cancel = cancel.clone();
        tokio::spawn(async move { relay(first, second, &cancel, &Options::default()).await })
    };
    let forth = run(near_relayed, client);
    let back = run(server, far_relayed);
    Rig { near, far, cancel, forth, back, _pair: pair }
}

async fn ends(task: JoinHandle<Relayed>) -> Relayed {
    timeout(PATIENCE, task).await.expect("in time").expect("no panic")
}

#[tokio::test]
async fn much_goes_both_ways_and_both_ends_close() {
    for kind in ["tcp", "unix"] {
        let (near, far) =
            if kind == "tcp" { (tcp().await, tcp().await) } else { (unix().await, unix().await) };
        let rig = rig(near, far).await;
        let (up, down) = (content(9_000_001), content(5_000_003));
        let run = |mut stream: Stream, send: Bytes, expect: Bytes, reply_after: bool| async move {
            if reply_after {
                // Half closed by the other side first.
                assert!(read_all(&mut stream).await.expect("whole") == expect);
                stream.write_chunks([send]).await.expect("open");
                stream.finish().await.expect("open");
            } else {
                stream.write_chunks([send]).await.expect("open");
                stream.finish().await.expect("open");
                assert!(read_all(&mut stream).await.expect("whole") == expect);
            }
        };
        let near = run(rig.near, up.clone(), down.clone(), false);
        let far = run(rig.far, down.clone(), up.clone(), true);
        timeout(PATIENCE, async { tokio::join!(near, far) }).await.expect("in time");
        for relayed in [ends(rig.forth).await, ends(rig.back).await] {
            assert!(matches!(relayed.end, End::Finished), "{relayed:?}");
            assert_eq!((relayed.sent, relayed.received), (up.len() as u64, down.len() as u64));
        }
    }
}

#[tokio::test]
async fn cancelling_resets_both_sides() {
    let mut rig = rig(tcp().await, tcp().await).await;
    rig.near.write_chunks([Bytes::from_static(b"x")]).await.expect("open");
    assert_eq!(rig.far.read_chunk().await.expect("open"), Some(Bytes::from_static(b"x")));
    rig.cancel.cancel();
    for relayed in [ends(rig.forth).await, ends(rig.back).await] {
        assert!(matches!(relayed.end, End::Cancelled), "{relayed:?}");
        assert_eq!((relayed.sent, relayed.received), (1, 0));
    }
    for mut stream in [rig.near, rig.far] {
        let error = stream.read_chunk().await.expect_err("it was reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    }
}

#[tokio::test]
async fn a_reset_goes_all_the_way() {
    let mut rig = rig(tcp().await, tcp().await).await;
    rig.near.write_chunks([Bytes::from_static(b"x")]).await.expect("open");
    assert_eq!(rig.far.read_chunk().await.expect("open"), Some(Bytes::from_static(b"x")));
    rig.near.reset();
    let error = timeout(PATIENCE, rig.far.read_chunk()).await.expect("in time").expect_err("it was reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    assert!(matches!(ends(rig.forth).await.end, End::Failed { side: Side::First, .. }));
    assert!(matches!(ends(rig.back).await.end, End::Failed { side: Side::First, .. }));
}

#[tokio::test]
async fn a_side_that_stops_hearing_after_its_peer_finished_is_noticed() {
    let mut rig = rig(tcp().await, tcp().await).await;
    rig.near.finish().await.expect("open");
    assert_eq!(rig.far.read_chunk().await.expect("open"), None);
    rig.near.reset();
    // The far application has said nothing yet; the near one is gone, which shows when something is sent to it.
    let write = async { while rig.far.write_chunks([content(64 * 1024)]).await.is_ok() {} };
    timeout(PATIENCE, write).await.expect("in time");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_relay_ends_and_a_busy_one_does_not() {
    let idle = Duration::from_secs(60);
    let ((mut near, near_relayed), (mut far, far_relayed)) = (unix().await, unix().await);
    let options = Options { idle_timeout: Some(idle), ..Options::default() };
    let relayed =
        tokio::spawn(async move { relay(near_relayed, far_relayed, &Cancel::new(), &options).await });
    for _ in 0..10 {
        near.write_chunks([Bytes::from_static(b"x")]).await.expect("open");
        assert_eq!(far.read_chunk().await.expect("open"), Some(Bytes::from_static(b"x")));
        tokio::time::advance(idle * 3 / 4).await;
    }
    assert!(!relayed.is_finished());
    let relayed = relayed.await.expect("no panic");
    assert!(matches!(relayed.end, End::Idle), "{relayed:?}");
    assert_eq!(relayed.sent, 10);
}

#[tokio::test]
async fn bytes_that_were_read_before_come_first() {
    let (mut near, mut near_relayed) = unix().await;
    let (mut far, far_relayed) = unix().await;
    near_relayed.prepend(Bytes::from_static(b"second "));
    near_relayed.prepend(Bytes::from_static(b"first "));
    near.write_chunks([Bytes::from_static(b"third")]).await.expect("open");
    near.finish().await.expect("open");
    far.finish().await.expect("open");
    let options = Options::default();
    let relayed = relay(near_relayed, far_relayed, &Cancel::new(), &options).await;
    assert!(matches!(relayed.end, End::Finished), "{relayed:?}");
    assert_eq!(options.counts.sent.load(std::sync::atomic::Ordering::Relaxed), relayed.sent);
    assert_eq!(read_all(&mut far).await.expect("whole"), b"first second third");
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_writer() {
    let mut rig = rig(tcp().await, tcp().await).await;
    let mut sent = 0_usize;
    let chunk = content(1024 * 1024);
    // The kernel's buffers, the stream's window and one chunk in each relay: far less than a gigabyte.
    while timeout(Duration::from_millis(300), rig.near.write_chunks([chunk.clone()])).await.is_ok() {
        sent += chunk.len();
        assert!(sent < 256 * 1024 * 1024, "nothing stops the writer");
    }
    let first = rig.far.read_chunk().await.expect("open").expect("bytes");
    assert_eq!(first, chunk[..first.len()]);
}

#[tokio::test]
async fn a_unix_path_is_bound_again_after_its_process_was_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = Address::Unix(directory.path().join("socket"));
    let listener = transport::Listener::bind(&address).expect("free");
    assert!(transport::Listener::bind(&address).is_err(), "somebody listens there");
    drop(listener);
    let listener = transport::Listener::bind(&address).expect("nobody listens there any more");
    let descriptor = listener.into_fd().expect("a descriptor");
    let listener = transport::Listener::from_fd(descriptor).expect("it listens");
    assert_eq!(listener.address(), &address);
    let shared = transport::Listener::from_fd(listener.share().expect("a descriptor")).expect("it listens");
    drop(listener);
    let target = Target { address, from: None, timeout: PATIENCE };
    let (dialled, arrived) = tokio::join!(dial(&target), shared.accept());
    assert!(dialled.is_ok() && arrived.is_ok());
    let stray = tempfile::tempfile().expect("a file");
    assert!(transport::Listener::from_fd(stray.into()).is_err());
}
