//! `GatewayClass`, `Gateway` and `ReferenceGrant` of Gateway API 1.7, as far as we read them.
//!
//! Fields that exist there and that we do not build yet are parsed, so that `admit` can refuse them by
//! name; fields that do not exist there are refused by the parser.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    bounded::{List, Text, Texts},
    refs::{LabelSelector, NameText},
};

/// The API group of Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The class of gateways between the cluster and the world.
pub const CLASS_GATEWAY: &str = "strait";
/// The class of waypoints.
pub const CLASS_WAYPOINT: &str = "strait-waypoint";
/// The class of gateways between clusters.
pub const CLASS_EAST_WEST: &str = "strait-east-west";

/// Who serves the Gateways of a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayClassSpec {
    /// Who serves them: [`crate::status::CONTROLLER_NAME`] is us.
    pub controller_name: NameText,
    /// Parameters. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<Value>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A gateway: a class and listeners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewaySpec {
    /// The class.
    pub gateway_class_name: NameText,
    /// Where it listens.
    pub listeners: List<GatewayListener, 64>,
    /// Addresses that are asked for.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub addresses: List<GatewayAddress, 16, 0>,
    /// Labels, annotations and parameters of what is provisioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<Infrastructure>,
    /// Which ListenerSets may attach. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_listeners: Option<Value>,
    /// TLS of clients and to backends, for all listeners. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Value>,
    /// Whether it takes routes that name no parent. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<Value>,
}

/// A listener of a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayListener {
    /// Its name.
    pub name: NameText,
    /// The host that requests must name; `*.` matches every name below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<NameText>,
    /// The port.
    pub port: u16,
    /// What it speaks: `HTTP`, `HTTPS`, `TLS`, `TCP`, `UDP`, or a name with a domain, as `strait.dev/HBONE`.
    pub protocol: Text<255>,
    /// TLS of a listener of `HTTPS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Which routes may attach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<AllowedRoutes>,
}

/// TLS of a listener.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerTls {
    /// Whether TLS ends here; `Terminate` if left out. `Passthrough` is not built yet.
    #[serde(default)]
    pub mode: TlsMode,
    /// Secrets of type `kubernetes.io/tls`; of several, the first that has the name that was asked for is served.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub certificate_refs: List<SecretObjectRef, 64, 0>,
    /// What an implementation adds. We add nothing.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub options: Texts,
}

/// Whether TLS ends at a listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TlsMode {
    /// It ends here.
    #[default]
    Terminate,
    /// It goes on to the backend. Not built yet.
    Passthrough,
}

/// An object that holds a certificate; a Secret, where nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretObjectRef {
    /// Its API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Its kind.
    #[serde(default = "secret_kind")]
    pub kind: Text<63>,
    /// Its name.
    pub name: NameText,
    /// Its namespace, if it is another; a ReferenceGrant there must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NameText>,
}

fn secret_kind() -> Text<63> {
    Text::new("Secret").expect("it has six characters")
}

/// Which routes may attach to a listener.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedRoutes {
    /// Of which namespaces; left out, of the Gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<RouteNamespaces>,
    /// Of which kinds; left out, of those that fit the protocol.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub kinds: List<RouteKind, 8, 0>,
}

/// Of which namespaces routes may attach.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteNamespaces {
    /// How they are chosen.
    #[serde(default)]
    pub from: FromNamespaces,
    /// The labels of `Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How namespaces are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FromNamespaces {
    /// Every namespace.
    All,
    /// By labels.
    Selector,
    /// The Gateway's own.
    #[default]
    Same,
    /// None.
    None,
}

/// A kind of route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteKind {
    /// Its API group.
    #[serde(default = "gateway_group")]
    pub group: String,
    /// The kind.
    pub kind: Text<63>,
}

pub(crate) fn gateway_group() -> String {
    GATEWAY_GROUP.to_owned()
}

/// An address that a gateway asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayAddress {
    /// `IPAddress` or `Hostname`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<NameText>,
    /// The address; left out, any of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<NameText>,
}

/// Labels, annotations and parameters of what is provisioned for a gateway.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Infrastructure {
    /// Labels.
    #[serde(default)]
    pub labels: Texts,
    /// Annotations.
    #[serde(default)]
    pub annotations: Texts,
    /// Parameters. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<Value>,
}

/// Allows objects of other namespaces to name objects of this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReferenceGrantSpec {
    /// Who may name.
    pub from: List<GrantFrom, 16>,
    /// What may be named.
    pub to: List<GrantTo, 16>,
}

/// Objects of a kind in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantFrom {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: Text<63>,
    /// The namespace.
    pub namespace: Text<63>,
}

/// Objects of a kind, or one of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantTo {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: Text<63>,
    /// The name; left out, every object of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<NameText>,
}
