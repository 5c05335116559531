//! What a subscriber says of itself: for people and for features, never for what it may see.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{ListValue, Struct, Value, value::Kind};
use proto::envoy::config::core::v3::Node;

use crate::Caller;

/// Most capabilities that are read.
const CAPABILITIES_MAX: usize = 256;
/// Longest text that is kept of each thing said.
const TEXT_BYTES_MAX: usize = 256;

const VERSION: &str = "STRAIT_VERSION";
const CAPABILITIES: &str = "STRAIT_CAPABILITIES";
const SEEN: &str = "STRAIT_SEEN_AS_OF";

/// Who subscribes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberInfo {
    /// Tells streams of one publisher apart.
    pub stream: u64,
    /// Who its token proves it is.
    pub caller: Caller,
    /// What it calls itself.
    pub node_id: String,
    /// The version of its program.
    pub version: String,
    /// The features that it enforces.
    pub capabilities: BTreeSet<String>,
}

/// What a subscriber tells, as it builds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announcement {
    /// What it calls itself.
    pub node_id: String,
    /// Its cluster.
    pub cluster: String,
    /// The version of its program.
    pub version: String,
    /// The features that it enforces.
    pub capabilities: BTreeSet<String>,
    /// The source's position that it has seen: who is behind it must not answer yet.
    pub seen_as_of: Option<u64>,
}

impl Announcement {
    /// As a message.
    pub(crate) fn write(&self) -> Node {
        let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let list = ListValue { values: self.capabilities.iter().map(|it| text(it)).collect() };
        let mut fields = BTreeMap::from([
            (VERSION.to_owned(), text(&self.version)),
            (CAPABILITIES.to_owned(), Value { kind: Some(Kind::ListValue(list)) }),
        ]);
        // As text: a JSON number has too few digits for a position.
        fields.extend(self.seen_as_of.map(|seen| (SEEN.to_owned(), text(&seen.to_string()))));
        Node {
            id: self.node_id.clone(),
            cluster: self.cluster.clone(),
            metadata: Some(Struct { fields: fields.into_iter().collect() }),
        }
    }

    /// From a message; what is not there or too long is left out.
    pub(crate) fn read(node: &Node) -> Self {
        let field = |name: &str| node.metadata.as_ref()?.fields.get(name)?.kind.as_ref();
        let text = |kind: Option<&Kind>| match kind {
            Some(Kind::StringValue(text)) => bounded(text),
            _ => String::new(),
        };
        let capabilities = match field(CAPABILITIES) {
            Some(Kind::ListValue(list)) => list.values.as_slice(),
            _ => &[],
        };
        Self {
            node_id: bounded(&node.id),
            cluster: bounded(&node.cluster),
            version: text(field(VERSION)),
            capabilities: capabilities
                .iter()
                .take(CAPABILITIES_MAX)
                .map(|value| text(value.kind.as_ref()))
                .filter(|name| !name.is_empty())
                .collect(),
            seen_as_of: text(field(SEEN)).parse().ok(),
        }
    }
}

fn bounded(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_read() {
        let told = Announcement {
            node_id: "n1".to_owned(),
            cluster: "east".to_owned(),
            version: "0.1.0".to_owned(),
            capabilities: BTreeSet::from(["l4".to_owned(), "mcp".to_owned()]),
            seen_as_of: Some(u64::MAX),
        };
        assert_eq!(Announcement::read(&told.write()), told);
        assert_eq!(Announcement::read(&Node::default()), Announcement::default());
    }

    #[test]
    fn too_much_is_cut() {
        let id = "ä".repeat(TEXT_BYTES_MAX);
        let node = Node { id, ..Node::default() };
        assert_eq!(Announcement::read(&node).node_id.len(), TEXT_BYTES_MAX);
        let capabilities = (0..CAPABILITIES_MAX + 1).map(|n| format!("c{n}")).collect();
        let told = Announcement { capabilities, ..Announcement::default() };
        assert_eq!(Announcement::read(&told.write()).capabilities.len(), CAPABILITIES_MAX);
    }
}
