//! The ids of one exchange: what the caller shows is opened on the way in, what the agent says is sealed on the way
//! out, and each keeps the form in which the caller knows it.

use std::sync::Arc;

use mesh::{names::WorkloadUid, resource::BackendTarget};
use serde_json::{Map, Value};

use crate::{
    fault::Voice,
    fields,
    method::{Known, Version},
    opening::{Binding, Opened},
    seal::{ID_MAX, Kind, Sealed, Sealer, owner},
    walk::{self, NotText, Outer},
};

/// Why an id of a caller is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// There is no such thing, or it is somebody else's.
    NotYours(Kind),
    /// It is no id.
    Malformed,
}

impl From<NotText> for NotTaken {
    fn from(_: NotText) -> Self {
        Self::Malformed
    }
}

/// An agent's id that cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id of the agent is too long, or no text")]
pub(crate) struct BadId;

impl From<NotText> for BadId {
    fn from(_: NotText) -> Self {
        Self
    }
}

/// An id as both sides know it.
#[derive(Debug, Clone)]
struct Pair {
    kind: Kind,
    upstream: String,
    shown: String,
}

/// The ids of one exchange.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    sealer: Arc<Sealer>,
    principal: String,
    owner: String,
    target: BackendTarget,
    known: Vec<Pair>,
    /// Where the task of the request lives, or else its context.
    pub(crate) pin: Option<WorkloadUid>,
    /// The context that the caller chose itself.
    pub(crate) chosen: Option<String>,
}

impl Ids {
    pub(crate) fn new(
        sealer: Arc<Sealer>,
        principal: String,
        route: Option<&str>,
        target: BackendTarget,
    ) -> Self {
        let owner = owner(&principal, route);
        Self { sealer, principal, owner, target, known: Vec::new(), pin: None, chosen: None }
    }

    /// Makes the caller's request the agent's: with its parameters, path and query.
    pub(crate) fn inward(&mut self, opened: &mut Opened, chance: [u8; 8]) -> Result<(), NotTaken> {
        let by_id = matches!(opened.method.known, Some(Known::Get | Known::Cancel | Known::Subscribe));
        // Version 0.3 names the task so by these methods; version 1.0 names the configuration so.
        let old_push =
            matches!(opened.method.known, Some(Known::PushGet | Known::PushList | Known::PushDelete))
                && matches!(opened.voice, Voice::Rpc { version: Version::V03, .. });
        let outer = match (&opened.binding, opened.method.known) {
            (Binding::Rpc(_), Some(_)) if by_id || old_push => Outer::Task,
            (Binding::Http { .. }, Some(_)) if by_id => Outer::Task,
            _ => Outer::Looks,
        };
        if let Binding::Http { resource, query } = &mut opened.binding {
            if let Some(task) = &mut resource.task {
                self.one_in(Kind::Task, task)?;
            }
            for (key, value) in query.iter_mut().filter(|(_, value)| !value.is_empty()) {
                match fields::named(key) {
                    Some("contextId") => self.one_in(Kind::Context, value)?,
                    Some("pageToken") if opened.method.known == Some(Known::List) => {
                        self.one_in(Kind::Page, value)?
                    }
                    Some("taskId") => self.one_in(Kind::Task, value)?,
                    Some("id") if by_id => self.one_in(Kind::Task, value)?,
                    _ => {}
                }
            }
        }
        if let Some(params) = &mut opened.params {
            let lists = opened.method.known == Some(Known::List);
            if opened.method.known.is_none()
                && let Some(Value::String(id)) = params.get_mut("id")
                && self.sealer.open(id).is_some()
            {
                // An extension may name a task as the protocol does.
                self.one_in(Kind::Task, id)?;
            }
            walk::ids(params, outer, &mut |kind, text| match kind {
                Kind::Page if !lists => Ok(()),
                kind => self.one_in(kind, text),
            })?;
        }
        if opened.method.sends() {
            self.begin(opened, chance);
        }
        Ok(())
    }

