//! Which tools are held back: what servers say of their tools now, beside what was approved in a catalogue.
//!
//! A catalogue is by the names that callers see. What a server says is remembered for a bounded time, so that a call is
//! judged by a definition that is known; one that is not known is refused.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use exchange::{Backend, Known};
use mesh::{
    Denial, Reason,
    names::ObjectName,
    resource::{Catalogue, ToolAccess, Unlisted},
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::definition;

/// How many tools of one server are remembered; what is beyond is not known.
pub(crate) const TOOLS_MAX: usize = 10_000;
/// How many servers are remembered; the one that was not listed for longest is forgotten.
pub(crate) const SERVERS_MAX: usize = 1024;
/// For how long a definition is believed at a call.
pub(crate) const FRESH: Duration = Duration::from_secs(30);
/// How much of a definition that is held back is kept to be shown, in bytes.
pub(crate) const SHOWN_MAX: usize = 8 * 1024;

/// Which catalogue holds for a backend.
#[derive(Debug, Clone)]
pub(crate) enum Catalogued {
    /// None is named: nothing is held back.
    No,
    /// One is named and not known: everything is.
    Absent(ObjectName),
    /// This.
    Is(Arc<Catalogue>),
}

impl Catalogued {
    pub(crate) fn of(backend: &Backend, known: &dyn Known) -> Self {
        let name = match backend {
            Backend::Agent(agent) => agent.catalogue.clone(),
            Backend::Service { .. } | Backend::Nowhere => None,
        };
        match name {
            None => Self::No,
            Some(name) => known.catalogue(&name).map_or(Self::Absent(name), Self::Is),
        }
    }

    /// What a tool can do, as the catalogue says.
    pub(crate) fn access(&self, visible: &str) -> Option<ToolAccess> {
        match self {
            Self::Is(catalogue) => catalogue.tools.get(visible).and_then(|tool| tool.access),
            Self::No | Self::Absent(_) => None,
        }
    }

    /// Whether anything can be held back.
    pub(crate) fn holds(&self) -> bool {
        !matches!(self, Self::No)
    }

    /// May a tool that is so defined be shown and called?
    pub(crate) fn judge(&self, visible: &str, seen: &Seen) -> Result<(), Held> {
        let catalogue = match self {
            Self::No => return Ok(()),
            Self::Absent(_) => return Err(Held::NoCatalogue),
            Self::Is(catalogue) => catalogue,
        };
        let hidden = || seen.hidden.map_or(Ok(()), |sign| Err(Held::Hidden(sign)));
        match catalogue.tools.get(visible) {
            Some(tool) => match &tool.pin {
                Some(pin) if **pin == *seen.pin => Ok(()),
                Some(_) => Err(Held::Changed),
                None => hidden(),
            },
            None => match catalogue.unlisted {
                Unlisted::Hold => Err(Held::Unlisted),
                Unlisted::Pass => hidden(),
            },
        }
    }

    /// The refusal of a tool that is held back.
    pub(crate) fn denial(&self, visible: &str, held: Held) -> Denial {
        let name = match self {
            Self::No => None,
            Self::Absent(name) => Some(name.clone()),
            Self::Is(catalogue) => Some(catalogue.name.clone()),
        };
        Denial {
            policy: name.map(|name| (name, None)),
            field: Some(format!("tools[{visible}]").into()),
            ..Denial::plain(Reason::ToolHeld, held.to_string())
        }
    }
}

/// Why a tool is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Its definition is not the one that was approved.
    Changed,
    /// It is not in the catalogue.
    Unlisted,
    /// Its definition holds a sign that people do not see, and nobody approved it as it is.
    Hidden(char),
    /// The catalogue is not known here.
    NoCatalogue,
    /// The server does not list it, or could not be asked.
    Unknown,
}

impl fmt::Display for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => out.write_str("its definition is not the one that was approved"),
            Self::Unlisted => out.write_str("it is not in the catalogue"),
            Self::Hidden(sign) => {
                write!(out, "its definition holds U+{:04X}, which people do not see", u32::from(*sign))
            }
            Self::NoCatalogue => out.write_str("the catalogue is not known here"),
            Self::Unknown => out.write_str("its definition is not known: its server does not list it"),
        }
    }
}

