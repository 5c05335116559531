//! The registry of a program's metrics, and label values that no caller can multiply.
//!
//! A metric stands beside what it counts and registers itself here once; the handles it keeps cost an atomic
//! addition. Names are prefixed by their owners, nothing is prefixed here.

mod series;

use std::{collections::BTreeSet, fmt, sync::Arc};

use parking_lot::{Mutex, RwLock};
use prometheus_client::{
    encoding::EncodeLabelValue, encoding::LabelValueEncoder, metrics::info::Info, registry::Registry,
};

pub use series::{Bounded, Metered, Meters, Series};

/// The label value for everything that is not known by configuration.
pub const OTHER: &str = "other";

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One program's metrics. Clones share them.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// A registry with `strait_build` information about the program in it.
    pub fn new(component: &str, version: &str) -> Self {
        let metrics = Self::default();
        let labels = [("component", component.to_owned()), ("version", version.to_owned())];
        metrics.register(|registry| {
            registry.register("strait_build", "What this program is", Info::new(Vec::from(labels)));
        });
        metrics
    }

    /// Lets an owner register what it counts; what `register` returns is handed back.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock())
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a `String` does not fail; an encoder that refuses leaves what came before it.
        if prometheus_client::encoding::text::encode(&mut text, &self.registry.lock()).is_err() {
            tracing::warn!("a metric could not be encoded");
        }
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A label value, cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelText(Arc<str>);

impl LabelText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for LabelText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl EncodeLabelValue for LabelText {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let text: &str = &self.0;
        EncodeLabelValue::encode(&text, encoder)
    }
}

/// The values that one label may have: those that configuration named, and `other`.
///
/// So the number of series depends on what was configured and never on what callers send.
#[derive(Debug)]
pub struct LabelValues {
    known: RwLock<BTreeSet<Arc<str>>>,
    other: Arc<str>,
    values_max: usize,
}

impl LabelValues {
    /// No value but `other`; `values_max` is how many can ever be known.
    pub fn new(values_max: usize) -> Self {
        Self { known: RwLock::default(), other: OTHER.into(), values_max }
    }

    /// Makes a value from configuration known. False if there is no room: it counts as `other`.
    pub fn admit(&self, value: &str) -> bool {
        let mut known = self.known.write();
        if known.contains(value) {
            return true;
        }
        known.len() < self.values_max && known.insert(value.into())
    }

    /// The value itself if it is known, else `other`.
    pub fn of(&self, value: &str) -> LabelText {
        LabelText(self.known.read().get(value).unwrap_or(&self.other).clone())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::{counter::Counter, family::Family};

    use super::*;

    #[test]
    fn what_is_registered_is_encoded() {
        let metrics = Metrics::new("ztunnel", "0.1.0");
        let counter = metrics.register(|registry| {
            let counter = Counter::<u64>::default();
            registry.register("strait_things", "Things", counter.clone());
            counter
        });
        counter.inc();
        let text = metrics.encode();
        assert!(text.contains(r#"strait_build_info{component="ztunnel",version="0.1.0"} 1"#), "{text}");
        assert!(text.contains("strait_things_total 1"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn only_configured_values_become_labels() {
        let tools = LabelValues::new(2);
        assert!(tools.admit("search") && tools.admit("search") && tools.admit("read_file"));
        assert!(!tools.admit("one_too_many"));
        assert_eq!(tools.of("search").as_str(), "search");
        assert_eq!(tools.of("one_too_many").as_str(), OTHER);
        assert_eq!(tools.of("made up by a caller").as_str(), OTHER);
    }

    #[test]
    fn a_label_text_is_escaped() {
        let metrics = Metrics::default();
        let family = Family::<Vec<(String, LabelText)>, Counter>::default();
        metrics.register(|registry| registry.register("strait_named", "Named", family.clone()));
        family.get_or_create(&vec![("tool".to_owned(), LabelText::from("a\"b\n"))]).inc();
        assert!(metrics.encode().contains(r#"tool="a\"b\n""#), "{}", metrics.encode());
    }
}
