//! Guards over the text of answers: pieces of one channel are seen as one text, and what is held back of it follows
//! before the channel ends.

use exchange::{TextWatch, Watches};
use mesh::Denial;
use serde_json::Value;

/// Keys whose texts are names and not content.
const NAMES: [&str; 15] = [
    "id",
    "type",
    "object",
    "model",
    "role",
    "status",
    "signature",
    "encrypted_content",
    "item_id",
    "call_id",
    "tool_use_id",
    "finish_reason",
    "stop_reason",
    "service_tier",
    "system_fingerprint",
];

/// The guard of one answer.
pub struct Guarded {
    watches: Watches,
    watch: Box<dyn TextWatch>,
}

impl Guarded {
    /// Begins to watch.
    pub fn new(watches: &Watches) -> Self {
        Self { watches: watches.clone(), watch: watches() }
    }

    /// More text of a channel: what may go on now.
    ///
    /// # Errors
    /// When it may not pass.
    pub fn text(&mut self, channel: &str, text: &str) -> Result<String, Denial> {
        self.watch.text(channel, text)
    }

    /// A channel has ended: what was held back of it.
    ///
    /// # Errors
    /// When it may not pass.
    pub fn end(&mut self, channel: &str) -> Result<String, Denial> {
        self.watch.end(channel)
    }

    /// Replaces every text under a value that stands there whole.
    ///
    /// # Errors
    /// When one may not pass.
    pub fn whole(&self, value: &mut Value) -> Result<(), Denial> {
        match value {
            Value::String(text) if !text.is_empty() => {
                let mut watch = (self.watches)();
                let mut seen = watch.text("whole", text)?;
                seen.push_str(&watch.end("whole")?);
                *text = seen;
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.whole(item)),
            Value::Object(object) => object
                .iter_mut()
                .filter(|(key, _)| !NAMES.contains(&key.as_str()))
                .try_for_each(|(_, value)| self.whole(value)),
            _ => Ok(()),
        }
    }
}
