//! What became of an exchange so far: written by whoever does something, read by the report at its end.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use mesh::{
    Denial, Facts, Identity,
    names::{ServiceKey, WorkloadUid},
    resource::Authorizer,
};
use parking_lot::Mutex;
use runtime::{TraceContext, spans::Link};

use crate::Place;

/// Most notes in one trail; more are dropped.
pub const NOTES_MAX: usize = 16;
/// Most connections of which it is kept that they carried one exchange.
pub const CARRIERS_MAX: usize = 4;
/// Most endpoints that one exchange can use; a further one is refused.
pub const PLACES_MAX: usize = 64;

/// Where a call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The service, if the target was one.
    pub service: Option<ServiceKey>,
    /// The endpoint.
    pub workload: WorkloadUid,
    /// Its port.
    pub port: u16,
    /// Who it proved to be.
    pub identity: Option<Identity>,
    /// Its address or name as it was dialled.
    pub address: String,
}

/// One call of a model, for reports: the words in brackets are those of the GenAI semantic conventions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelUse {
    /// What was asked for (`gen_ai.operation.name`): `chat`, `responses`, `messages`, `embeddings`.
    pub operation: Arc<str>,
    /// The provider's name in its backend (`gen_ai.provider.name`).
    pub provider: Arc<str>,
    /// The model as the caller named it (`gen_ai.request.model`). Callers may write anything.
    pub asked: Arc<str>,
    /// The model that was used, by the provider's own name (`gen_ai.response.model`).
    pub model: Arc<str>,
    /// Tokens of the prompt (`gen_ai.usage.input_tokens`); where the provider did not say, as estimated.
    pub tokens_in: u64,
    /// Tokens of the answer (`gen_ai.usage.output_tokens`); where the provider did not say, the most that it can be.
    pub tokens_out: u64,
    /// Tokens of the prompt that came from a cache.
    pub tokens_cached: u64,
    /// True if the provider said the numbers.
    pub told: bool,
    /// From the call to the first of the answer (`gen_ai.server.time_to_first_token`), where it was streamed.
    pub first_token: Option<Duration>,
}

/// A trail. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    record: Arc<Mutex<Record>>,
}

/// What a trail holds.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// What the caller addressed.
    pub addressed: Option<Place>,
    /// Endpoint ports that were used.
    pub places: Vec<Place>,
    /// External authorizers that said yes, and what was known of what they were asked about.
    pub authorized: Vec<(Arc<Authorizer>, Arc<Facts>)>,
    /// The last upstream.
    pub upstream: Option<Upstream>,
    /// Attempts made upstream.
    pub attempts: u32,
    /// The status that the upstream answered with last.
    pub upstream_status: Option<StatusCode>,
    /// The last refusal and its id.
    pub refusal: Option<(Denial, Arc<str>)>,
    /// What a protocol wants to be logged: key and value.
    pub notes: Vec<(&'static str, String)>,
    /// Why the exchange failed, if not by a refusal.
    pub error: Option<String>,
    /// The call of a model that answered.
    pub model: Option<ModelUse>,
    /// Our place in the caller's trace.
    pub trace: Option<TraceContext>,
    /// The connections upstream that carried it.
    pub carriers: Vec<Link>,
}

impl Trail {
    /// It has this place in the caller's trace: what is sent upstream says it.
    pub fn traced(&self, trace: &TraceContext) {
        self.record.lock().trace = Some(trace.clone());
    }

    /// Its place in the caller's trace.
    pub fn trace(&self) -> Option<TraceContext> {
        self.record.lock().trace.clone()
    }

    /// A connection upstream carries it.
    pub fn carried(&self, carrier: Link) {
        let mut record = self.record.lock();
        if record.carriers.len() < CARRIERS_MAX && !record.carriers.contains(&carrier) {
            record.carriers.push(carrier);
        }
    }

    /// The endpoint ports that were used.
    pub fn places(&self) -> Vec<Place> {
        self.record.lock().places.clone()
    }

    /// Adds an endpoint port. False if there are too many.
    pub fn used(&self, place: Place) -> bool {
        let mut record = self.record.lock();
        if record.places.contains(&place) {
            return true;
        }
        let room = record.places.len() < PLACES_MAX;
        if room {
            record.places.push(place);
        }
        room
    }

    /// Takes an endpoint port back: the call there came to nothing.
    pub fn unused(&self, place: &Place) {
        self.record.lock().places.retain(|used| used != place);
    }

    /// An external authorizer said yes to what has these facts. Of more than [`PLACES_MAX`] it is forgotten: they are
    /// asked again.
    pub fn authorized(&self, authorizer: Arc<Authorizer>, facts: &Arc<Facts>) {
        let mut record = self.record.lock();
        if record.authorized.len() < PLACES_MAX {
            record.authorized.push((authorizer, Arc::clone(facts)));
        }
    }

    /// True if this external authorizer said yes to what has these very facts: its word about one message of an
    /// exchange, or one model, says nothing of another.
    pub fn is_authorized(&self, authorizer: &Authorizer, facts: &Arc<Facts>) -> bool {
        let record = self.record.lock();
        record.authorized.iter().any(|(one, about)| **one == *authorizer && Arc::ptr_eq(about, facts))
    }

    /// The caller addressed this.
    pub fn addressed(&self, place: Place) {
        self.record.lock().addressed = Some(place);
    }

    /// An attempt goes to this upstream.
    pub fn attempt(&self, upstream: Upstream) {
        let mut record = self.record.lock();
        record.attempts = record.attempts.saturating_add(1);
        record.upstream = Some(upstream);
        record.upstream_status = None;
    }

    /// The upstream answered.
    pub fn answered(&self, status: StatusCode) {
        self.record.lock().upstream_status = Some(status);
    }

    /// It was refused, under this id.
    pub fn refused(&self, denial: &Denial, id: &Arc<str>) {
        self.record.lock().refusal = Some((denial.clone(), Arc::clone(id)));
    }

    /// It failed.
    pub fn failed(&self, error: impl std::fmt::Display) {
        self.record.lock().error = Some(error.to_string());
    }

    /// A model was used. Of several (a call that failed and one that did not) the last stands.
    pub fn used_model(&self, model: ModelUse) {
        self.record.lock().model = Some(model);
    }

    /// Adds something to be logged, for example `mcp.tool`.
    pub fn note(&self, key: &'static str, value: impl std::fmt::Display) {
        let mut record = self.record.lock();
        if record.notes.len() < NOTES_MAX {
            record.notes.push((key, value.to_string()));
        }
    }

    /// Everything so far.
    pub fn record(&self) -> Record {
        self.record.lock().clone()
    }
}