/// What a server said of a tool.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) pin: Arc<str>,
    pub(crate) hidden: Option<char>,
    definition: Arc<str>,
    at: Instant,
}

impl Seen {
    /// Reads a definition. `None` if it is none.
    pub(crate) fn of(tool: &Value, now: Instant) -> Option<Self> {
        let canonical = definition::canonical(tool)?;
        let shown = canonical.char_indices().map(|(at, _)| at).take_while(|at| *at <= SHOWN_MAX).last();
        let definition = match canonical.len() {
            0..=SHOWN_MAX => canonical.as_str(),
            _ => &canonical[..shown.unwrap_or_default()],
        };
        Some(Self {
            pin: definition::pin(&canonical).into(),
            hidden: definition::hidden(&canonical),
            definition: definition.into(),
            at: now,
        })
    }
}

/// One tool as those who run a mesh see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ToolRow {
    /// The backend.
    pub backend: String,
    /// The catalogue, if one is named.
    pub catalogue: Option<String>,
    /// The server.
    pub server: String,
    /// The name that callers see.
    pub tool: String,
    /// The digest of the definition as the server says it now.
    pub pin: String,
    /// The one that was approved.
    pub approved: Option<String>,
    /// Why it is held back; absent: it passes.
    pub held: Option<String>,
    /// A sign in it that people do not see.
    pub hidden: Option<String>,
    /// The definition of what is held back, as much as is kept.
    pub definition: Option<String>,
}

type Key = (ObjectName, Arc<str>);

#[derive(Default)]
struct Kept {
    // By the name that callers see.
    tools: BTreeMap<Arc<str>, Seen>,
    listed: Option<Instant>,
    asking: Arc<tokio::sync::Mutex<()>>,
}

/// What servers said of their tools.
#[derive(Default)]
pub(crate) struct Shelf {
    kept: Mutex<BTreeMap<Key, Kept>>,
}

impl Shelf {
    /// Remembers what a server says of a tool.
    pub(crate) fn put(&self, key: &Key, visible: &str, seen: &Seen) {
        let mut kept = self.kept.lock();
        let server = Self::entry(&mut kept, key);
        server.listed = Some(seen.at);
        if server.tools.len() < TOOLS_MAX || server.tools.contains_key(visible) {
            server.tools.insert(visible.into(), seen.clone());
        }
    }

