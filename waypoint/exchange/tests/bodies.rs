//! Bodies: streamed by default, held once, whole whatever happens.

#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use exchange::{Body, BodyError, HoldError};
use futures_util::stream;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

type Frames = Vec<Result<Frame<Bytes>, BodyError>>;

fn streamed(frames: Frames) -> Body {
    Body::piped(StreamBody::new(stream::iter(frames)))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BodyError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())])
}

async fn whole(body: Body) -> (Bytes, Option<HeaderMap>) {
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    (collected.to_bytes(), trailers)
}

#[tokio::test]
async fn holding_twice_is_holding_once() {
    let mut body = streamed(vec![data("ab"), data(""), data("cd")]);
    assert!(body.held().is_none() && body.again().is_none());
    for _ in 0..2 {
        assert_eq!(body.hold(4).await.unwrap(), "abcd");
    }
    assert_eq!(whole(body.again().unwrap()).await.0, "abcd");
    assert_eq!(whole(body).await.0, "abcd");
}

#[tokio::test]
async fn the_limit_is_the_last_that_fits() {
    for (limit, fits) in [(3, false), (4, true), (5, true)] {
        let mut body = streamed(vec![data("ab"), data("cd")]);
        assert_eq!(body.hold(limit).await.is_ok(), fits, "{limit}");
        // Whatever was read is still there.
        assert_eq!(whole(body).await.0, "abcd", "{limit}");
    }
    assert!(matches!(Body::held_bytes("abcd").hold(3).await, Err(HoldError::TooLarge { limit: 3 })));
}

#[tokio::test]
async fn a_body_that_was_too_large_once_can_be_held_with_a_larger_limit() {
    let mut body = streamed(vec![data("ab"), data("cd"), data("ef")]);
    assert!(body.hold(1).await.is_err());
    assert!(body.hold(5).await.is_err());
    assert_eq!(body.hold(6).await.unwrap(), "abcdef");
}

#[tokio::test]
async fn trailers_survive_being_held() {
    let mut body = streamed(vec![data("ab"), Ok(Frame::trailers(trailers()))]);
    assert_eq!(body.hold(2).await.unwrap(), "ab");
    assert_eq!(whole(body.again().unwrap()).await, (Bytes::from("ab"), Some(trailers())));
    let mut only = streamed(vec![Ok(Frame::trailers(trailers()))]);
    assert_eq!(only.hold(0).await.unwrap(), "");
    assert_eq!(whole(only).await, (Bytes::new(), Some(trailers())));
}

#[tokio::test]
async fn a_body_that_is_cut_is_never_taken_for_whole() {
    let cut = || Err(BodyError::Cut("for a test".to_owned()));
    let mut body = streamed(vec![data("ab"), cut()]);
    assert!(matches!(body.hold(10).await, Err(HoldError::Cut(_))));
    let body = streamed(vec![data("ab"), cut()]);
    assert!(body.collect().await.is_err());
}

#[tokio::test]
async fn what_is_empty_is_known_to_be() {
    assert!(Body::empty().is_empty());
    assert!(Body::held_bytes("").is_empty());
    assert!(Body::streamed(http_body_util::Empty::<Bytes>::new()).is_empty());
    assert!(!Body::trailers(trailers()).is_empty());
    let mut body = streamed(Vec::new());
    assert_eq!(body.hold(0).await.unwrap(), "");
    assert!(body.is_empty());
}

#[tokio::test]
async fn a_body_says_its_end_as_soon_as_it_is_known() {
    use http_body::Body as _;
    let mut body = Body::held_bytes("ab");
    assert_eq!((body.is_end_stream(), body.size_hint().exact()), (false, Some(2)));
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.data_ref().unwrap(), "ab");
    assert!(body.is_end_stream());
}
