//! What can be known of a connection or request when it is judged.
//!
//! `transport` and `exchange` gather facts, the protocol crates parse them, `access` judges them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use serde_json::Value;

use crate::{identity::Identity, resource::ToolAccess};

/// How much is known of who opened a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Proven by its certificate, or vouched for. Only this satisfies an Allow on identity.
    Verified(Identity),
    /// The owner of the source address; not proven.
    Unverified(Identity),
    /// Nobody we know.
    Unknown,
}

impl Peer {
    /// The proven identity.
    pub fn verified(&self) -> Option<&Identity> {
        match self {
            Self::Verified(identity) => Some(identity),
            Self::Unverified(_) | Self::Unknown => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified(identity) => identity.fmt(out),
            Self::Unverified(identity) => write!(out, "{identity} (not proven)"),
            Self::Unknown => out.write_str("unknown"),
        }
    }
}

/// On whose behalf bytes arrive. One CONNECT stream carries bytes of exactly one caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The workload.
    pub workload: Peer,
    /// The waypoint that vouched for it; without one, `workload` is the TLS peer.
    pub by: Option<Identity>,
}

/// A sort of facts: known, not of this exchange, or beyond reach.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact<T> {
    /// Known.
    Known(T),
    /// Could not be had: body too large, not parseable, or judged where this protocol is not read.
    /// A Deny that asks for it matches, an Allow does not.
    Missing(&'static str),
    /// Read, and this exchange is not of that protocol: no term on it matches, in Allow or Deny.
    NotApplicable,
}

impl<T> Fact<T> {
    /// The facts, if known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(facts) => Some(facts),
            Self::Missing(_) | Self::NotApplicable => None,
        }
    }
}

/// Everything a judgement may read.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Who.
    pub caller: Caller,
    /// The address that the caller connected from, if known.
    pub source_address: Option<IpAddr>,
    /// The port that was addressed: of the workload or of the service, as the set judged is.
    pub port: u16,
    /// The HTTP request.
    pub http: Fact<HttpFacts>,
    /// The MCP message.
    pub mcp: Fact<McpFacts>,
    /// The A2A message.
    pub a2a: Fact<A2aFacts>,
    /// The call of a model.
    pub llm: Fact<LlmFacts>,
    /// The person or program behind the request, proven by a token. `None`: there is none, or it was not looked for.
    pub user: Option<Arc<User>>,
}

/// A user whose token was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// The issuer, by the name of its `TokenIssuer`.
    pub issuer: Arc<str>,
    /// The subject, unique in the issuer.
    pub subject: Arc<str>,
    /// For whom the token was issued.
    pub audiences: Vec<Arc<str>>,
    /// What it was issued for (`scope`, split at blanks, or `scp`).
    pub scopes: BTreeSet<Arc<str>>,
    /// All claims, an object.
    pub claims: Arc<Value>,
}

/// What can be known of an A2A message. Methods have the names of A2A 1.0 whichever version is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct A2aFacts {
    /// The method, for example `SendMessage`; [`A2aFacts::CARD`] for the agent's card.
    pub method: Arc<str>,
    /// The tenant, if one is named.
    pub tenant: Option<Arc<str>>,
    /// The skill.
    pub skill: Skill,
}

impl A2aFacts {
    /// The method by which the public card is read. Any grant of the protocol brings it; the card is filtered.
    pub const CARD: &'static str = "GetAgentCard";
}

/// How the skill of an A2A message is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skill {
    /// The agent does not declare where its messages say it: conditions on skills then only filter the card.
    NotDeclared,
    /// The agent declares where, and the message does not say it there.
    Missing,
    /// The message asks for this skill.
    Called(Arc<str>),
    /// The card is being filtered, and this skill is on it.
    Listed(Arc<str>),
}

/// What can be known of a call of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LlmFacts {
    /// What is asked for: `chat`, `responses`, `messages`, `embeddings`, `models`.
    pub operation: Arc<str>,
    /// The model.
    pub model: Model,
}

/// How the model of a call is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// None is called: models are listed, and the list is filtered.
    Base,
    /// Not chosen yet: what the caller asks for may be an alias. Conditions on providers and models hold in an Allow
    /// and do not match in a Deny; the choice is judged again.
    Asked,
    /// The one that is really used.
    Used {
        /// The provider's name in its backend.
        provider: Arc<str>,
        /// The model, by the provider's own name.
        model: Arc<str>,
    },
}

/// What can be known of an HTTP request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpFacts {
    /// The method, as sent.
    pub method: Arc<str>,
    /// The normalised path, without query.
    pub path: Arc<str>,
    /// The host in lower case, without port.
    pub host: Arc<str>,
    /// Headers by lower-case name; several values of one name are joined with `, `.
    pub headers: BTreeMap<Arc<str>, Arc<str>>,
}

/// What can be known of an MCP message.
#[derive(Debug, Clone, PartialEq)]
pub struct McpFacts {
    /// The JSON-RPC method; while a list is filtered, the one by which the item would be used.
    pub method: Arc<str>,
    /// What it acts on.
    pub object: McpObject,
}

/// What an MCP message acts on.
#[derive(Debug, Clone, PartialEq)]
pub enum McpObject {
    /// A tool with arguments.
    Tool {
        /// Its name.
        name: Arc<str>,
        /// How its arguments are known.
        arguments: Arguments,
        /// What it can do, as the catalogue says; `None` if none says it.
        access: Option<ToolAccess>,
    },
    /// A prompt.
    Prompt {
        /// Its name.
        name: Arc<str>,
    },
    /// A resource or resource template.
    Resource {
        /// Its URI or template.
        uri: Arc<str>,
    },
    /// The base protocol: initialize, ping, discovery, listing (the list is filtered), notifications.
    Base,
    /// A method that names no object and is not of the base protocol.
    Other,
}

/// The arguments of a tool call.
#[derive(Debug, Clone, PartialEq)]
pub enum Arguments {
    /// A call with these.
    Given(Arc<Value>),
    /// A list is being filtered: conditions on arguments hold in an Allow and do not match in a Deny.
    Listing,
}

/// Which facts a judgement needs, so that no more is read than asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// The HTTP head.
    pub http: bool,
    /// The parsed body of an MCP message.
    pub mcp: bool,
    /// The parsed body of an A2A message.
    pub a2a: bool,
    /// The parsed body of a call of a model.
    pub llm: bool,
    /// The verified user.
    pub user: bool,
}

impl Demand {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            http: self.http || other.http,
            mcp: self.mcp || other.mcp,
            a2a: self.a2a || other.a2a,
            llm: self.llm || other.llm,
            user: self.user || other.user,
        }
    }
}

/// A compiled condition (`when`).
pub trait Expression: fmt::Debug + Send + Sync {
    /// Evaluates it.
    ///
    /// # Errors
    /// When it reads what is missing, is not a truth value, or exceeds its bounds. The judge then lets an
    /// Allow not match and a Deny match.
    fn evaluate(&self, facts: &Facts) -> Result<bool, ExpressionError>;

    /// What it reads.
    fn demand(&self) -> Demand;

    /// True if it reads the arguments of a tool call, so that it counts as satisfied while a list is filtered.
    fn reads_arguments(&self) -> bool;
}

/// Why a condition has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub String);
