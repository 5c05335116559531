//! The kinds that users write: ours and those of the Gateway API that we read.
