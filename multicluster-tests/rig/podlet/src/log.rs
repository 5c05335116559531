//! The log of a container as the runtime interface of Kubernetes has it.
//!
//! A line is `<RFC3339Nano> <stdout|stderr> <F|P> <text>`; `P` marks a part of a line that was too
//! long to stand in one. The shim writes ([`Writer`]), the kubelet's API reads ([`Reader`]); they
//! share only the files, so that either may be replaced while the other goes on.

mod files;
mod line;
mod reader;
mod select;
mod tail;
mod writer;

pub use line::{Source, TEXT_LENGTH_MAX};
pub use reader::{Ended, ReadError, Reader};
pub use select::Selection;
pub use writer::{FILE_LENGTH_MAX, FILES_MAX, Writer};
