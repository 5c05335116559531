//! Generated protocol messages, nothing else.
//!
//! One module for each protobuf package. The texts under `proto/` are ours; names and field numbers are those of
//! the protocols they speak.

#![allow(missing_docs, unreachable_pub, clippy::all)]

/// Packages of Istio.
pub mod istio {
    /// Version 1.
    pub mod v1 {
        /// Certificates for workloads.
        pub mod auth {
            tonic::include_proto!("istio.v1.auth");
        }
    }
}
