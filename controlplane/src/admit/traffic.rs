//! Checks of `MeshTrafficPolicy`.

use api::{
    gateway::GATEWAY_GROUP,
    object::GROUP,
    traffic::{MeshTrafficPolicySpec, Retries},
};

use super::{
    access::check_target,
    fault::{Fault, each, some},
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
    if spec.timeouts.is_none() && spec.retries.is_none() && spec.balancing.is_none() {
        return Err(
            Fault::conflict("says nothing").remedy("write at least one of timeouts, retries and balancing")
        );
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
    })
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
