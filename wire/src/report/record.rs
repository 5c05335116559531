//! Records as they go up, and their messages.

use std::sync::Arc;

use mesh::{
    names::Version,
    resource::{Key, Kind},
};
use proto::strait::v1::{self, report};

use runtime::Span;

use super::{
    DecisionKey, Refusal,
    decisions::{Asked, Verdict},
};

/// Most bytes of a refusal's text.
const REFUSAL_BYTES_MAX: usize = 16 << 10;
/// Most bytes of a span's text.
const SPAN_BYTES_MAX: usize = 8 << 10;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A connection or request was refused.
    Refusal(Arc<Refusal>),
    /// What was decided in one minute.
    Decisions(DecisionCount),
    /// A resource was applied (with the version that is in force; none: it is gone), or refused.
    Applied {
        /// Which.
        key: Key,
        /// Which version.
        version: Option<Version>,
        /// Why it was refused; none: it was applied.
        refused: Option<Arc<str>>,
    },
    /// Plaintext was seen where the mesh could be used.
    Plaintext(Plaintext),
    /// A span ended, or has been open for a while.
    Span(Arc<Span>),
}

/// Decisions of one minute that agree in their key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionCount {
    /// The first second of the minute, since the Unix epoch.
    pub minute: u64,
    /// What they agree in.
    pub key: DecisionKey,
    /// How many.
    pub count: u64,
}

/// Plaintext that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plaintext {
    /// Seconds since the Unix epoch.
    pub at: u64,
    /// Who sent it, as far as is known.
    pub source: Arc<str>,
    /// To whom.
    pub destination: Arc<str>,
    /// The port.
    pub port: u16,
}

impl Record {
    pub(super) fn write(&self) -> Option<v1::Report> {
        let record = match self {
            Self::Refusal(it) => {
                let json = serde_json::to_vec(it).ok().filter(|json| json.len() <= REFUSAL_BYTES_MAX)?;
                report::Record::Refusal(v1::RefusalRecord { id: it.id.to_string(), json: json.into() })
            }
            Self::Decisions(it) => report::Record::Decisions(v1::DecisionCount {
                minute: it.minute,
                verdict: it.key.verdict.name().to_owned(),
                reason: it.key.reason.to_string(),
                policy: it.key.policy.to_string(),
                rule: it.key.rule.to_string(),
                source: it.key.source.to_string(),
                destination: it.key.destination.to_string(),
                count: it.count,
                place: it.key.asked.place.to_string(),
                port: it.key.asked.port.into(),
                address: it.key.asked.address.to_string(),
                protocol: it.key.asked.protocol.to_string(),
                method: it.key.asked.method.to_string(),
                host: it.key.asked.host.to_string(),
                path: it.key.asked.path.to_string(),
                object: it.key.asked.object.to_string(),
                user: it.key.asked.user.to_string(),
            }),
            Self::Span(it) => {
                let json = serde_json::to_vec(it).ok().filter(|json| json.len() <= SPAN_BYTES_MAX)?;
                report::Record::Span(v1::SpanRecord { json: json.into() })
            }
            Self::Applied { key, version, refused } => report::Record::Applied(v1::AppliedRecord {
                kind: format!("{:?}", key.kind),
                name: key.name.to_string(),
                version: version.as_ref().map(ToString::to_string).unwrap_or_default(),
                refused: refused.as_deref().unwrap_or_default().to_owned(),
            }),
            Self::Plaintext(it) => report::Record::Plaintext(v1::PlaintextRecord {
                at: it.at,
                source: it.source.to_string(),
                destination: it.destination.to_string(),
                port: it.port.into(),
            }),
        };
        Some(v1::Report { record: Some(record) })
    }

    /// What a message says; `None` if it is not understood whole.
    pub(super) fn read(message: v1::Report) -> Option<Self> {
        Some(match message.record? {
            report::Record::Refusal(it) => {
                if it.json.len() > REFUSAL_BYTES_MAX {
                    return None;
                }
                let refusal: Refusal = serde_json::from_slice(&it.json).ok()?;
                if refusal.id.to_string() != it.id {
                    return None;
                }
                Self::Refusal(Arc::new(refusal))
            }
            report::Record::Decisions(it) => {
                let asked = Asked {
                    place: it.place.into(),
                    port: u16::try_from(it.port).ok()?,
                    address: it.address.into(),
                    protocol: it.protocol.into(),
                    method: it.method.into(),
                    host: it.host.into(),
                    path: it.path.into(),
                    object: it.object.into(),
                    user: it.user.into(),
                };
                let key = DecisionKey {
                    verdict: Verdict::from_name(&it.verdict)?,
                    reason: it.reason.into(),
                    policy: it.policy.into(),
                    rule: it.rule.into(),
                    source: it.source.into(),
                    destination: it.destination.into(),
                    asked,
                };
                key.is_bounded().then_some(())?;
                Self::Decisions(DecisionCount { minute: it.minute, key, count: it.count })
            }
            report::Record::Span(it) => {
                if it.json.len() > SPAN_BYTES_MAX {
                    return None;
                }
                let span: Span = serde_json::from_slice(&it.json).ok()?;
                span.is_bounded().then(|| Self::Span(Arc::new(span)))?
            }
            report::Record::Applied(it) => Self::Applied {
                key: Key { kind: kind(&it.kind)?, name: it.name.into() },
                version: (!it.version.is_empty()).then(|| it.version.into()),
                refused: (!it.refused.is_empty()).then(|| it.refused.into()),
            },
            report::Record::Plaintext(it) => Self::Plaintext(Plaintext {
                at: it.at,
                source: it.source.into(),
                destination: it.destination.into(),
                port: u16::try_from(it.port).ok()?,
            }),
        })
    }
}

fn kind(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| format!("{kind:?}") == name)
}
