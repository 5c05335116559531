//! Checks of `MeshTrafficPolicy`.

use api::{
    gateway::GATEWAY_GROUP,
    object::GROUP,
    traffic::{Authentication, MeshTrafficPolicySpec, Retries},
};

use super::{
    access::check_target,
    fault::{Fault, each, some, unique},
    text,
};

const TARGETS: &[(&str, &str, bool)] = &[
    ("", "Service", true),
    (GROUP, "AgentBackend", true),
    (GATEWAY_GROUP, "Gateway", true),
    (GATEWAY_GROUP, "HTTPRoute", true),
];

/// Most attempts after the first.
const ATTEMPTS_MAX: u8 = 10;

pub(super) fn check(spec: &MeshTrafficPolicySpec) -> Result<(), Fault> {
    each("targetRefs", &spec.target_refs, |target| check_target(target, TARGETS, ""))?;
    let says = [
        spec.timeouts.is_some(),
        spec.retries.is_some(),
        spec.balancing.is_some(),
        spec.authentication.is_some(),
    ];
    if !says.contains(&true) {
        return Err(Fault::conflict("says nothing")
            .remedy("write at least one of timeouts, retries, balancing and authentication"));
    }
    some("timeouts", spec.timeouts.as_ref(), |timeouts| {
        let waits = [timeouts.connect, timeouts.request, timeouts.backend_request, timeouts.idle];
        match waits.iter().any(Option::is_some) {
            true => Ok(()),
            false => Err(Fault::conflict("says nothing")
                .remedy("write at least one of connect, request, backendRequest and idle")),
        }
    })?;
    some("retries", spec.retries.as_ref(), check_retries)?;
    some("balancing", spec.balancing.as_ref(), |balancing| {
        match balancing.algorithm.is_some() || balancing.locality.is_some() {
            true => Ok(()),
            false => {
                Err(Fault::conflict("says nothing").remedy("write at least one of algorithm and locality"))
            }
        }
    })?;
    some("authentication", spec.authentication.as_ref(), check_authentication)
}

fn check_authentication(authentication: &Authentication) -> Result<(), Fault> {
    unique("issuers", &authentication.issuers, |issuer| Some(issuer.as_str()), "issuer")?;
    each("issuers", &authentication.issuers, |issuer| text::dns_name(issuer))?;
    some("resource", authentication.resource.as_deref(), text::web_url)
}

fn check_retries(retries: &Retries) -> Result<(), Fault> {
    if retries.attempts > ATTEMPTS_MAX {
        return Err(Fault::invalid(format!("is {}", retries.attempts))
            .remedy(format!("at most {ATTEMPTS_MAX} attempts may follow the first"))
            .within("attempts"));
    }
    each("codes", &retries.codes, |code| match code {
        400..=599 => Ok(()),
        _ => {
            Err(Fault::invalid(format!("{code} is not a status that is tried again"))
                .remedy("write 400 to 599"))
        }
    })
}
