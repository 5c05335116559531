//! Gateway API matching and precedence; pure.
