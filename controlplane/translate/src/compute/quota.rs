//! QuotaPolicies: how much may be used, as proxies know it, and what is told of each where it is enforced.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{
    Admitted, Name, Resource as Object, Targets as Said,
    access::Mode as SaidMode,
    quota::{QuotaLimit as SaidLimit, QuotaPer, QuotaPolicySpec},
};
use mesh::{
    identity::Identity,
    resource::{Allowance, Mode, Quota, QuotaKey, QuotaLimit, Resource},
};

use super::{
    policy::mode,
    principals::starred,
    targets::{Agents, Aim, Needs, Targets},
    traffic::millis,
};
use crate::{
    made::Made,
    names,
    reader::Reader,
    status::{self, Conditions, Fault},
};

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<QuotaPolicySpec>) -> Made {
    let spec = &object.spec;
    let models = spec.limits.iter().any(|limit| limit.tokens.is_some() || !limit.models.is_empty());
    let aim = Aim {
        namespace: &name.namespace,
        refs: &spec.target_refs,
        selectors: &[],
        needs: Needs {
            requests: spec.mode == SaidMode::Enforce,
            content: true,
            protocols: models.then_some(Agents::Llm).into_iter().collect::<BTreeSet<_>>(),
        },
    };
    let targets = Targets::of(reader, &aim);
    let limits: Result<Vec<QuotaLimit>, Fault> = spec.limits.iter().map(|said| limit(reader, said)).collect();
    let fault = status::first([targets.fault.clone(), limits.as_ref().err().cloned()]);
    let quota = Quota {
        name: names::object(name),
        mode: mode(spec.mode),
        broken: fault.as_ref().map(|fault| fault.message.as_str().into()),
        limits: limits.unwrap_or_default(),
    };
    let status = targets.told(reader, Conditions::of(object.metadata.generation), fault.as_ref(), None);
    let mut made = Made { status: Some((name.clone(), status)), ..Made::default() };
    made.add(Resource::Quota(Arc::new(quota)));
    made
}

/// A quota that was never accepted and whose targets are known: nothing passes there until it is mended.
pub(super) fn never_accepted(reader: &Reader<'_>, name: &Name, admitted: &Admitted) -> Made {
    let Admitted::DeniesTargets { targets: Said::Namespaced { refs, .. }, rejection, .. } = admitted else {
        return Made::default();
    };
    let needs = Needs { requests: true, content: true, ..Needs::default() };
    let targets = Targets::of(reader, &Aim { namespace: &name.namespace, refs, selectors: &[], needs });
    let quota = Quota {
        name: names::object(name),
        mode: Mode::Enforce,
        broken: Some(format!("it was never accepted: {rejection}").into()),
        limits: Vec::new(),
    };
    let status = targets.told(reader, Conditions::of(None), targets.fault.as_ref(), None);
    let mut made = Made { status: Some((name.clone(), status)), ..Made::default() };
    made.add(Resource::Quota(Arc::new(quota)));
    made
}

fn limit(reader: &Reader<'_>, said: &SaidLimit) -> Result<QuotaLimit, Fault> {
    let most = match (said.tokens, said.requests) {
        (Some(most), None) => {
            Allowance::Tokens { most, margin: said.margin(), default_output: said.default_output() }
        }
        (None, Some(most)) => Allowance::Requests(most),
        _ => {
            let message = format!("limit {} says neither tokens nor requests, or both", said.name);
            return Err(Fault::new("Invalid", message));
        }
    };
    let models = said.models.iter().map(|model| starred(model.as_str())).collect::<Vec<_>>();
    Ok(QuotaLimit {
        name: said.name.as_str().into(),
        per: per(reader, said)?,
        window: millis(said.window.duration()),
        most,
        models: (!models.is_empty()).then_some(models),
    })
}

fn per(reader: &Reader<'_>, said: &SaidLimit) -> Result<QuotaKey, Fault> {
    Ok(match (said.per, &said.label) {
        (QuotaPer::Everyone, _) => QuotaKey::Everyone,
        (QuotaPer::Identity, _) => QuotaKey::Identity,
        (QuotaPer::User, _) => QuotaKey::User,
        (QuotaPer::Label, Some(label)) => {
            QuotaKey::Label { label: label.as_str().into(), values: labelled(reader, label.as_str()) }
        }
        (QuotaPer::Label, None) => {
            return Err(Fault::new("Invalid", format!("limit {} does not say which label", said.name)));
        }
    })
}

/// The values of a label of service accounts, by the identity of each that has it.
fn labelled(reader: &Reader<'_>, label: &str) -> BTreeMap<Identity, Arc<str>> {
    let accounts = reader.service_accounts();
    let valued = accounts.filter_map(|(name, account)| {
        let value = account.metadata.labels.text(label)?;
        let identity = names::identity(reader.settings(), &name.namespace, &name.name).ok()?;
        Some((identity, value.into()))
    });
    valued.collect()
}
