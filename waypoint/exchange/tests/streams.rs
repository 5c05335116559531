//! Streams of messages, and what ends them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use exchange::{
    Body, BodyError, Closing, Framer, Messages, Passage,
    messages::through,
    sse::{Event, Events},
};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mesh::{Denial, Reason};
use tokio::sync::mpsc;

/// Drops `drop`, doubles `double`, ends at `end`, passes the rest.
#[derive(Default)]
struct Sorted {
    seen: Arc<Mutex<Vec<Option<String>>>>,
}

impl Messages for Sorted {
    fn message(&mut self, message: &Bytes) -> Passage {
        let event = Event::parse(message).unwrap();
        self.seen.lock().unwrap().push(event.data.clone());
        match event.data.as_deref() {
            Some("drop") => Passage::Drop,
            Some("double") => Passage::Replace([message.clone(), message.clone()].concat().into()),
            Some("end") => Passage::End(Some("data: bye\n\n".into())),
            _ => Passage::Pass,
        }
    }

    fn closed(&mut self, denial: &Denial) -> Option<Bytes> {
        Some(format!("event: error\ndata: {}\n\n", denial.reason).into())
    }

    fn finished(&mut self) -> Option<Bytes> {
        Some(": over\n\n".into())
    }
}

fn body(chunks: Vec<&'static str>) -> Body {
    let frames =
        chunks.into_iter().map(|chunk| Ok::<_, BodyError>(Frame::data(Bytes::from_static(chunk.as_bytes()))));
    Body::piped(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())))
}

fn sorted(body: Body, closing: &Closing) -> Body {
    through(body, Box::new(Events::new(64)), Box::new(Sorted::default()), closing)
}

async fn text(body: Body) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn each_message_has_its_own_fate() {
    let stream = "data: a\n\ndata: drop\n\ndata: double\n\ndata: b\n\n";
    let expected = "data: a\n\ndata: double\n\ndata: double\n\ndata: b\n\n: over\n\n";
    assert_eq!(text(sorted(body(vec![stream]), &Closing::default())).await, expected);
    // However the bytes are cut.
    let bytes: Vec<&'static str> = stream.split_inclusive(|_: char| true).collect();
    assert_eq!(text(sorted(body(bytes), &Closing::default())).await, expected);
}

#[tokio::test]
async fn an_end_ends_the_stream_and_nothing_follows() {
    let answer =
        text(sorted(body(vec!["data: a\n\ndata: end\n\ndata: b\n\n", "data: c\n\n"]), &Closing::default()));
    assert_eq!(answer.await, "data: a\n\ndata: bye\n\n");
}

#[tokio::test]
async fn a_message_that_is_too_large_breaks_the_stream() {
    let fits = format!("data: {}\n\n", "x".repeat(64 - 8));
    let fits: &'static str = Box::leak(fits.into_boxed_str());
    assert!(text(sorted(body(vec![fits]), &Closing::default())).await.starts_with("data: x"));
    let large: &'static str = Box::leak(format!("data: {}\n\n", "x".repeat(64 - 7)).into_boxed_str());
    assert!(sorted(body(vec![large]), &Closing::default()).collect().await.is_err());
    // Nor does one that never ends grow without bound.
    let endless: &'static str = Box::leak("x".repeat(65).into_boxed_str());
    assert!(sorted(body(vec![endless]), &Closing::default()).collect().await.is_err());
}

#[tokio::test]
async fn a_stream_that_is_closed_from_outside_ends_well() {
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, BodyError>>(4);
    let frames =
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    let closing = Closing::default();
    let mut open = sorted(Body::piped(StreamBody::new(Box::pin(frames))), &closing);
    sender.send(Ok(Frame::data("data: a\n\n".into()))).await.unwrap();
    let frame = open.frame().await.unwrap().unwrap();
    assert_eq!(frame.data_ref().unwrap(), "data: a\n\n");
    let waiting = tokio::spawn(text(open));
    closing.close(Denial::plain(Reason::NoLongerAllowed, "for a test"));
    closing.close(Denial::plain(Reason::Draining, "a second reason does not count"));
    assert_eq!(waiting.await.unwrap(), "event: error\ndata: NoLongerAllowed\n\n");
    assert!(sender.is_closed());
}

#[tokio::test]
async fn closing_is_seen_whenever_it_is_asked() {
    let closing = Closing::default();
    assert!(closing.denial().is_none());
    let before = closing.closed();
    closing.close(Denial::plain(Reason::Revoked, "for a test"));
    assert_eq!(before.await.reason, Reason::Revoked);
    assert_eq!(closing.closed().await.reason, Reason::Revoked);
}

#[test]
fn events_end_where_the_standard_says() {
    for (stream, expected) in [
        ("data: a\n\ndata: b\n\n", vec!["data: a\n\n", "data: b\n\n"]),
        ("data: a\r\n\r\ndata: b\r\n\r\n", vec!["data: a\r\n\r\n", "data: b\r\n\r\n"]),
        ("data: a\r\rdata: b\r\r\n", vec!["data: a\r\r", "data: b\r\r\n"]),
        ("data: a\n\r\ndata: b\r\n\n", vec!["data: a\n\r\n", "data: b\r\n\n"]),
        ("\n\ndata: a\n\n", vec!["\n", "\n", "data: a\n\n"]),
        ("\u{feff}data: a\n\n", vec!["data: a\n\n"]),
        ("data: a\n", vec![]),
        ("data: a", vec![]),
    ] {
        for step in [1, 2, 3, stream.len()] {
            let mut framer = Events::new(64);
            let mut found = Vec::new();
            for chunk in stream.as_bytes().chunks(step) {
                framer.push(Bytes::copy_from_slice(chunk));
                while let Some(event) = framer.next().unwrap() {
                    found.push(String::from_utf8(event.to_vec()).unwrap());
                }
            }
            assert_eq!(found, expected, "{stream:?} by {step}");
        }
    }
}

#[test]
fn what_is_left_at_the_end_is_an_event_only_if_it_was_closed() {
    for (stream, expected) in [
        ("data: a\r", None),
        ("data: a\r\r", Some("data: a\r\r\n")),
        ("data: a\n", Some("data: a\n\n")),
        ("", None),
    ] {
        let mut framer = Events::new(64);
        framer.push(Bytes::copy_from_slice(stream.as_bytes()));
        let _ = framer.next().unwrap();
        let left = framer.finish().unwrap().map(|event| String::from_utf8(event.to_vec()).unwrap());
        // A line feed that is added can only complete what was complete but for it.
        assert_eq!(left.as_deref(), expected, "{stream:?}");
    }
}

#[test]
fn an_event_is_read_as_it_was_written() {
    let event = Event {
        name: Some("message".into()),
        id: Some("7".into()),
        retry: Some("100".into()),
        data: Some("a\nb".into()),
    };
    assert_eq!(event.encode(), "event: message\nid: 7\nretry: 100\ndata: a\ndata: b\n\n");
    assert_eq!(Event::parse(&event.encode()).unwrap(), event);
    let parsed = Event::parse(b": comment\nDATA: x\ndata:y\ndata\n\n").unwrap();
    assert_eq!(parsed.data.as_deref(), Some("y\n"));
    assert!(Event::parse(b"data: \xff\n\n").is_err());
}
