//! Guards over text that arrives in pieces.

use std::sync::Arc;

use mesh::Denial;

/// Watches the text of one exchange's answer. What it lets through may come later than it was given.
pub trait TextWatch: Send {
    /// More text of a channel (a choice, a block, a tool call): what may go on now.
    ///
    /// # Errors
    /// When what was found may not pass. The answer ends there.
    fn text(&mut self, channel: &str, text: &str) -> Result<String, Denial>;

    /// A channel has ended: what was held back of it.
    ///
    /// # Errors
    /// As [`TextWatch::text`].
    fn end(&mut self, channel: &str) -> Result<String, Denial>;
}

/// Makes a watch for one answer.
pub type Watches = Arc<dyn Fn() -> Box<dyn TextWatch> + Send + Sync>;
