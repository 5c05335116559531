//! One server's stream, as the caller of several servers hears it.
//!
//! Ids of events say where each server's stream is, so that whoever resumes is sent on to every server at its place.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use exchange::{Messages, Passage, sse::Event};
use mesh::Denial;
use parking_lot::Mutex;
use serde_json::json;

use super::rewrite::{Outward, Rewriter};
use crate::{
    id::Id,
    rejection::{FORBIDDEN, error_body},
    scope::Scope,
    seal::{Form, Sealer},
};

/// How long the id of an event may be that is told on, in bytes.
const EVENT_ID_MAX: usize = 1024;
/// How long our own may be; beyond, only the server that spoke last can be resumed.
const POSITIONS_MAX: usize = 4096;

/// Where the streams of a caller are, by server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Positions(Arc<Mutex<BTreeMap<Arc<str>, String>>>);

impl Positions {
    pub(crate) fn of(known: BTreeMap<Arc<str>, String>) -> Self {
        Self(Arc::new(Mutex::new(known)))
    }

    /// The id by which the caller can resume after this event of this server.
    fn after(&self, rewriter: &Rewriter, id: &str) -> Option<String> {
        if id.len() > EVENT_ID_MAX {
            return None;
        }
        let mut known = self.0.lock();
        known.insert(Arc::clone(&rewriter.server), id.to_owned());
        let plain = serde_json::to_vec(&*known).ok()?;
        let plain = if plain.len() <= POSITIONS_MAX {
            plain
        } else {
            serde_json::to_vec(&BTreeMap::from([(&*rewriter.server, id)])).ok()?
        };
        rewriter.sealer.seal_alike(Form::Events, &rewriter.bound, plain)
    }

    /// What a caller resumes by.
    pub(crate) fn open(sealer: &Sealer, bound: &str, id: &str) -> Option<BTreeMap<Arc<str>, String>> {
        serde_json::from_slice(&sealer.open(Form::Events, bound, id)?).ok()
    }
}

/// Tells one stream on.
pub(crate) struct Teller {
    pub(crate) rewriter: Rewriter,
    pub(crate) scope: Scope,
    pub(crate) positions: Positions,
    /// What the stream answers, if it answers something.
    pub(crate) request: Option<Id>,
    /// Whether an answer is told on, or said by the federation.
    pub(crate) answers: bool,
}

impl Messages for Teller {
    fn message(&mut self, block: &Bytes) -> Passage {
        let Ok(mut event) = Event::parse(block) else { return self.unreadable() };
        event.id = event.id.as_deref().and_then(|id| self.positions.after(&self.rewriter, id));
        let Some(data) = event.data.as_deref().filter(|data| !data.trim().is_empty()) else {
            // A comment, or where to resume: nothing is said.
            return if event.id.is_some() || event.retry.is_some() {
                Passage::Replace(event.encode())
            } else if event.data.is_some() {
                Passage::Drop
            } else {
                Passage::Pass
            };
        };
        match self.rewriter.outward(data, &self.scope) {
            Outward::Drop => Passage::Drop,
            Outward::Unreadable => self.unreadable(),
            _ if !self.answers && is_answer(data) => Passage::Drop,
            Outward::Keep => Passage::Replace(event.encode()),
            Outward::Other(other) => {
                event.data = Some(String::from_utf8_lossy(&other).into_owned());
                Passage::Replace(event.encode())
            }
        }
    }

    fn closed(&mut self, denial: &Denial) -> Option<Bytes> {
        let id = self.scope.refused(denial);
        Some(self.error(FORBIDDEN, "No longer allowed", Some(json!({"id": id}))))
    }
}

impl Teller {
    fn error(&self, code: i64, message: &str, data: Option<serde_json::Value>) -> Bytes {
        let body = error_body(self.request.as_ref().map(Id::value), code, message, data);
        let data = Some(String::from_utf8_lossy(&body).into_owned());
        Event { name: Some("message".to_owned()), data, ..Event::default() }.encode()
    }

    fn unreadable(&self) -> Passage {
        self.scope.failed(&format!("an event of {} cannot be read for certain", self.rewriter.server));
        let last = self.request.is_some().then(|| {
            self.error(crate::rejection::INTERNAL_ERROR, "The server's answer cannot be read", None)
        });
        Passage::End(last)
    }
}

fn is_answer(data: &str) -> bool {
    crate::raw::object(data).is_some_and(|fields| !fields.contains_key("method"))
}
