//! The program's log: one subscriber for the process, text or JSON on stderr, its level changeable while it runs.
//!
//! The access log is a channel of its own (`access_log`): it has one line for each connection, bounded and lossy.

use std::{fmt, io, str::FromStr, sync::OnceLock};

use parking_lot::Mutex;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt, util::TryInitError,
};

/// Longest filter that is accepted, in bytes.
pub const FILTER_BYTES_MAX: usize = 1024;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is no log format: text or json")),
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Config {
    /// How a line is written.
    pub format: Format,
    /// What is logged, for example `info` or `info,ztunnel=debug`.
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { format: Format::Text, filter: "info".to_owned() }
    }
}

/// Why the log could not be started or its filter not be changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is too long.
    #[error("a log filter has at most {FILTER_BYTES_MAX} bytes, this one has {0}")]
    FilterTooLong(usize),
    /// The filter does not parse.
    #[error("{filter:?} is no log filter (such as `info` or `info,ztunnel=debug`)")]
    Filter {
        /// The text.
        filter: String,
        /// What is wrong with it.
        #[source]
        cause: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else already installed a subscriber in this process.
    #[error("the process already has a log")]
    Taken(#[source] TryInitError),
    /// The log is gone.
    #[error("the log is gone")]
    Gone(#[source] reload::Error),
}

/// The level of the running log.
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    text: Mutex<String>,
}

impl fmt::Debug for Logging {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Logging").field("filter", &self.filter()).finish_non_exhaustive()
    }
}

static LOGGING: OnceLock<Logging> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

/// Starts the log of the process, or hands out the one that runs (whose configuration then stays as it is).
///
/// # Errors
/// When the filter does not parse, or a foreign subscriber is installed.
pub fn init(config: &Config) -> Result<&'static Logging, LogError> {
    let _one_at_a_time = STARTING.lock();
    if let Some(running) = LOGGING.get() {
        return Ok(running);
    }
    let (filter, handle) = reload::Layer::new(parse(&config.filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    let lines = match config.format {
        Format::Text => lines.boxed(),
        Format::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(LogError::Taken)?;
    Ok(LOGGING.get_or_init(|| Logging { filter: handle, text: Mutex::new(config.filter.clone()) }))
}

impl Logging {
    /// What is logged now.
    pub fn filter(&self) -> String {
        self.text.lock().clone()
    }

    /// Changes what is logged, from the next event on.
    ///
    /// # Errors
    /// When the filter does not parse; then the old one stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse(filter)?;
        let mut text = self.text.lock();
        self.filter.reload(parsed).map_err(LogError::Gone)?;
        filter.clone_into(&mut text);
        Ok(())
    }
}

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    if filter.len() > FILTER_BYTES_MAX {
        return Err(LogError::FilterTooLong(filter.len()));
    }
    EnvFilter::builder().parse(filter).map_err(|cause| LogError::Filter { filter: filter.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_text_or_json() {
        assert_eq!("text".parse(), Ok(Format::Text));
        assert_eq!("json".parse(), Ok(Format::Json));
        assert!("xml".parse::<Format>().is_err());
    }
}
