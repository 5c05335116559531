//! `ClusterLink`: another cluster, and what passes between it and this one.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    access::IDENTITY_MAX,
    bounded::{List, Text},
    status::Condition,
};

/// A SPIFFE identity.
pub type IdentityText = Text<IDENTITY_MAX>;

/// Another cluster.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "ClusterLink",
    category = "strait",
    status = "ClusterLinkStatus",
    doc = "Another cluster, and what passes between it and this one.",
    printcolumn(name = "Trust-Domain", type_ = "string", json_path = ".spec.trustDomain"),
    printcolumn(name = "Bundle-Age", type_ = "date", json_path = ".status.bundleFetched"),
    printcolumn(name = "Imported", type_ = "integer", json_path = ".status.imported"),
    printcolumn(name = "Exported", type_ = "integer", json_path = ".status.exported"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.controlPlane) || self.controlPlane.identity.startsWith('spiffe://' + self.trustDomain + '/')")
        .message("the identity of the control plane is not of the link's trust domain"),
    validation = Rule::new("!has(self.gateways) || self.gateways.all(g, g.identity.startsWith('spiffe://' + self.trustDomain + '/'))")
        .message("the identity of a gateway is not of the link's trust domain"),
    validation = Rule::new("!has(self.vouchers) || self.vouchers.all(v, v.startsWith('spiffe://' + self.trustDomain + '/'))")
        .message("the identity of a voucher is not of the link's trust domain")
)]
pub struct ClusterLinkSpec {
    /// Its trust domain.
    #[schemars(regex(pattern = r"^[-a-z0-9._]+$"))]
    pub trust_domain: Text<255>,
    /// Where its roots are fetched, and what the first fetch must find.
    pub bundle: BundleSource,
    /// The only peer whose export stream is read.
    pub control_plane: RemoteControlPlane,
    /// The gateways through which its services are reached.
    #[serde(default)]
    pub gateways: List<RemoteGateway, 16, 0>,
    /// Its waypoints whose word about callers is taken here.
    #[serde(default)]
    #[schemars(inner(regex(
        pattern = r"^spiffe://[-a-z0-9._]+(/([.]*[-A-Za-z0-9_][-A-Za-z0-9._]*|[.]{3,}))+$"
    )))]
    pub vouchers: List<IdentityText, 64, 0>,
    /// What of it is taken over here; nothing by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<Import>,
    /// What it is told of ours; nothing by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
}

/// Where a trust domain's roots are fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleSource {
    /// An https URL.
    #[x_kube(
        validation = Rule::new("isURL(self) && url(self).getScheme() == 'https'")
            .message("the endpoint is an https URL, for example https://203.0.113.7:15012/bundle")
    )]
    pub endpoint: Text<2048>,
    /// `sha256:` and the digest, in hex, of the public key (SPKI) of the root that signed the endpoint's
    /// certificate. Needed for the first fetch only.
    #[schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub pin: Text<71>,
}

/// The control plane of another cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoteControlPlane {
    /// Address and port.
    #[schemars(regex(pattern = r"^([-a-zA-Z0-9.]+|\[[0-9a-fA-F:.]+\]):[1-9][0-9]{0,4}$"))]
    pub address: Text<300>,
    /// The identity that it must prove.
    #[schemars(regex(pattern = r"^spiffe://[-a-z0-9._]+(/([.]*[-A-Za-z0-9_][-A-Za-z0-9._]*|[.]{3,}))+$"))]
    pub identity: IdentityText,
}

/// An east-west gateway of another cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoteGateway {
    /// Its IP address.
    #[x_kube(validation = Rule::new("isIP(self)").message("an address is an IP address"))]
    pub address: Text<45>,
    /// Its port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The identity that it must prove.
    #[schemars(regex(pattern = r"^spiffe://[-a-z0-9._]+(/([.]*[-A-Za-z0-9_][-A-Za-z0-9._]*|[.]{3,}))+$"))]
    pub identity: IdentityText,
}

/// What of another cluster is taken over here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Import {
    /// Its namespaces, and what they are here.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("self.all(n, self.exists_one(m, m.remote == n.remote))")
            .message("a remote namespace stands there once")
    )]
    pub namespaces: List<NamespaceMapping, 256, 0>,
}

/// A namespace there, and the one that it is here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceMapping {
    /// The namespace there.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub remote: Text<63>,
    /// The namespace here.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub local: Text<63>,
}

/// What another cluster is told of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Export {
    /// Namespaces whose Services with a ServiceExport it is told of.
    #[serde(default)]
    #[schemars(inner(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")))]
    pub namespaces: List<Text<63>, 256, 0>,
}

/// The status of a `ClusterLink`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterLinkStatus {
    /// When the live bundle was fetched last, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"), length(max = 64))]
    pub bundle_fetched: Option<String>,
    /// The live bundle, as SPIFFE writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262144))]
    pub bundle: Option<String>,
    /// How many services are taken over from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub imported: Option<i64>,
    /// How many services it is told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub exported: Option<i64>,
    /// What is so.
    #[serde(default)]
    pub conditions: List<Condition, 8, 0>,
}
