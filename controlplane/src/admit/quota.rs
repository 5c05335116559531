//! Checks of `QuotaPolicy`.

use std::time::Duration;

use api::quota::{ALLOWANCE_MAX, DEFAULT_OUTPUT_MAX, QuotaLimit, QuotaPer, QuotaPolicySpec};

use super::{
    access::check_target,
    fault::{Fault, Within, each, some, unique},
    guard::TARGETS,
    metadata::check_key,
    text,
};

/// Shortest and longest window.
const WINDOW: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(24 * 60 * 60)];
/// Largest margin, in percent.
const MARGIN_MAX: u8 = 100;

pub(super) fn check(spec: &QuotaPolicySpec, namespace: &str) -> Result<(), Fault> {
    each("targetRefs", &spec.target_refs, |target| check_target(target, TARGETS, namespace))?;
    unique("limits", &spec.limits, |limit| Some(limit.name.as_str()), "limit")?;
    each("limits", &spec.limits, check_limit)
}

fn check_limit(limit: &QuotaLimit) -> Result<(), Fault> {
    text::label(&limit.name).within("name")?;
    match (limit.per, limit.label.as_deref()) {
        (QuotaPer::Label, Some(label)) => check_key(label).within("label")?,
        (QuotaPer::Label, None) => {
            return Err(Fault::new(api::Reason::MissingField, "is missing")
                .remedy("per: Label needs a label of service accounts, for example label: team")
                .within("label"));
        }
        (per, Some(_)) => {
            return Err(Fault::conflict(format!("stands beside per: {per:?}"))
                .remedy("write per: Label, or take it out")
                .within("label"));
        }
        (_, None) => {}
    }
    let [least, most] = WINDOW;
    if limit.window.duration() < least || limit.window.duration() > most {
        return Err(Fault::invalid(format!("{} is not a window", limit.window))
            .remedy("write 1s to 24h")
            .within("window"));
    }
    each("models", &limit.models, |model| text::star_at_end(model))?;
    match (limit.tokens, limit.requests) {
        (Some(tokens), None) => check_tokens(limit, tokens),
        (None, Some(requests)) => check_requests(limit, requests),
        (tokens, _) => {
            let what = if tokens.is_some() { "both" } else { "neither" };
            Err(Fault::conflict(format!("has {what} of tokens and requests"))
                .remedy("write exactly one of them; another limit can have the other"))
        }
    }
}

fn within_allowance(amount: u64) -> Result<(), Fault> {
    match amount {
        1..=ALLOWANCE_MAX => Ok(()),
        _ => Err(Fault::invalid(format!("is {amount}"))
            .remedy(format!("write 1 to {ALLOWANCE_MAX}; to refuse all, write an AccessPolicy"))),
    }
}

fn check_tokens(limit: &QuotaLimit, tokens: u64) -> Result<(), Fault> {
    within_allowance(tokens).within("tokens")?;
    some("margin", limit.margin.as_ref(), |margin| match *margin <= MARGIN_MAX {
        true => Ok(()),
        false => Err(Fault::invalid(format!("is {margin}")).remedy("write 0 to 100, in percent")),
    })?;
    some("defaultOutput", limit.default_output.as_ref(), |output| match output {
        1..=DEFAULT_OUTPUT_MAX => Ok(()),
        _ => {
            Err(Fault::invalid(format!("is {output}"))
                .remedy(format!("write 1 to {DEFAULT_OUTPUT_MAX} tokens")))
        }
    })?;
    let output = limit.default_output();
    match u64::from(output) > tokens {
        true => Err(Fault::conflict(format!(
            "a request that names no output limit gets {output} tokens, which is more than the {tokens} of the limit, so \
             it is never admitted"
        ))
        .remedy("write a smaller defaultOutput, or more tokens")
        .within("defaultOutput")),
        false => Ok(()),
    }
}

fn check_requests(limit: &QuotaLimit, requests: u64) -> Result<(), Fault> {
    within_allowance(requests).within("requests")?;
    let fields = [("margin", limit.margin.is_some()), ("defaultOutput", limit.default_output.is_some())];
    match fields.iter().find(|(_, written)| *written) {
        Some((field, _)) => Err(Fault::conflict("belongs to tokens, and this limit is of requests")
            .remedy("take it out, or limit tokens")
            .within(field)),
        None => Ok(()),
    }
}
