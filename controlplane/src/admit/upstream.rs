//! Checks of where something is and what is shown to it: what several kinds say in the same fields.

use std::time::Duration;

use api::{
    backend::{AuthScheme, BackendAuth, SecretKeyRef, Upstream},
    period::Period,
    refs::ServiceRef,
};

use super::{
    fault::{Fault, Within, some},
    text,
};

/// Longest wait for somebody who is asked about a request.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) fn check_service_ref(service: &ServiceRef) -> Result<(), Fault> {
    text::label(&service.name).within("name")?;
    some("namespace", service.namespace.as_deref(), text::label)?;
    text::port(service.port).within("port")
}

/// A wait for somebody who is asked: some time, and not all time.
pub(super) fn check_wait(wait: &Period) -> Result<(), Fault> {
    match wait.duration() {
        Duration::ZERO => Err(Fault::invalid("is no time").remedy("write 1ms to 60s")),
        wait if wait > WAIT_MAX => Err(Fault::invalid("is too long").remedy("write 1ms to 60s")),
        _ => Ok(()),
    }
}

pub(super) fn check_upstream(upstream: &Upstream<'_>) -> Result<(), Fault> {
    if upstream.service_ref.is_some() == upstream.host.is_some() {
        let what = if upstream.host.is_some() { "both" } else { "neither" };
        return Err(Fault::conflict(format!("has {what} of serviceRef and host"))
            .remedy("write serviceRef for what is in the mesh, host for what is outside"));
    }
    only_true("plaintext", upstream.plaintext)?;
    only_true("private", upstream.private)?;
    if upstream.service_ref.is_some() {
        let fields = [
            ("port", upstream.port.is_some(), "the port of a Service stands in serviceRef"),
            ("tls", upstream.tls.is_some(), "the mesh encrypts the way to a Service by itself"),
            ("plaintext", upstream.plaintext.is_some(), "the mesh encrypts the way to a Service by itself"),
            ("private", upstream.private.is_some(), "take it out"),
        ];
        if let Some((field, _, remedy)) = fields.iter().find(|(_, written, _)| *written) {
            return Err(Fault::conflict("belongs to a host, and there is a serviceRef")
                .remedy(*remedy)
                .within(field));
        }
    }
    some("serviceRef", upstream.service_ref, check_service_ref)?;
    some("host", upstream.host.map(|host| host.as_str()), text::host)?;
    some("port", upstream.port.as_ref(), |port| text::port(*port))?;
    some("tls", upstream.tls, |tls| {
        some("hostname", tls.hostname.as_deref(), text::host)?;
        some("caSecretRef", tls.ca_secret_ref.as_ref(), check_secret_key)
    })?;
    match upstream.tls.is_some() && upstream.plaintext.is_some() {
        true => Err(Fault::conflict("stands beside tls")
            .remedy("TLS is the rule: take plaintext out, or take tls out to do without")
            .within("plaintext")),
        false => Ok(()),
    }
}

/// What is shown, given where to.
pub(super) fn check_auth(auth: Option<&BackendAuth>, to: &Upstream<'_>) -> Result<(), Fault> {
    let Some(auth) = auth else { return Ok(()) };
    check_shown(auth).within("auth")?;
    match to.plaintext.is_some() && to.private.is_none() {
        true => Err(Fault::conflict("would be shown in plain text to everybody on the way")
            .remedy("take plaintext out, or write private: true if the host is reached on a way of your own")
            .within("auth")),
        false => Ok(()),
    }
}

fn check_shown(auth: &BackendAuth) -> Result<(), Fault> {
    check_secret_key(&auth.secret_ref).within("secretRef")?;
    match (auth.scheme, auth.header.as_deref()) {
        (Some(AuthScheme::Header), Some(header)) => text::header_of_others(header).within("header"),
        (Some(AuthScheme::Header), None) => Err(Fault::new(api::Reason::MissingField, "is missing")
            .remedy("scheme Header needs its name, for example header: x-api-key")
            .within("header")),
        (_, Some(_)) => Err(Fault::conflict("stands there without scheme: Header")
            .remedy("write scheme: Header, or take it out")
            .within("header")),
        (_, None) => Ok(()),
    }
}

fn check_secret_key(secret: &SecretKeyRef) -> Result<(), Fault> {
    text::dns_name(&secret.name).within("name")?;
    some("key", secret.key.as_deref(), |key| {
        match key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            true => Ok(()),
            false => Err(Fault::invalid(format!("{key:?} is not a key of a Secret"))
                .remedy("a key has a-z, A-Z, 0-9, '-', '_' and '.'")),
        }
    })
}

/// A flag that is left out where it is not meant.
pub(super) fn only_true(field: &str, flag: Option<bool>) -> Result<(), Fault> {
    match flag {
        Some(false) => Err(Fault::invalid("is false").remedy("write true, or take it out").within(field)),
        Some(true) | None => Ok(()),
    }
}
