//! The way up: a bounded buffer, and the stream that empties it.
//!
//! A batch is sent again, after a reconnect too, until its receipt came; batches are numbered within the run, so the
//! control plane takes none twice. What finds the buffer full is dropped, and the next batch says how many.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use proto::strait::v1::{ReportBatch, ReportReceipt, reports_client::ReportsClient};
use runtime::{Backoff, Span};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, transport::Channel};

use super::{DecisionKey, Record, decisions::Decisions};
use crate::{Bearer, caller::present};

/// Most records that wait.
pub const RECORDS_MAX: usize = 8192;
/// Most spans among them, so that spans push nothing else out.
pub const SPANS_WAITING_MAX: usize = RECORDS_MAX / 2;
/// Most records of a batch.
pub(super) const BATCH_RECORDS_MAX: usize = 512;
/// Most batches without a receipt.
const BATCHES_OPEN_MAX: usize = 4;
/// Longest wait for a server to accept a stream.
const ACCEPT_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often is told what was decided: so old is the youngest that somebody sees who asks.
const DECISIONS_INTERVAL: Duration = Duration::from_secs(5);

/// Takes records, and never waits. Clones share the buffer.
#[derive(Debug, Clone, Default)]
pub struct Reporter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    decisions: Mutex<Decisions>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<Record>,
    spans: usize,
    untold: u64,
    lost: u64,
}

impl Reporter {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a record; drops it if there is no room.
    pub fn record(&self, record: Record) {
        let mut queue = self.shared.queue.lock();
        let span = matches!(record, Record::Span(_));
        if queue.records.len() >= RECORDS_MAX || (span && queue.spans >= SPANS_WAITING_MAX) {
            queue.lose(1);
        } else {
            queue.records.push_back(record);
            queue.spans += usize::from(span);
        }
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Takes a span; drops it if there is no room.
    pub fn span(&self, span: Arc<Span>) {
        self.record(Record::Span(span));
    }

    /// Counts a decision.
    pub fn decided(&self, key: DecisionKey, now: SystemTime) {
        self.shared.decisions.lock().count(key, now);
    }

    /// How many records were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.shared.queue.lock().lost
    }

    fn tell_decisions(&self) {
        let taken = self.shared.decisions.lock().taken();
        taken.into_iter().for_each(|count| self.record(Record::Decisions(count)));
    }

    /// The next batch without its number; `None` if nothing waits.
    fn next(&self) -> Option<ReportBatch> {
        let mut queue = self.shared.queue.lock();
        if queue.records.is_empty() && queue.untold == 0 {
            return None;
        }
        let count = queue.records.len().min(BATCH_RECORDS_MAX);
        let taken: Vec<Record> = queue.records.drain(..count).collect();
        let spans = taken.iter().filter(|record| matches!(record, Record::Span(_))).count();
        queue.spans = queue.spans.saturating_sub(spans);
        drop(queue);
        // Written without the lock: whoever reports waits for nobody.
        let records: Vec<_> = taken.iter().filter_map(Record::write).collect();
        let mut queue = self.shared.queue.lock();
        // What is too long to be told is lost as well.
        queue.lose(u64::try_from(count - records.len()).unwrap_or(u64::MAX));
        let dropped = std::mem::take(&mut queue.untold);
        Some(ReportBatch { records, dropped, ..ReportBatch::default() })
    }
}

impl Queue {
    fn lose(&mut self, count: u64) {
        self.untold = self.untold.saturating_add(count);
        self.lost = self.lost.saturating_add(count);
    }
}

/// What the stream up must be told.
#[derive(Debug, Clone)]
pub struct UpwardConfig {
    /// Names this run of the program, for example at random.
    pub run: String,
    /// Waits between streams.
    pub backoff: runtime::backoff::Config,
    /// Any random number.
    pub chance: fn() -> u64,
    /// The time of day.
    pub now: fn() -> SystemTime,
}

/// The stream up, to be run.
pub struct Upward {
    config: UpwardConfig,
    reporter: Reporter,
    channel: Channel,
    bearer: Bearer,
    /// Sent or to be sent, and not receipted.
    open: VecDeque<ReportBatch>,
    sequence: u64,
}

impl Upward {
    /// A stream over a channel that connects by itself.
    pub fn new(config: UpwardConfig, reporter: Reporter, channel: Channel, bearer: Bearer) -> Self {
        Self { config, reporter, channel, bearer, open: VecDeque::new(), sequence: 0 }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.backoff);
        loop {
            if let Err(status) = self.stream(&mut backoff).await {
                tracing::debug!(%status, "the report stream ended");
            }
            sleep(backoff.failed((self.config.chance)())).await;
        }
    }

    async fn stream(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let (batches, sending) = mpsc::channel(BATCHES_OPEN_MAX);
        let mut receipts = self.open_stream(ReceiverStream::new(sending)).await?;
        // What had no receipt on the stream before goes first; there is room for all of it.
        let mut unsent: VecDeque<ReportBatch> = self.open.iter().cloned().collect();
        let mut decisions_at = Instant::now();
        loop {
            while self.open.len() < BATCHES_OPEN_MAX
                && let Some(batch) = self.reporter.next()
            {
                self.sequence += 1;
                let batch = ReportBatch { sequence: self.sequence, run: self.config.run.clone(), ..batch };
                self.open.push_back(batch.clone());
                unsent.push_back(batch);
            }
            let shared = Arc::clone(&self.reporter.shared);
            tokio::select! {
                receipt = receipts.message() => match receipt? {
                    Some(receipt) => {
                        self.receipted(&receipt);
                        backoff.succeeded();
                    }
                    None => return Ok(()),
                },
                permit = batches.reserve(), if !unsent.is_empty() => match (permit, unsent.pop_front()) {
                    (Ok(permit), Some(batch)) => permit.send(batch),
                    _ => return Ok(()),
                },
                () = shared.wake.notified(), if self.open.len() < BATCHES_OPEN_MAX => {}
                () = sleep_until(decisions_at) => {
                    self.reporter.tell_decisions();
                    decisions_at = Instant::now() + DECISIONS_INTERVAL;
                }
            }
        }
    }

    async fn open_stream(
        &self,
        sending: ReceiverStream<ReportBatch>,
    ) -> Result<Streaming<ReportReceipt>, Status> {
        let mut request = Request::new(sending);
        present(&mut request, &self.bearer).map_err(Status::unauthenticated)?;
        let mut client = ReportsClient::new(self.channel.clone());
        let answer = timeout(ACCEPT_WAIT_MAX, client.report(request)).await;
        Ok(answer.map_err(|_| Status::deadline_exceeded("the control plane did not answer"))??.into_inner())
    }

    fn receipted(&mut self, receipt: &ReportReceipt) {
        self.open.retain(|batch| batch.sequence > receipt.sequence);
    }
}
