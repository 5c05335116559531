//! What policies of both kinds are made of: rules, and who calls.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{
    limits::{EXPRESSION_MAX, IDENTITY_MAX},
    operation::Operation,
};
use crate::{
    bounded::{List, Map, Text},
    refs::{LabelSelector, NameText},
};

/// Whether a policy is enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It decides what would be, and only reports it.
    Audit,
}

/// A rule: who, at what, when. The three must hold together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRule {
    /// Its name, which refusals tell.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Text<63>,
    /// Who: any entry is enough.
    #[x_kube(
        validation = Rule::new("self.all(f, has(f.serviceAccounts) || has(f.serviceAccountSelector) || has(f.namespaces) || has(f.trustDomain) || has(f.identities) || has(f.ipBlocks) || has(f.user) || has(f.anyone))")
            .message("an entry says at least one thing; `anyone: true` is everybody"),
        validation = Rule::new("self.all(f, !has(f.anyone) || !(has(f.serviceAccounts) || has(f.serviceAccountSelector) || has(f.namespaces) || has(f.trustDomain) || has(f.identities) || has(f.ipBlocks) || has(f.user)))")
            .message("`anyone` stands alone in its entry"),
        validation = Rule::new("self.all(f, !has(f.serviceAccountSelector) || !has(f.trustDomain))")
            .message("labels of service accounts are known in the own trust domain only: serviceAccountSelector and trustDomain exclude each other"),
        validation = Rule::new("self.all(f, !has(f.trustDomain) || !has(f.identities) || f.identities.all(i, i.startsWith('spiffe://' + f.trustDomain + '/')))")
            .message("identities of another trust domain than trustDomain match nobody")
    )]
    pub from: List<Source, 8>,
    /// What: any entry is enough; left out, it is everything at the target.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(t, has(t.ports) || has(t.http) || has(t.mcp) || has(t.a2a) || has(t.llm))")
            .message("an entry says at least one thing"),
        validation = Rule::new("self.all(t, [has(t.mcp), has(t.a2a), has(t.llm)].filter(x, x).size() <= 1)")
            .message("no message is of two of mcp, a2a and llm: give each an entry of its own")
    )]
    pub to: List<Operation, 8>,
    /// A CEL expression over the request, which must be true as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Text<EXPRESSION_MAX>>,
}

/// Who calls. The fields that are there must hold together; in a list, any item is enough.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// `namespace/name`.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(
        pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"
    )))]
    pub service_accounts: List<Text<317>, 64>,
    /// Service accounts by their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_selector: Option<LabelSelector>,
    /// Namespaces.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")))]
    pub namespaces: List<Text<63>, 64>,
    /// The trust domain in which the names of this entry are meant; left out, it is the target's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[-a-z0-9._]+$"))]
    pub trust_domain: Option<Text<240>>,
    /// SPIFFE identities; `*` is one whole segment, `**` the rest, only at the end.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(
        pattern = r"^spiffe://[-a-z0-9._]+(/([*]|([.]*[-A-Za-z0-9_][-A-Za-z0-9._]*|[.]{3,})))*/([*][*]?|([.]*[-A-Za-z0-9_][-A-Za-z0-9._]*|[.]{3,}))$"
    )))]
    pub identities: List<Text<IDENTITY_MAX>, 64>,
    /// Addresses, as CIDR.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(s, isCIDR(s) && cidr(s).masked() == cidr(s))")
            .message("an ipBlock is a CIDR without host bits, for example 10.0.0.0/8")
    )]
    pub ip_blocks: List<Text<64>, 64>,
    /// A user whose token was verified. A Deny matches also when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// Everybody, even without an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("anyone is true or left out"))]
    pub anyone: Option<bool>,
}

/// A user whose token was verified. The fields that are there must hold together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// The `TokenIssuer`, by its name.
    #[schemars(regex(
        pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"
    ))]
    pub issuer: NameText,
    /// An audience that the token was issued for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Text<1024>>,
    /// Claims by name, each with the values of which one is enough; dots lead into objects, and of a claim that is a
    /// list one item is enough.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub claims: Map<List<Text<1024>, 64>, 16>,
    /// Scopes; all are needed.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^\S+$")))]
    pub scopes: List<Text<1024>, 64>,
}
