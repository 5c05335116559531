//! What bounds every policy of access.

/// Most rules of one policy.
pub const RULES_MAX: usize = 64;
/// Longest SPIFFE identity or pattern (SPIFFE ID standard, section 2.3).
pub const IDENTITY_MAX: usize = 2048;
/// Longest regular expression or CEL expression.
pub const EXPRESSION_MAX: usize = 1024;
