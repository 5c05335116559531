//! The subscriber's task: streams, waits, and the disk, around [`State`].

use std::{collections::VecDeque, time::Duration};

use proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
};
use runtime::{Backoff, DrainWatch, Phase, readiness::ReadyPart};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, transport::Channel};

use super::{Config, Receiver, State, StreamError, WantError, wants::Waiter};
use crate::{Bearer, Want, caller::present, store::Store};

/// Most bytes of one response.
pub const RESPONSE_BYTES_MAX: usize = 8 << 20;
/// Longest wait for a server to accept a stream.
const ACCEPT_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a stream may go without its first checkpoint before the program says so.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(5);
/// How often names that nobody uses are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// Questions that wait to be taken.
const ASKS_MAX: usize = 256;
/// Requests that wait to be sent; a server that makes more of them breaks the protocol.
const OUTBOX_MAX: usize = 131_072;
/// Requests on their way to the wire; the first ones of a stream, one for each type, must fit.
const SENDING_MAX: usize = 64;

/// Asks for names that are not held. Clones ask the same subscriber.
#[derive(Debug, Clone)]
pub struct OnDemand {
    asks: mpsc::Sender<(Want, Waiter)>,
}

impl OnDemand {
    /// Asks for a name, and waits for the checkpoint that settles it: then it is held, or known not to be in the mesh.
    /// The wait has no end of its own while the control plane is away; the caller bounds it.
    ///
    /// # Errors
    /// When too much is asked for, or the subscriber has stopped.
    pub async fn want(&self, want: Want) -> Result<(), WantError> {
        let (waiter, answer) = oneshot::channel();
        self.asks.send((want, waiter)).await.map_err(|_| WantError::Stopped)?;
        answer.await.unwrap_or(Err(WantError::Stopped))
    }
}

/// A subscriber, to be run.
pub struct Subscriber {
    state: State,
    config: Config,
    channel: Channel,
    bearer: Bearer,
    part: ReadyPart,
    events: Events,
    store: Option<Store>,
    /// How old what the disk gave is.
    age: Duration,
    drain: DrainWatch,
    outbox: VecDeque<DeltaDiscoveryRequest>,
    store_free_at: Instant,
    writing: Option<JoinHandle<()>>,
}

/// What happens beside a stream.
struct Events {
    asks: mpsc::Receiver<(Want, Waiter)>,
    disk_at: Option<Instant>,
    silent_at: Option<Instant>,
    store_at: Option<Instant>,
    sweep_at: Instant,
}

