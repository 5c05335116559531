//! Generated protocol messages, nothing else.
//!
//! One module for each protobuf package. The texts under `proto/` are ours; names and field numbers are those of
//! the protocols they speak.

#![allow(missing_docs, unreachable_pub, clippy::all)]

/// Packages of Envoy, as far as delta discovery needs them.
pub mod envoy {
    /// Configuration.
    pub mod config {
        /// Core.
        pub mod core {
            /// Version 3.
            pub mod v3 {
                tonic::include_proto!("envoy.config.core.v3");
            }
        }
    }
    /// Services.
    pub mod service {
        /// Authorization.
        pub mod auth {
            /// Version 3.
            pub mod v3 {
                tonic::include_proto!("envoy.service.auth.v3");
            }
        }
        /// Discovery.
        pub mod discovery {
            /// Version 3.
            pub mod v3 {
                tonic::include_proto!("envoy.service.discovery.v3");
            }
        }
    }
}

/// Packages of Google's common protocols.
pub mod google {
    /// Remote procedure calls.
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}

/// Our own packages.
pub mod strait {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("strait.v1");
    }
}

/// Packages of Istio.
pub mod istio {
    /// Workloads and services.
    pub mod workload {
        tonic::include_proto!("istio.workload");
    }
    /// Version 1.
    pub mod v1 {
        /// Certificates for workloads.
        pub mod auth {
            tonic::include_proto!("istio.v1.auth");
        }
    }
}
