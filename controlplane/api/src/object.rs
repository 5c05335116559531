//! Every kind that we read, as one type: what it is called, where it lives, how it is parsed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    access::{AccessPolicySpec, ClusterAccessPolicySpec},
    backend::AgentBackendSpec,
    bounded::Texts,
    catalog::ToolCatalogSpec,
    core::{NamespaceSpec, Secret, ServiceAccount, ServiceSpec},
    gateway::{GATEWAY_GROUP, GatewayClassSpec, GatewaySpec, ReferenceGrantSpec},
    guard::GuardPolicySpec,
    http_route::HttpRouteSpec,
    issuer::TokenIssuerSpec,
    link::ClusterLinkSpec,
    mcs::{ServiceExportSpec, ServiceImportSpec},
    metadata::{DEFAULT_NAMESPACE, Metadata, Optional, Resource},
    quota::QuotaPolicySpec,
    revocation::RevocationSpec,
    traffic::MeshTrafficPolicySpec,
    workload::MeshWorkloadSpec,
};

/// The API group of our own kinds.
pub const GROUP: &str = "strait.dev";
/// The group of the Multi-Cluster Services API.
pub const MCS_GROUP: &str = "multicluster.x-k8s.io";

/// Whether objects of a kind live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($content:ty) = $text:literal, $group:expr, [$($version:literal),+], $scope:ident;)*) => {
        /// A kind that we read. The order is that in which kinds are best read by people.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind that we read.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// As it is written in `kind`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $text,)* }
            }

            /// Its API group; empty for the core group.
            pub fn group(self) -> &'static str {
                match self { $(Self::$kind => $group,)* }
            }

            /// The versions that we read, newest first.
            pub fn versions(self) -> &'static [&'static str] {
                match self { $(Self::$kind => &[$($version),+],)* }
            }

            /// Whether its objects live in namespaces.
            pub fn scope(self) -> Scope {
                match self { $(Self::$kind => Scope::$scope,)* }
            }
        }

        /// An object of any kind that we read.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, clippy::large_enum_variant)]
        pub enum Object {
            $($kind($content),)*
        }

        impl Object {
            /// Parses an object of a known kind; nothing that is unknown passes.
            ///
            /// # Errors
            /// Those of the deserializer.
            pub fn decode<'de, D: Deserializer<'de>>(kind: Kind, from: D) -> Result<Self, D::Error> {
                match kind { $(Kind::$kind => <$content>::deserialize(from).map(Self::$kind),)* }
            }

            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }

            /// Its metadata as written.
            pub fn metadata(&self) -> &Metadata {
                match self { $(Self::$kind(object) => &object.metadata,)* }
            }

            /// Group and version as written.
            pub fn api_version(&self) -> &str {
                match self { $(Self::$kind(object) => &object.api_version,)* }
            }
        }

        /// As it is written in YAML or JSON.
        impl Serialize for Object {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$kind(object) => object.serialize(to),)* }
            }
        }
    };
}

kinds! {
    /// A namespace.
    Namespace(Optional<NamespaceSpec>) = "Namespace", "", ["v1"], Cluster;
    /// A service account.
    ServiceAccount(ServiceAccount) = "ServiceAccount", "", ["v1"], Namespaced;
    /// A service.
    Service(Resource<ServiceSpec>) = "Service", "", ["v1"], Namespaced;
    /// A secret.
    Secret(Secret) = "Secret", "", ["v1"], Namespaced;
    /// A class of gateways.
    GatewayClass(Resource<GatewayClassSpec>) = "GatewayClass", GATEWAY_GROUP, ["v1", "v1beta1"], Cluster;
    /// A gateway.
    Gateway(Resource<GatewaySpec>) = "Gateway", GATEWAY_GROUP, ["v1", "v1beta1"], Namespaced;
    /// A route of HTTP.
    HttpRoute(Resource<HttpRouteSpec>) = "HTTPRoute", GATEWAY_GROUP, ["v1", "v1beta1"], Namespaced;
    /// A permission to name objects of another namespace.
    ReferenceGrant(Resource<ReferenceGrantSpec>) = "ReferenceGrant", GATEWAY_GROUP, ["v1", "v1beta1"], Namespaced;
    /// An export of a service.
    ServiceExport(Optional<ServiceExportSpec>) = "ServiceExport", MCS_GROUP, ["v1beta1", "v1alpha1"], Namespaced;
    /// An import of a service.
    ServiceImport(Resource<ServiceImportSpec>) = "ServiceImport", MCS_GROUP, ["v1beta1", "v1alpha1"], Namespaced;
    /// Who may do what.
    AccessPolicy(Resource<AccessPolicySpec>) = "AccessPolicy", GROUP, ["v1alpha1"], Namespaced;
    /// What namespaces may grant.
    ClusterAccessPolicy(Resource<ClusterAccessPolicySpec>) = "ClusterAccessPolicy", GROUP, ["v1alpha1"], Cluster;
    /// What content may pass.
    GuardPolicy(Resource<GuardPolicySpec>) = "GuardPolicy", GROUP, ["v1alpha1"], Namespaced;
    /// How much may be used.
    QuotaPolicy(Resource<QuotaPolicySpec>) = "QuotaPolicy", GROUP, ["v1alpha1"], Namespaced;
    /// Something to talk to that is not a Service.
    AgentBackend(Resource<AgentBackendSpec>) = "AgentBackend", GROUP, ["v1alpha1"], Namespaced;
    /// Which tools were approved.
    ToolCatalog(Resource<ToolCatalogSpec>) = "ToolCatalog", GROUP, ["v1alpha1"], Namespaced;
    /// Who issues tokens of users.
    TokenIssuer(Resource<TokenIssuerSpec>) = "TokenIssuer", GROUP, ["v1alpha1"], Cluster;
    /// How requests are delivered.
    MeshTrafficPolicy(Resource<MeshTrafficPolicySpec>) = "MeshTrafficPolicy", GROUP, ["v1alpha1"], Namespaced;
    /// A process outside Kubernetes.
    MeshWorkload(Resource<MeshWorkloadSpec>) = "MeshWorkload", GROUP, ["v1alpha1"], Namespaced;
    /// Another cluster.
    ClusterLink(Resource<ClusterLinkSpec>) = "ClusterLink", GROUP, ["v1alpha1"], Cluster;
    /// An identity that must stop.
    Revocation(Resource<RevocationSpec>) = "Revocation", GROUP, ["v1alpha1"], Cluster;
}

