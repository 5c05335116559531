//! Access policies: their rules with names resolved, and what is told of each where it is enforced.

use std::sync::Arc;

use api::{
    Admitted, Kind, Name,
    access::{AccessRule, Action as Said, ClusterAction, ExternalAuth, Mode as SaidMode},
};
use mesh::resource::{Action, Authorizer, AuthorizerProtocol, Mode, Policy, Resource};

use super::{
    principals,
    targets::{Agents, Aim, Needs, Targets},
    traffic::millis,
};
use crate::{
    access::{self, Access, ClusterAccess},
    made::Made,
    names,
    reader::Reader,
    status::{self, Conditions, Fault},
    upstream,
};

pub(super) fn namespaced(reader: &Reader<'_>, name: &Name, admitted: &Admitted) -> Made {
    // Read through the World so that it lives as long as the World does.
    let Some(policy) = access::within(reader, &name.namespace).into_iter().find(|policy| policy.name == name)
    else {
        return Made::default();
    };
    let aim = Aim {
        namespace: &name.namespace,
        refs: policy.refs,
        selectors: policy.selectors,
        needs: needs(&policy),
    };
    let targets = Targets::of(reader, &aim);
    let (authorizer, unasked) = match authorizer(reader, name, &policy) {
        Ok(authorizer) => (authorizer, None),
        Err(fault) => (None, Some(fault)),
    };
    let said = Saying {
        action: match policy.action {
            Said::Allow => Action::Allow,
            Said::Deny => Action::Deny,
            Said::ExternalAuth => Action::ExternalAuth,
        },
        mode: policy.mode,
        rules: policy.rules,
        authorizer,
        never_accepted: policy.never_accepted.map(ToString::to_string),
    };
    let fault = status::first([targets.fault.clone(), unasked.clone()]);
    let (resource, fault) = make(reader, name, said, fault);
    let unresolved = status::first([unasked, principals::unknown_issuer(reader, policy.rules)]);
    finish(reader, name, admitted, &targets, resource, fault, unresolved)
}

pub(super) fn cluster(reader: &Reader<'_>, name: &Name, admitted: &Admitted) -> Made {
    let found = reader.all_admitted(Kind::ClusterAccessPolicy).find(|(own, _)| *own == name);
    let Some(policy) = found.and_then(|(own, admitted)| ClusterAccess::of(own, admitted)) else {
        return Made::default();
    };
    let said = Saying {
        action: match policy.action {
            ClusterAction::Deny => Action::Deny,
            ClusterAction::Limit => Action::Limit,
        },
        mode: policy.mode,
        rules: policy.rules,
        authorizer: None,
        never_accepted: policy.never_accepted.map(ToString::to_string),
    };
    let (resource, fault) = make(reader, name, said, None);
    let targets = Targets::everywhere();
    let unresolved = principals::unknown_issuer(reader, policy.rules);
    finish(reader, name, admitted, &targets, resource, fault, unresolved)
}

fn finish(
    reader: &Reader<'_>,
    name: &Name,
    admitted: &Admitted,
    targets: &Targets,
    resource: Resource,
    fault: Option<Fault>,
    unresolved: Option<Fault>,
) -> Made {
    let generation = admitted.object().and_then(|object| object.metadata().generation);
    let status = targets.told(reader, Conditions::of(generation), fault.as_ref(), unresolved.as_ref());
    let mut made = Made { status: Some((name.clone(), status)), ..Made::default() };
    made.add(resource);
    made
}

/// What an access policy says, of whichever kind it is.
struct Saying<'a> {
    action: Action,
    mode: SaidMode,
    rules: &'a [AccessRule],
    authorizer: Option<Authorizer>,
    never_accepted: Option<String>,
}

fn make(
    reader: &Reader<'_>,
    name: &Name,
    said: Saying<'_>,
    fault: Option<Fault>,
) -> (Resource, Option<Fault>) {
    let (rules, fault) = match (fault, principals::rules(reader, said.rules)) {
        (None, Ok(rules)) => (rules, None),
        (Some(fault), _) | (None, Err(fault)) => (Vec::new(), Some(fault)),
    };
    let broken = said.never_accepted.or_else(|| fault.as_ref().map(|fault| fault.message.clone()));
    let policy = Policy {
        name: names::object(name),
        action: said.action,
        mode: mode(said.mode),
        broken: broken.map(Into::into),
        rules,
        authorizer: said.authorizer,
    };
    (Resource::Policy(Arc::new(policy)), fault)
}

/// Whether a policy decides, in the words of `mesh`.
pub(super) fn mode(said: SaidMode) -> Mode {
    match said {
        SaidMode::Enforce => Mode::Enforce,
        SaidMode::Audit => Mode::Audit,
    }
}

fn needs(policy: &Access<'_>) -> Needs {
    let mut needs = Needs { requests: policy.reads_requests(), ..Needs::default() };
    for to in policy.rules.iter().flat_map(|rule| rule.to.iter()) {
        needs.protocols.extend(to.mcp.as_ref().map(|_| Agents::Mcp));
        needs.protocols.extend(to.a2a.as_ref().map(|_| Agents::A2a));
        needs.protocols.extend(to.llm.as_ref().map(|_| Agents::Llm));
    }
    needs
}

/// Who is asked by a policy that asks.
fn authorizer(reader: &Reader<'_>, name: &Name, policy: &Access<'_>) -> Result<Option<Authorizer>, Fault> {
    if policy.action != Said::ExternalAuth {
        return Ok(None);
    }
    let said = policy.external_auth;
    let (Some(said), Some(to)) = (said, said.and_then(ExternalAuth::service_ref)) else {
        return Err(Fault::new("Invalid", "action ExternalAuth does not say whom it asks"));
    };
    let lower = |texts: &[api::bounded::Text<256>]| -> Vec<Arc<str>> {
        texts.iter().map(|text| text.to_ascii_lowercase().into()).collect()
    };
    Ok(Some(Authorizer {
        target: upstream::service(reader, name, to)?,
        protocol: match &said.http {
            Some(http) => AuthorizerProtocol::Http { path_prefix: http.path_prefix().into() },
            None => AuthorizerProtocol::Grpc,
        },
        timeout: millis(said.timeout()),
        headers: lower(&said.headers),
        upstream_headers: said.http.as_ref().map(|http| lower(&http.upstream_headers)).unwrap_or_default(),
        body_bytes: said.body_bytes(),
    }))
}