    fn entry<'k>(kept: &'k mut BTreeMap<Key, Kept>, key: &Key) -> &'k mut Kept {
        if !kept.contains_key(key) && kept.len() >= SERVERS_MAX {
            let oldest = kept.iter().min_by_key(|(_, server)| server.listed).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                kept.remove(&oldest);
            }
        }
        kept.entry(key.clone()).or_default()
    }

    /// What is known of a tool, if it was said lately.
    pub(crate) fn fresh(&self, key: &Key, visible: &str, now: Instant) -> Option<Seen> {
        let kept = self.kept.lock();
        let seen = kept.get(key)?.tools.get(visible)?;
        (now.saturating_duration_since(seen.at) <= FRESH).then(|| seen.clone())
    }

    /// Taken by who asks the server for its list, so that others wait for the answer and do not ask too.
    pub(crate) fn asking(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut kept = self.kept.lock();
        Arc::clone(&Self::entry(&mut kept, key).asking)
    }

    /// The whole list was read: what was not in it is gone.
    pub(crate) fn forget_older(&self, key: &Key, than: Instant) {
        if let Some(server) = self.kept.lock().get_mut(key) {
            server.tools.retain(|_, seen| seen.at >= than);
        }
    }

    /// Everything, for those who run a mesh.
    pub(crate) fn rows(&self, catalogue_of: impl Fn(&ObjectName) -> Catalogued) -> Vec<ToolRow> {
        let kept = self.kept.lock();
        let mut rows = Vec::new();
        for ((backend, server), kept) in kept.iter() {
            let catalogued = catalogue_of(backend);
            for (visible, seen) in &kept.tools {
                let held = catalogued.judge(visible, seen).err();
                let (catalogue, approved) = match &catalogued {
                    Catalogued::No => (None, None),
                    Catalogued::Absent(name) => (Some(name.to_string()), None),
                    Catalogued::Is(it) => (
                        Some(it.name.to_string()),
                        it.tools.get(visible).and_then(|tool| tool.pin.as_deref()).map(str::to_owned),
                    ),
                };
                rows.push(ToolRow {
                    backend: backend.to_string(),
                    catalogue,
                    server: server.to_string(),
                    tool: visible.to_string(),
                    pin: seen.pin.to_string(),
                    approved,
                    definition: held.is_some().then(|| seen.definition.to_string()),
                    held: held.map(|held| held.to_string()),
                    hidden: seen.hidden.map(|sign| format!("U+{:04X}", u32::from(sign))),
                });
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use mesh::resource::ApprovedTool;
    use serde_json::json;

    use super::*;

    fn seen(description: &str) -> Seen {
        Seen::of(&json!({"name": "search", "description": description}), Instant::now()).unwrap()
    }

    fn catalogued(pin: Option<&str>, listed: bool, unlisted: Unlisted) -> Catalogued {
        let tool = ApprovedTool { pin: pin.map(Arc::from), access: Some(ToolAccess::Read) };
        let tools = listed.then(|| (Arc::from("docs_search"), tool)).into_iter().collect();
        let name = ObjectName::new("ToolCatalog", "shop", "toolbox");
        Catalogued::Is(Arc::new(Catalogue { name, tools, unlisted }))
    }

    #[tokio::test]
    async fn what_was_approved_passes_and_what_changed_is_held() {
        let (good, other, dark) = (seen("reads"), seen("reads and writes"), seen("re\u{200b}ads"));
        let pin = |seen: &Seen| seen.pin.to_string();
        for (catalogued, seen, expected) in [
            (catalogued(Some(&pin(&good)), true, Unlisted::Hold), &good, Ok(())),
            (catalogued(Some(&pin(&good)), true, Unlisted::Hold), &other, Err(Held::Changed)),
            (catalogued(Some(&pin(&dark)), true, Unlisted::Hold), &dark, Ok(())),
            (catalogued(None, true, Unlisted::Hold), &other, Ok(())),
            (catalogued(None, true, Unlisted::Hold), &dark, Err(Held::Hidden('\u{200b}'))),
            (catalogued(None, false, Unlisted::Hold), &good, Err(Held::Unlisted)),
            (catalogued(None, false, Unlisted::Pass), &good, Ok(())),
            (catalogued(None, false, Unlisted::Pass), &dark, Err(Held::Hidden('\u{200b}'))),
            (Catalogued::Absent(ObjectName::new("ToolCatalog", "shop", "x")), &good, Err(Held::NoCatalogue)),
            (Catalogued::No, &dark, Ok(())),
        ] {
            assert_eq!(catalogued.judge("docs_search", seen), expected, "{catalogued:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_said_is_believed_for_a_while_only() {
        let shelf = Shelf::default();
        let key = (ObjectName::new("AgentBackend", "shop", "toolbox"), Arc::from("docs"));
        shelf.put(&key, "docs_search", &seen("reads"));
        tokio::time::advance(FRESH).await;
        assert!(shelf.fresh(&key, "docs_search", Instant::now()).is_some());
        assert!(shelf.fresh(&key, "docs_write", Instant::now()).is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(shelf.fresh(&key, "docs_search", Instant::now()).is_none());
        shelf.forget_older(&key, Instant::now());
        assert!(shelf.rows(|_| Catalogued::No).is_empty());
    }

    #[tokio::test]
    async fn tools_and_servers_are_bounded() {
        let (shelf, one) = (Shelf::default(), seen("reads"));
        let key = |at: usize| (ObjectName::new("AgentBackend", "shop", &format!("b{at}")), Arc::from("docs"));
        for at in 0..=TOOLS_MAX {
            shelf.put(&key(0), &format!("t{at}"), &one);
        }
        assert_eq!(shelf.rows(|_| Catalogued::No).len(), TOOLS_MAX);
        for at in 1..=SERVERS_MAX {
            shelf.put(&key(at), "t", &one);
        }
        assert_eq!(shelf.kept.lock().len(), SERVERS_MAX);
    }
}
