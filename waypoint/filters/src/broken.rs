//! Why what a route says of filters cannot be done.

/// Why a rule's filters cannot be realised. The rule then answers 500.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenFilter {
    /// No header name.
    #[error("{0:?} is no header name")]
    HeaderName(String),
    /// No header value.
    #[error("{0:?} cannot stand in a header")]
    HeaderValue(String),
    /// No redirect.
    #[error("{0} is no status of a redirect")]
    RedirectStatus(u16),
    /// No scheme.
    #[error("{0:?} is no scheme: http or https")]
    Scheme(String),
    /// No host.
    #[error("{0:?} is no host")]
    Host(String),
    /// No path.
    #[error("{0:?} is no path")]
    Path(String),
    /// A mirror of more than all, or of none in none.
    #[error("a mirror of {numerator} in {denominator} is not possible")]
    Fraction {
        /// How many.
        numerator: u32,
        /// Of how many.
        denominator: u32,
    },
}
