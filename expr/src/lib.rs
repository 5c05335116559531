//! CEL, bounded, compiled when it arrives.
