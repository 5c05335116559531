//! Why something was refused: stable codes, and what decided.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    names::{ObjectName, Version},
    resource::StageKind,
};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        /// A reason code. Names and numbers are stable: they are in logs, metrics, statuses and ids.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason { $($(#[$doc])* $name = $code),* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name, as in logs and metrics.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

reasons! {
    /// A Deny matched.
    Denied = 1,
    /// No Allow matched, and there is at least one, or nobody may by default.
    NoGrant = 2,
    /// A platform Limit has no rule that matches.
    BeyondLimit = 3,
    /// A Deny on identity met a caller whose identity is not proven.
    IdentityUnknown = 4,
    /// Only proven identities of the trust domain may, by default.
    NotOfTheMesh = 5,
    /// A policy that cannot be realised denies its targets.
    PolicyBroken = 6,
    /// The policy set is not held, or not all of its members are.
    PolicyMissing = 7,
    /// The port admits only waypoints, and the peer is none of them.
    NotThroughWaypoint = 10,
    /// The waypoint that was asked for is not there.
    WaypointMissing = 11,
    /// A voucher did not say for whom it speaks.
    OriginMissing = 12,
    /// Somebody who is no voucher claims to speak for another.
    OriginForbidden = 13,
    /// A voucher said for whom it speaks more than once, or not in a form that can be read.
    OriginMalformed = 14,
    /// A voucher speaks for an identity that it may not speak for.
    OriginNotVouchable = 15,
    /// The peer's certificate was issued before its identity was revoked.
    Revoked = 20,
    /// The trust domain is not known here.
    TrustDomainUnknown = 21,
    /// The peer is not who was expected.
    WrongPeer = 22,
    /// The workload has no valid certificate.
    NoCertificate = 23,
    /// The handshake failed.
    HandshakeFailed = 24,
    /// The certificate ended while the connection was open.
    CertificateEnded = 25,
    /// The destination is inside the mesh and the control plane did not say what it is.
    ControlPlaneSilent = 30,
    /// The name or address is in the mesh and nothing serves it.
    UnknownDestination = 31,
    /// The service has no such port.
    UnknownPort = 32,
    /// No endpoint can serve.
    NoEndpoint = 33,
    /// Outside the mesh, and egress is denied.
    EgressDenied = 34,
    /// The other network has no gateway.
    NoGateway = 35,
    /// The service is not exported to the caller's trust domain.
    NotExported = 36,
    /// The destination would be one of our own ports.
    Loop = 37,
    /// The endpoint cannot be connected to.
    Unreachable = 38,
    /// The application does not accept connections.
    DeliveryFailed = 39,
    /// The token of the explicit proxy is missing or wrong.
    WrongToken = 40,
    /// The process at the other end has another uid than the workload.
    WrongUid = 41,
    /// What arrived is not of the protocol that is spoken here.
    Malformed = 42,
    /// A bound was reached: size, count or time.
    TooMuch = 43,
    /// The program is draining and takes nothing new.
    Draining = 44,
    /// The workload that connects is not known here.
    SourceUnknown = 45,
    /// A route cannot be realised.
    RouteBroken = 50,
    /// A backend cannot be realised.
    BackendBroken = 51,
    /// No route matches.
    NoRoute = 52,
    /// It needs a feature that is not built.
    NotBuilt = 53,
    /// The host is served by another listener than the one that the connection was opened for.
    Misdirected = 54,
    /// A connection was open and a change of policy, trust or revocation no longer allows it.
    NoLongerAllowed = 60,
    /// A quota is used up, or a request asks for more than there will ever be.
    QuotaExceeded = 70,
    /// A guard found what may not pass.
    GuardRefused = 71,
    /// A guard could not decide.
    GuardFailed = 72,
    /// A token or key of a user is needed and not there.
    UserMissing = 73,
    /// The token or key of the user is not valid here.
    UserInvalid = 74,
    /// The external authorizer said no.
    ExternalDenied = 75,
    /// The external authorizer could not be asked, or gave no answer in time.
    ExternalFailed = 76,
    /// The tool's definition is not the one that was approved.
    ToolHeld = 77,
    /// The task or context belongs to somebody else.
    NotYours = 78,
    /// An address that is not public, where only public ones may be.
    PrivateAddress = 79,
    /// The origin (RFC 6454) is not one that may call.
    OriginNotAllowed = 80,
    /// No provider of the model answered.
    ProviderFailed = 81,
    /// The content has no form in the protocol of the upstream.
    NotTranslatable = 82,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Reason {
    /// The number, as in refusal ids.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The reason of a number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

/// A refusal, as a decision returns it. `wire::report` gives it an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// In which stage, if a policy decided.
    pub stage: Option<StageKind>,
    /// Which policy, and its version.
    pub policy: Option<(ObjectName, Option<Version>)>,
    /// Which rule; where no Allow matched, the nearest.
    pub rule: Option<Arc<str>>,
    /// The first field that did not hold, for example `to[0].mcp.tools[0].arguments[/repo]`.
    pub field: Option<Arc<str>>,
    /// What was wanted and what was there, for people who may see the policy.
    pub detail: Option<Arc<str>>,
}

impl Denial {
    /// A denial that no policy decided.
    pub fn plain(reason: Reason, detail: impl Into<Arc<str>>) -> Self {
        Self { reason, stage: None, policy: None, rule: None, field: None, detail: Some(detail.into()) }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(out)?;
        if let Some((policy, _)) = &self.policy {
            write!(out, " by {policy}")?;
        }
        if let Some(rule) = &self.rule {
            write!(out, " rule {rule}")?;
        }
        if let Some(field) = &self.field {
            write!(out, " at {field}")?;
        }
        if let Some(detail) = &self.detail {
            write!(out, ": {detail}")?;
        }
        Ok(())
    }
}