/// Kinds that we know of and do not build yet: they are refused by that reason.
pub const NOT_BUILT_YET: &[(&str, &str)] = &[
    (GATEWAY_GROUP, "GRPCRoute"),
    (GATEWAY_GROUP, "TLSRoute"),
    (GATEWAY_GROUP, "TCPRoute"),
    (GATEWAY_GROUP, "UDPRoute"),
    (GATEWAY_GROUP, "ListenerSet"),
    (GATEWAY_GROUP, "BackendTLSPolicy"),
    ("gateway.networking.x-k8s.io", "XBackend"),
    ("gateway.networking.x-k8s.io", "XBackendTrafficPolicy"),
    ("gateway.networking.x-k8s.io", "XTelemetryPolicy"),
    ("gateway.networking.x-k8s.io", "XListenerSet"),
    ("gateway.networking.x-k8s.io", "XMesh"),
    ("inference.networking.k8s.io", "InferencePool"),
    ("agentic.networking.x-k8s.io", "XAccessPolicy"),
];

/// Why `apiVersion` and `kind` name nothing that we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// It is known, and not built yet.
    #[error("{0} is not built yet")]
    NotBuiltYet(String),
    /// The kind is known, in other versions.
    #[error("{kind} is not read in version {found:?}; write apiVersion: {wanted}")]
    Version {
        /// The kind.
        kind: Kind,
        /// What was written.
        found: String,
        /// What is read.
        wanted: String,
    },
    /// It is not known.
    #[error("{kind} of {api_version:?} is not a kind that is read here")]
    Unknown {
        /// What was written as `apiVersion`.
        api_version: String,
        /// What was written as `kind`.
        kind: String,
        /// What may be meant.
        nearest: Option<Kind>,
    },
}

impl Kind {
    /// The kind that `apiVersion` and `kind` name.
    ///
    /// # Errors
    /// When it is not one that we read, in one of the versions that we read.
    pub fn named(api_version: &str, kind: &str) -> Result<Self, KindError> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        if let Some(found) =
            Self::ALL.iter().copied().find(|known| known.as_str() == kind && known.group() == group)
        {
            return match found.versions().contains(&version) {
                true => Ok(found),
                false => Err(KindError::Version {
                    kind: found,
                    found: version.to_owned(),
                    wanted: found.api_version(),
                }),
            };
        }
        if NOT_BUILT_YET.contains(&(group, kind)) {
            return Err(KindError::NotBuiltYet(kind.to_owned()));
        }
        let nearest = Self::ALL.iter().copied().find(|known| known.as_str().eq_ignore_ascii_case(kind));
        Err(KindError::Unknown { api_version: api_version.to_owned(), kind: kind.to_owned(), nearest })
    }

    /// What `apiVersion` says of it: the newest version that we read.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.versions()[0].to_owned(),
            group => format!("{group}/{}", self.versions()[0]),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// No kind that we read has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind that is read here")]
pub struct UnknownKind(String);

/// By its name alone, whatever its group: names that we read are unique.
impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().copied().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| UnknownKind(text.chars().take(64).collect()))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What names an object among all that we read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Name {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Name {
    /// Names an object; `namespace` is empty for cluster-scoped kinds.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// As people write it: `AccessPolicy shop/tools-grants`, `ClusterLink west`.
impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => write!(out, "{} {}", self.kind, self.name),
            false => write!(out, "{} {}/{}", self.kind, self.namespace, self.name),
        }
    }
}

impl Object {
    /// Its namespace: empty for cluster-scoped kinds, `default` where none is written.
    pub fn namespace(&self) -> &str {
        match self.kind().scope() {
            Scope::Cluster => "",
            Scope::Namespaced => self.metadata().namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE),
        }
    }

    /// What names it.
    pub fn name(&self) -> Name {
        Name::new(self.kind(), self.namespace(), &self.metadata().name)
    }

    /// Its labels.
    pub fn labels(&self) -> &Texts {
        &self.metadata().labels
    }

    /// Its annotations.
    pub fn annotations(&self) -> &Texts {
        &self.metadata().annotations
    }

    /// When it was made, where that is known; such texts sort by time.
    pub fn created(&self) -> Option<&str> {
        self.metadata().creation_timestamp.as_deref()
    }

    /// Parses an object of any kind that we read from JSON.
    ///
    /// # Errors
    /// What `apiVersion` and `kind` lack, or what the parser says.
    pub fn from_json(value: serde_json::Value) -> Result<Self, DecodeError> {
        let text =
            |field: &str| value.get(field).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let kind = Kind::named(&text("apiVersion"), &text("kind"))?;
        Ok(Self::decode(kind, value)?)
    }
}

/// Why JSON is no object.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It says no kind that we read.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// Its content is not that of its kind.
    #[error(transparent)]
    Content(#[from] serde_json::Error),
}

/// An object is stored and read again as it is written.
impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::from_json(serde_json::Value::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}