enum Event {
    Ask(Want, Waiter),
    UseDisk,
    Silent,
    Store,
    Sweep,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the token cannot be read: {0}")]
    Bearer(String),
    #[error("the control plane did not answer within {ACCEPT_WAIT_MAX:?}")]
    NoAnswer,
    #[error("the control plane cannot be reached or refuses: {}", told(.0))]
    Refused(#[from] Status),
    #[error(transparent)]
    Broken(#[from] StreamError),
    #[error("the control plane ended the stream")]
    Closed,
    #[error("the control plane sends faster than it reads")]
    Flooded,
}

/// A status in words, with the cause that tonic keeps beneath it.
fn told(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Subscriber {
    /// A subscriber over a channel that connects by itself (`Endpoint::connect_with_connector_lazy`).
    pub fn new(
        config: Config,
        channel: Channel,
        bearer: Bearer,
        receiver: Box<dyn Receiver>,
        part: ReadyPart,
        drain: DrainWatch,
    ) -> (OnDemand, Self) {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let now = Instant::now();
        let events = Events {
            asks: asked,
            disk_at: Some(now + config.disk_after),
            silent_at: None,
            store_at: None,
            sweep_at: now + SWEEP_INTERVAL,
        };
        part.pending("no checkpoint from the control plane yet");
        let subscriber = Self {
            state: State::new(config.clone(), receiver),
            store: config.store.as_ref().map(Store::new),
            config,
            channel,
            bearer,
            part,
            events,
            age: Duration::ZERO,
            drain,
            outbox: VecDeque::new(),
            store_free_at: now,
            writing: None,
        };
        (OnDemand { asks }, subscriber)
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        self.restore().await;
        let mut backoff = Backoff::new(self.config.backoff);
        loop {
            let ended = self.stream(&mut backoff).await;
            self.events.silent_at = None;
            tracing::info!(%ended, "the configuration stream ended");
            if !self.state.is_told() {
                self.part.pending(&ended.to_string());
            }
            let until = Instant::now() + backoff.failed((self.config.chance)());
            loop {
                tokio::select! {
                    () = sleep_until(until) => break,
                    event = self.events.next() => self.on(event),
                }
            }
        }
    }

    async fn restore(&mut self) {
        let Some(store) = self.store.clone() else { return };
        let read = tokio::task::spawn_blocking(move || store.read()).await;
        if let Ok(Some(stored)) = read {
            self.age = (self.config.now)().duration_since(stored.written).unwrap_or_default();
            self.state.restore(stored);
        }
    }

    /// One stream, to its end.
    async fn stream(&mut self, backoff: &mut Backoff) -> Ended {
        let (requests, sending) = mpsc::channel(SENDING_MAX);
        self.outbox = self.state.open().into();
        // Some servers answer nothing, not even that they accept, before the first request is there.
        while !self.outbox.is_empty()
            && let Ok(permit) = requests.try_reserve()
        {
            send_first(&mut self.outbox, permit);
        }
        let mut responses = match self.open_stream(ReceiverStream::new(sending)).await {
            Ok(responses) => responses,
            Err(ended) => return ended,
        };
        self.events.silent_at = Some(Instant::now() + CHECKPOINT_WAIT);
        loop {
            tokio::select! {
                response = responses.message() => match response {
                    Ok(Some(response)) => match self.state.take(response) {
                        Ok(reply) => {
                            self.outbox.extend(reply.requests);
                            if reply.checkpoint.is_some() {
                                backoff.succeeded();
                                self.at_checkpoint();
                            }
                        }
                        Err(error) => return error.into(),
                    },
                    Ok(None) => return Ended::Closed,
                    Err(status) => return status.into(),
                },
                permit = requests.reserve(), if !self.outbox.is_empty() => match permit {
                    Ok(permit) => send_first(&mut self.outbox, permit),
                    Err(_) => return Ended::Closed,
                },
                event = self.events.next() => self.on(event),
            }
            if self.outbox.len() > OUTBOX_MAX {
                return Ended::Flooded;
            }
        }
    }

    async fn open_stream(
        &mut self,
        sending: ReceiverStream<DeltaDiscoveryRequest>,
    ) -> Result<Streaming<DeltaDiscoveryResponse>, Ended> {
        let mut request = Request::new(sending);
        present(&mut request, &self.bearer).map_err(Ended::Bearer)?;
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel.clone())
            .max_decoding_message_size(RESPONSE_BYTES_MAX);
        let call = timeout(ACCEPT_WAIT_MAX, client.delta_aggregated_resources(request));
        tokio::pin!(call);
        loop {
            tokio::select! {
                answer = &mut call => return match answer {
                    Ok(answer) => Ok(answer?.into_inner()),
                    Err(_) => Err(Ended::NoAnswer),
                },
                event = self.events.next() => self.on(event),
            }
        }
    }

    fn at_checkpoint(&mut self) {
        self.events.disk_at = None;
        self.events.silent_at = None;
        self.part.ready();
        if self.store.is_some() && self.events.store_at.is_none() {
            self.events.store_at = Some(self.store_free_at.max(Instant::now()));
        }
    }

    fn on(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Ask(want, waiter) => self.outbox.extend(self.state.ask(want, waiter, now.into_std())),
            Event::Sweep => {
                self.events.sweep_at = now + SWEEP_INTERVAL;
                self.outbox.extend(self.state.sweep(now.into_std()));
            }
            Event::UseDisk => self.use_disk(),
            Event::Silent => {
                self.events.silent_at = None;
                if !self.state.is_told() {
                    self.part.pending(
                        "the control plane sends no strait.v1.Checkpoint: it is starting, or is none of Strait",
                    );
                }
            }
            Event::Store => self.write(now),
        }
    }

    fn use_disk(&mut self) {
        self.events.disk_at = None;
        if self.state.tell_from_disk(self.age) {
            let seconds = self.age.as_secs();
            tracing::warn!(seconds, "the control plane is silent: using the stored configuration");
            self.part.ready_with(&format!("configuration from disk, {seconds} s old"));
        }
    }

    /// Writes what is held, beside the stream. A draining process writes no state: its successor does.
    fn write(&mut self, now: Instant) {
        self.store_free_at = now + self.config.store_interval;
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            self.events.store_at = Some(self.store_free_at);
            return;
        }
        self.events.store_at = None;
        let (Some(store), Some(stored)) = (self.store.clone(), self.state.stored((self.config.now)())) else {
            return;
        };
        if self.drain.phase() == Phase::Serving {
            self.writing = Some(tokio::task::spawn_blocking(move || {
                if let Err(error) = store.write(&stored) {
                    tracing::error!(%error, "the configuration cannot be stored");
                }
            }));
        }
    }
}

fn send_first(outbox: &mut VecDeque<DeltaDiscoveryRequest>, permit: mpsc::Permit<'_, DeltaDiscoveryRequest>) {
    if let Some(request) = outbox.pop_front() {
        permit.send(request);
    }
}

impl Events {
    async fn next(&mut self) -> Event {
        tokio::select! {
            Some((want, waiter)) = self.asks.recv() => Event::Ask(want, waiter),
            () = at(self.disk_at) => Event::UseDisk,
            () = at(self.silent_at) => Event::Silent,
            () = at(self.store_at) => Event::Store,
            () = sleep_until(self.sweep_at) => Event::Sweep,
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
