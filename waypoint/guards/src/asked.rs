//! Streams about whose messages guards elsewhere are asked, one by one.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use exchange::{Body, BodyError, Framer as _, Trail, messages, sse::Events};
use http_body::{Body as _, Frame};
use mesh::resource::Direction;
use tokio::sync::mpsc;

use crate::{external::External, shadows::Shadows, stream::Stream};

/// Messages of a stream that wait for a slow caller, while guards elsewhere are asked.
const WAITING_MAX: usize = 4;

/// The body that is left when guards elsewhere are asked about each message of a stream. A task of its own asks; it
/// ends with the body that it feeds.
pub(crate) fn asked(
    body: Body,
    limit: usize,
    stream: Stream,
    external: External,
    (shadows, trail): (Shadows, Trail),
) -> Body {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let error = {
            let mut asking = AskingStream {
                events: Events::new(limit),
                stream,
                external,
                shadows,
                trail,
                sender: &sender,
            };
            asking.run(body).await
        };
        if let Err(Some(error)) = error {
            let _ = sender.send(Err(error)).await;
        }
    });
    Body::piped(Fed(receiver))
}

struct AskingStream<'a> {
    events: Events,
    stream: Stream,
    external: External,
    shadows: Shadows,
    trail: Trail,
    sender: &'a mpsc::Sender<Result<Frame<Bytes>, BodyError>>,
}

impl AskingStream<'_> {
    /// `Err(None)`: it ended early, and said so.
    async fn run(&mut self, mut body: Body) -> Result<(), Option<BodyError>> {
        loop {
            let next = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            let next = tokio::select! {
                next = next => next,
                () = self.sender.closed() => return Err(None),
            };
            match next {
                None => break,
                Some(Err(error)) => return Err(Some(error)),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.events.push(data);
                    while let Some(message) = self.events.next().map_err(malformed)? {
                        self.message(message).await?;
                    }
                }
            }
        }
        match self.events.finish().map_err(malformed)? {
            Some(message) => self.message(message).await,
            None => Ok(()),
        }
    }

    async fn message(&mut self, message: Bytes) -> Result<(), Option<BodyError>> {
        let judged = self.stream.judge(&message);
        let passage = match judged {
            Ok(messages::Passage::Replace(other)) => Ok(other),
            Ok(_) => Ok(message),
            Err(denial) => Err(denial),
        };
        let passage = match passage {
            Ok(message) => match exchange::sse::Event::parse(&message).ok().and_then(|event| event.data) {
                Some(data) => match self.external.ask(Direction::Response, &Bytes::from(data)).await {
                    Ok(shadows) => {
                        self.shadows.add(&self.trail, &shadows);
                        Ok(message)
                    }
                    Err(denial) => Err(denial),
                },
                None => Ok(message),
            },
            refused => refused,
        };
        let (bytes, goes_on) = match passage {
            Ok(message) => (message, true),
            Err(denial) => (self.stream.last(&denial), false),
        };
        self.sender.send(Ok(Frame::data(bytes))).await.map_err(|_| None)?;
        if goes_on { Ok(()) } else { Err(None) }
    }
}

fn malformed(error: exchange::FramingError) -> Option<BodyError> {
    Some(BodyError::Malformed(error.to_string()))
}

struct Fed(mpsc::Receiver<Result<Frame<Bytes>, BodyError>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(context)
    }
}
