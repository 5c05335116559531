//! What each reason means to a person, and what can be done about it.

use mesh::Reason;

/// What a reason means.
pub(super) fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::Denied => "a Deny policy matches",
        Reason::NoGrant => "no Allow policy matches, and without one nobody may",
        Reason::BeyondLimit => "the platform's limit does not allow it, whatever tenants grant",
        Reason::IdentityUnknown => "a Deny names identities, and the caller did not prove its own",
        Reason::NotOfTheMesh => "only proven identities of this trust domain may",
        Reason::PolicyBroken => "a policy that cannot be realised denies what it targets",
        Reason::PolicyMissing => "the proxy does not hold all policies of the target",
        Reason::NotThroughWaypoint => "the port admits only its waypoint",
        Reason::WaypointMissing => "the waypoint that was asked for is not there",
        Reason::OriginMissing => "a voucher did not say for whom it speaks",
        Reason::OriginForbidden => "somebody who may not speak for others did",
        Reason::OriginMalformed => "for whom a voucher speaks cannot be read",
        Reason::OriginNotVouchable => "a voucher speaks for somebody for whom it may not",
        Reason::Revoked => "the caller's certificate was revoked",
        Reason::SourceUnknown => "the mesh does not know who sent it",
        Reason::TrustDomainUnknown => "the caller's trust domain is not linked",
        Reason::WrongPeer => "the other end is not who was expected",
        Reason::NoCertificate => "the workload has no valid certificate",
        Reason::HandshakeFailed => "the handshake failed",
        Reason::CertificateEnded => "the certificate ended while the connection was open",
        Reason::ControlPlaneSilent => "the control plane did not say in time what the destination is",
        Reason::UnknownDestination => "nothing in the mesh has this name or address",
        Reason::UnknownPort => "the service has no such port",
        Reason::NoEndpoint => "nobody serves it now",
        Reason::EgressDenied => "it is outside the mesh, and egress is denied",
        Reason::NoGateway => "the other cluster has no gateway",
        Reason::NotExported => "the service is not exported to the caller's trust domain",
        Reason::Loop => "the destination would be one of the mesh's own ports",
        Reason::Unreachable => "the endpoint cannot be connected to",
        Reason::DeliveryFailed => "the application does not accept connections",
        Reason::WrongToken => "the explicit proxy's token is missing or wrong",
        Reason::WrongUid => "the process has another uid than its workload",
        Reason::Malformed => "what arrived is not of the protocol that is spoken here",
        Reason::TooMuch => "a bound was reached",
        Reason::Draining => "the program is ending and takes nothing new",
        Reason::RouteBroken => "a route cannot be realised",
        Reason::BackendBroken => "a backend cannot be realised",
        Reason::NoRoute => "no route matches",
        Reason::NotBuilt => "it needs something that is not built yet",
        Reason::Misdirected => "the host is served by another listener than the one that was asked",
        Reason::QuotaExceeded => "a quota is used up, or the request asks for more than there ever is",
        Reason::GuardRefused => "a guard found content that may not pass",
        Reason::GuardFailed => "a guard could not decide, which refuses",
        Reason::UserMissing => "a token or key of a user is needed and was not sent",
        Reason::UserInvalid => "the token or key of the user is not valid here",
        Reason::ExternalDenied => "the external authorizer said no",
        Reason::ExternalFailed => "the external authorizer gave no answer, which refuses",
        Reason::ToolHeld => {
            "the tool is not the one that was approved, and is held back until somebody approves it"
        }
        Reason::NotYours => "the task or context belongs to somebody else",
        Reason::PrivateAddress => "an address that is not public, where only public ones may be",
        Reason::OriginNotAllowed => "the web page's origin is not one that may call",
        Reason::ProviderFailed => "no provider of the model answered",
        Reason::NotTranslatable => "the content has no form in the protocol of the provider",
        Reason::NoLongerAllowed => "it was allowed when it began, and a change ended that",
    }
}

/// What can be done about it.
pub(super) fn remedy(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::NoGrant => {
            "add a rule to an AccessPolicy with action Allow that names the caller and what it does"
        }
        Reason::Denied => "change the rule that is named, if the caller should be let in",
        Reason::BeyondLimit => "ask whoever owns the ClusterAccessPolicy",
        Reason::PolicyBroken => "see `strait get policies`: the policy says what is wrong with it",
        Reason::WaypointMissing => "start the Gateway again, or change the label strait.dev/use-waypoint",
        Reason::NotThroughWaypoint => "dial the service by its name, not the workload",
        Reason::NoCertificate => "see the node's log: its control plane did not sign",
        Reason::NoEndpoint => "see `strait get services`: start a workload that its selector selects",
        Reason::UnknownPort => "see `strait get services` for the ports",
        Reason::NotExported => {
            "add a ServiceExport, and the namespace to export.namespaces of the ClusterLink"
        }
        Reason::EgressDenied => "label the namespace strait.dev/egress: allow, or make an AgentBackend",
        Reason::WrongToken => "use http://workload:TOKEN@… with the token of the workload's own file",
        Reason::Misdirected => "open a new connection for that host",
        Reason::QuotaExceeded => {
            "wait until the limit begins anew, ask for less, or raise the QuotaPolicy that is named"
        }
        Reason::GuardFailed => {
            "see the waypoint's log: the guard, or the service that it asks, does not work"
        }
        Reason::UserMissing | Reason::UserInvalid => {
            "get a token of the TokenIssuer that the MeshTrafficPolicy names"
        }
        Reason::ToolHeld => "look with `strait mcp diff`, and approve with `strait mcp pin`",
        Reason::ExternalFailed => "see `strait get services`: is the authorizer running?",
        Reason::ProviderFailed => "see the waypoint's log for what each provider answered",
        Reason::DeliveryFailed => "start the application at the workload's delivery",
        _ => return None,
    })
}
