//! The log of a container as the runtime interface of Kubernetes has it.
//!
//! A line is `<RFC3339Nano> <stdout|stderr> <F|P> <text>`; `P` marks a part of a line that was too
//! long or not ended yet.
