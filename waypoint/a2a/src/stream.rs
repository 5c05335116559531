//! A stream of server-sent events from an agent to a caller: each is judged when it passes, and its ids are sealed.

use bytes::Bytes;
use exchange::{
    Messages, Passage,
    json::{self, Keys},
    sse::Event,
};
use mesh::{Denial, names::WorkloadUid};

use crate::{
    fault::{Fault, Recorded, Voice},
    ids::Ids,
    scope::Scope,
};

/// The events of one stream.
pub(crate) struct Stream {
    scope: Scope,
    voice: Voice,
    ids: Ids,
    endpoint: WorkloadUid,
    seen: u64,
}

impl Stream {
    pub(crate) fn new(scope: Scope, voice: Voice, ids: Ids, endpoint: WorkloadUid) -> Self {
        // The snapshot that let it begin may be older than this: the first event is judged.
        let seen = scope.generation().wrapping_sub(1);
        Self { scope, voice, ids, endpoint, seen }
    }

    /// An event that ends the stream with an error.
    fn last(&self, fault: Fault, said: &str, refused: Option<&Recorded>) -> Bytes {
        let data = self.voice.error(fault, fault.status(), said, refused).to_string();
        // In JSON-RPC an error is an answer like any other; HTTP+JSON has a name for its event.
        let name = matches!(self.voice, Voice::Http(_)).then(|| "error".to_owned());
        Event { name, data: Some(data), ..Event::default() }.encode()
    }

    fn unreadable(&self) -> Passage {
        self.scope.failed("an event of the agent cannot be read for certain");
        Passage::End(Some(self.last(Fault::BadAnswer, "The agent's answer cannot be passed on", None)))
    }

    fn withdrawn(&self, denial: &Denial) -> Bytes {
        let id = self.scope.refused(denial);
        self.last(Fault::Forbidden, "No longer allowed", Some(&(denial.reason, id)))
    }
}

impl Messages for Stream {
    fn message(&mut self, block: &Bytes) -> Passage {
        let now = self.scope.generation();
        if now != self.seen {
            if let Err(denial) = self.scope.again() {
                return Passage::End(Some(self.withdrawn(&denial)));
            }
            self.seen = now;
        }
        let Ok(event) = Event::parse(block) else { return self.unreadable() };
        let Some(data) = event.data.as_deref().filter(|data| !data.trim().is_empty()) else {
            return Passage::Pass;
        };
        let Ok(mut value) = json::parse(data.as_bytes(), Keys::Equal) else { return self.unreadable() };
        let Some(object) = value.as_object_mut() else { return self.unreadable() };
        let changed = match &self.voice {
            Voice::Rpc { .. } => match object.get_mut("result") {
                Some(result) => self.ids.outward(result, &self.endpoint, false),
                None => Ok(()),
            },
            Voice::Http(_) => self.ids.outward(&mut value, &self.endpoint, false),
        };
        if changed.is_err() {
            return self.unreadable();
        }
        Passage::Replace(Event { data: Some(value.to_string()), ..event }.encode())
    }

    fn closed(&mut self, denial: &Denial) -> Option<Bytes> {
        Some(self.withdrawn(denial))
    }
}
