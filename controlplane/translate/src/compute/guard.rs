//! GuardPolicies: what content may pass, as proxies know it, and what is told of each where it is enforced.

use std::sync::Arc;

use api::{
    Admitted, Name, Resource as Object, Targets as Said,
    access::Mode as SaidMode,
    guard::{
        Direction as SaidDirection, ExternalGuard as SaidExternal, GuardAction as SaidAction,
        GuardPattern as SaidPattern, GuardPatternType, GuardPolicySpec,
    },
};
use mesh::resource::{
    BackendTarget, Direction, ExternalGuard, Finds, Guard, GuardAction, GuardPattern, GuardSizes, Mode,
    Resource,
};

use super::{
    policy::mode,
    targets::{Aim, Needs, Targets},
    traffic::millis,
};
use crate::{
    made::Made,
    names,
    reader::Reader,
    status::{self, Conditions, Fault},
    upstream,
};

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<GuardPolicySpec>) -> Made {
    let spec = &object.spec;
    let aim = Aim {
        namespace: &name.namespace,
        refs: &spec.target_refs,
        selectors: &[],
        needs: Needs { requests: spec.mode == SaidMode::Enforce, content: true, ..Needs::default() },
    };
    let targets = Targets::of(reader, &aim);
    let mut unresolved = None;
    let external = spec.external.as_ref().map(|said| external(reader, name, said, &mut unresolved));
    let patterns: Result<Vec<GuardPattern>, Fault> = spec.patterns.iter().map(pattern).collect();
    let fault = status::first([targets.fault.clone(), patterns.as_ref().err().cloned(), unresolved.clone()]);
    let guard = Guard {
        name: names::object(name),
        mode: mode(spec.mode),
        broken: fault.as_ref().map(|fault| fault.message.as_str().into()),
        patterns: patterns.unwrap_or_default(),
        sizes: spec
            .sizes
            .as_ref()
            .map(|said| GuardSizes { request: said.request, response: said.response })
            .unwrap_or_default(),
        origins: origins(spec),
        external,
    };
    let conditions = Conditions::of(object.metadata.generation);
    let status = targets.told(reader, conditions, fault.as_ref(), unresolved.as_ref());
    let mut made = Made { status: Some((name.clone(), status)), ..Made::default() };
    made.add(Resource::Guard(Arc::new(guard)));
    made
}

/// A guard that was never accepted and whose targets are known: nothing passes there until it is mended.
pub(super) fn never_accepted(reader: &Reader<'_>, name: &Name, admitted: &Admitted) -> Made {
    let Admitted::DeniesTargets { targets: Said::Namespaced { refs, .. }, rejection, .. } = admitted else {
        return Made::default();
    };
    let needs = Needs { requests: true, content: true, ..Needs::default() };
    let targets = Targets::of(reader, &Aim { namespace: &name.namespace, refs, selectors: &[], needs });
    let guard = Guard {
        name: names::object(name),
        mode: Mode::Enforce,
        broken: Some(format!("it was never accepted: {rejection}").into()),
        patterns: Vec::new(),
        sizes: GuardSizes::default(),
        origins: None,
        external: None,
    };
    let status = targets.told(reader, Conditions::of(None), targets.fault.as_ref(), None);
    let mut made = Made { status: Some((name.clone(), status)), ..Made::default() };
    made.add(Resource::Guard(Arc::new(guard)));
    made
}

fn origins(spec: &GuardPolicySpec) -> Option<Vec<Arc<str>>> {
    (!spec.origins.is_empty())
        .then(|| spec.origins.iter().map(|origin| origin.to_ascii_lowercase().into()).collect())
}

fn pattern(said: &SaidPattern) -> Result<GuardPattern, Fault> {
    let finds = match (said.kind, &said.regex) {
        (GuardPatternType::Email, _) => Finds::Email,
        (GuardPatternType::CreditCard, _) => Finds::CreditCard,
        (GuardPatternType::UsSsn, _) => Finds::UsSsn,
        (GuardPatternType::PhoneNumber, _) => Finds::PhoneNumber,
        (GuardPatternType::Iban, _) => Finds::Iban,
        (GuardPatternType::IpAddress, _) => Finds::IpAddress,
        (GuardPatternType::Secret, _) => Finds::Secret,
        (GuardPatternType::Regex, Some(regex)) => Finds::Regex(regex.as_str().into()),
        (GuardPatternType::Regex, None) => {
            return Err(Fault::new("Invalid", format!("pattern {} says no regex", said.name)));
        }
    };
    Ok(GuardPattern {
        name: said.name.as_str().into(),
        finds,
        direction: direction(said.direction),
        action: match said.action {
            SaidAction::Refuse => GuardAction::Refuse,
            SaidAction::Mask => GuardAction::Mask,
        },
    })
}

fn direction(said: SaidDirection) -> Direction {
    match said {
        SaidDirection::Request => Direction::Request,
        SaidDirection::Response => Direction::Response,
        SaidDirection::Both => Direction::Both,
    }
}

fn external(
    reader: &Reader<'_>,
    name: &Name,
    said: &SaidExternal,
    unresolved: &mut Option<Fault>,
) -> ExternalGuard {
    let target = upstream::service(reader, name, &said.service_ref).unwrap_or_else(|fault| {
        let target = BackendTarget::Broken(fault.message.as_str().into());
        *unresolved = Some(fault);
        target
    });
    ExternalGuard {
        target,
        path: said.path().into(),
        timeout: millis(said.timeout()),
        direction: direction(said.direction),
    }
}
