//! The control plane's side of reports.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::Arc,
};

use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use proto::strait::v1::{
    ReportBatch, ReportReceipt,
    reports_server::{Reports, ReportsServer},
};
use tonic::{Request, Response, Status, Streaming};

use super::{Record, upward::BATCH_RECORDS_MAX};
use crate::{Authenticate, Caller, caller::of_call};

/// Most bytes of one batch.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Most runs of which it is remembered what was taken.
const RUNS_MAX: usize = 16_384;
/// Longest name of a run, in bytes.
const RUN_BYTES_MAX: usize = 128;

/// Takes what proxies report.
pub trait Inbox: Send + Sync + 'static {
    /// Takes records, in the order in which they were made; `dropped` is how many were lost before them.
    fn take(&self, caller: &Caller, records: Vec<Record>, dropped: u64);
}

/// The service that takes reports, to be added to a tonic router.
pub struct ReportsService {
    shared: Arc<Shared>,
}

struct Shared {
    authenticate: Arc<dyn Authenticate>,
    inbox: Arc<dyn Inbox>,
    taken: Mutex<Taken>,
}

/// The last batch that was taken of each run.
#[derive(Default)]
struct Taken {
    last: BTreeMap<(Caller, String), u64>,
    order: VecDeque<(Caller, String)>,
}

impl ReportsService {
    /// The service, for callers that `authenticate` knows.
    pub fn server(authenticate: Arc<dyn Authenticate>, inbox: Arc<dyn Inbox>) -> ReportsServer<Self> {
        let shared = Arc::new(Shared { authenticate, inbox, taken: Mutex::default() });
        ReportsServer::new(Self { shared }).max_decoding_message_size(BATCH_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Reports for ReportsService {
    type ReportStream = Pin<Box<dyn Stream<Item = Result<ReportReceipt, Status>> + Send>>;

    async fn report(
        &self,
        request: Request<Streaming<ReportBatch>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let caller = of_call(request.metadata(), &*self.shared.authenticate).await?;
        let shared = Arc::clone(&self.shared);
        let receipts = request.into_inner().map(move |batch| shared.take(&caller, batch?));
        Ok(Response::new(Box::pin(receipts)))
    }
}

impl Shared {
    fn take(&self, caller: &Caller, batch: ReportBatch) -> Result<ReportReceipt, Status> {
        if batch.records.len() > BATCH_RECORDS_MAX || batch.run.len() > RUN_BYTES_MAX {
            return Err(Status::resource_exhausted("the batch is too large"));
        }
        let sequence = batch.sequence;
        if self.taken.lock().is_new(caller, batch.run, sequence) {
            let sent = batch.records.len();
            let records: Vec<Record> = batch.records.into_iter().filter_map(Record::read).collect();
            if records.len() < sent {
                tracing::warn!(%caller, "{} reports were not understood", sent - records.len());
            }
            self.inbox.take(caller, records, batch.dropped);
        }
        Ok(ReportReceipt { sequence })
    }
}

impl Taken {
    fn is_new(&mut self, caller: &Caller, run: String, sequence: u64) -> bool {
        let key = (caller.clone(), run);
        if let Some(last) = self.last.get_mut(&key) {
            let new = sequence > *last;
            *last = sequence.max(*last);
            return new;
        }
        if self.order.len() >= RUNS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.last.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.last.insert(key, sequence);
        true
    }
}