    /// A message that names neither context nor task begins a context, which is made here.
    fn begin(&mut self, opened: &mut Opened, chance: [u8; 8]) {
        let Some(message) = message_of(opened) else { return };
        if fields::text(message, "contextId").is_some() || fields::text(message, "taskId").is_some() {
            return;
        }
        let snake = fields::snake("contextId");
        let key = if message.contains_key(&snake) { snake } else { "contextId".to_owned() };
        message.insert(key, Value::String(self.sealer.fresh(&self.principal, chance)));
    }

    fn one_in(&mut self, kind: Kind, text: &mut String) -> Result<(), NotTaken> {
        // Tokens are longer than what they stand for.
        if text.len() > 4 * ID_MAX {
            return Err(NotTaken::Malformed);
        }
        let shown = text.clone();
        match self.sealer.open(text) {
            Some(sealed) => {
                if sealed.kind != kind || sealed.owner != self.owner || sealed.target != self.target {
                    return Err(NotTaken::NotYours(kind));
                }
                // The task decides, wherever in the message it stands.
                if kind == Kind::Task || self.pin.is_none() {
                    self.pin = Some(sealed.endpoint);
                }
                *text = sealed.upstream;
            }
            None if kind == Kind::Context => {
                if text.len() > ID_MAX {
                    return Err(NotTaken::Malformed);
                }
                self.chosen = Some(text.clone());
                *text = self.sealer.bind(&self.principal, text);
            }
            None => return Err(NotTaken::NotYours(kind)),
        }
        if !self.known.iter().any(|pair| pair.kind == kind && pair.upstream == *text) {
            self.known.push(Pair { kind, upstream: text.clone(), shown });
        }
        Ok(())
    }

    /// Makes what an agent says the caller's.
    pub(crate) fn outward(
        &self,
        value: &mut Value,
        endpoint: &WorkloadUid,
        lists: bool,
    ) -> Result<(), BadId> {
        if lists && let Some(object) = value.as_object_mut() {
            self.keep_own(object);
        }
        walk::ids(value, Outer::Looks, &mut |kind, text| match kind {
            Kind::Page if !lists => Ok(()),
            kind => {
                *text = self.one_out(kind, text, endpoint)?;
                Ok(())
            }
        })
    }

    fn one_out(&self, kind: Kind, upstream: &str, endpoint: &WorkloadUid) -> Result<String, BadId> {
        if let Some(pair) = self.known.iter().find(|pair| pair.kind == kind && pair.upstream == upstream) {
            return Ok(pair.shown.clone());
        }
        // What is bound is longer than what the caller chose.
        if upstream.len() > 2 * ID_MAX {
            return Err(BadId);
        }
        if kind == Kind::Context
            && let Some(chosen) = self.sealer.unbind(&self.principal, upstream)
        {
            return Ok(chosen.to_owned());
        }
        let sealed = Sealed {
            kind,
            owner: self.owner.clone(),
            target: self.target.clone(),
            endpoint: endpoint.clone(),
            upstream: upstream.to_owned(),
        };
        self.sealer.seal(&sealed).ok_or(BadId)
    }

    /// Keeps those tasks of a list that are in contexts of this caller.
    fn keep_own(&self, list: &mut Map<String, Value>) {
        let mut kept = 0;
        if let Some(Value::Array(tasks)) = list.get_mut("tasks") {
            tasks.retain(|task| {
                let context = task.as_object().and_then(|task| fields::text(task, "contextId"));
                context.is_some_and(|context| self.owns(context))
            });
            kept = tasks.len();
        }
        // How many others there are is theirs to know.
        for name in ["totalSize", "total_size"] {
            if list.contains_key(name) {
                list.insert(name.to_owned(), Value::from(kept));
            }
        }
    }

    fn owns(&self, context: &str) -> bool {
        self.sealer.unbind(&self.principal, context).is_some()
            || self.sealer.is_fresh(&self.principal, context)
            || self.known.iter().any(|pair| pair.kind == Kind::Context && pair.upstream == context)
    }
}

fn message_of(opened: &mut Opened) -> Option<&mut Map<String, Value>> {
    let params = opened.params.as_mut()?.as_object_mut()?;
    let key = ["message", "request"].into_iter().find(|key| params.contains_key(*key))?;
    params.get_mut(key)?.as_object_mut()
}
