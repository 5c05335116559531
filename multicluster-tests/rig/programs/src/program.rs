//! The programs by name, and the set that each is made with.

use crate::recipe::Set;

/// A program that the rig can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// The store of the API server.
    Etcd,
    /// The API server of Kubernetes.
    KubeApiserver,
    /// The controllers of Kubernetes.
    KubeControllerManager,
    /// The scheduler of Kubernetes.
    KubeScheduler,
    /// What programs Services on a node.
    KubeProxy,
    /// The command line of Kubernetes.
    Kubectl,
    /// The installer of charts.
    Helm,
    /// The DNS server of a cluster.
    CoreDns,
    /// The echo server of the Gateway API's suite for gateways.
    EchoBasic,
    /// The client that the Gateway API's suite runs in pods of a mesh.
    EchoClient,
    /// The server that the Gateway API's suite runs in pods of a mesh.
    EchoServer,
    /// The conformance suite of the Gateway API.
    GatewayConformance,
    /// A container that does nothing until it is told to end.
    Pause,
}

impl Program {
    /// Every program.
    pub const ALL: [Self; 13] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::KubeProxy,
        Self::Kubectl,
        Self::Helm,
        Self::CoreDns,
        Self::EchoBasic,
        Self::EchoClient,
        Self::EchoServer,
        Self::GatewayConformance,
        Self::Pause,
    ];

    /// The name of its file. The programs of Kubernetes know by it what they are.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::KubeProxy => "kube-proxy",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::CoreDns => "coredns",
            Self::EchoBasic => "echo-basic",
            Self::EchoClient => "echo-client",
            Self::EchoServer => "echo-server",
            Self::GatewayConformance => "gateway-conformance",
            Self::Pause => "pause",
        }
    }

    /// The set that it is made with.
    pub(crate) fn set(self) -> Set {
        match self {
            Self::Etcd
            | Self::KubeApiserver
            | Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::KubeProxy => Set::Kubernetes,
            Self::Kubectl | Self::Helm => Set::Tools,
            Self::CoreDns => Set::CoreDns,
            Self::EchoBasic | Self::GatewayConformance => Set::GatewayApi,
            Self::EchoClient | Self::EchoServer => Set::Echo,
            Self::Pause => Set::Pause,
        }
    }

    /// Whether `KUBEBUILDER_ASSETS` may bring it: what setup-envtest puts there.
    pub(crate) fn is_asset(self) -> bool {
        matches!(self, Self::Etcd | Self::KubeApiserver | Self::Kubectl)
    }
}
