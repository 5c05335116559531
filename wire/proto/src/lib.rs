//! Generated protocol messages, nothing else.
