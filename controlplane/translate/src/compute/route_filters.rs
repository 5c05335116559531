//! The filters of a route, in the words of `mesh`. A filter that cannot be realised breaks its rule.

use std::sync::Arc;

use api::{
    Name,
    http_route::{
        HeaderModifier, PathModifier, PathModifierType, RequestMirror, RouteFilter as Said, RouteFilterType,
        Scheme,
    },
};
use mesh::resource::{Cors, HeaderEdit, Mirror, PathRewrite, Redirect, Rewrite, RouteFilter};

use crate::{attach, reader::Reader, references::BackendReference, status::Fault};

/// The status of a redirect that says none (Gateway API).
const REDIRECT_STATUS: u16 = 302;

pub(super) fn filters(reader: &Reader<'_>, route: &Name, said: &[Said]) -> Result<Vec<RouteFilter>, Fault> {
    said.iter().map(|filter| one(reader, route, filter)).collect()
}

fn one(reader: &Reader<'_>, route: &Name, said: &Said) -> Result<RouteFilter, Fault> {
    let empty = || Fault::new("InvalidFilter", format!("a filter of type {:?} says nothing", said.kind));
    match said.kind {
        RouteFilterType::RequestHeaderModifier => {
            Ok(RouteFilter::RequestHeaders(edit(said.request_header_modifier.as_ref().ok_or_else(empty)?)))
        }
        RouteFilterType::ResponseHeaderModifier => {
            Ok(RouteFilter::ResponseHeaders(edit(said.response_header_modifier.as_ref().ok_or_else(empty)?)))
        }
        RouteFilterType::RequestMirror => {
            mirror(reader, route, said.request_mirror.as_ref().ok_or_else(empty)?).map(RouteFilter::Mirror)
        }
        RouteFilterType::RequestRedirect => {
            let redirect = said.request_redirect.as_ref().ok_or_else(empty)?;
            Ok(RouteFilter::Redirect(Redirect {
                scheme: redirect.scheme.map(|scheme| match scheme {
                    Scheme::Http => "http".into(),
                    Scheme::Https => "https".into(),
                }),
                hostname: redirect.hostname.as_ref().map(|hostname| hostname.as_str().into()),
                port: redirect.port,
                path: redirect.path.as_ref().map(path).transpose()?,
                status: redirect.status_code.unwrap_or(REDIRECT_STATUS),
            }))
        }
        RouteFilterType::UrlRewrite => {
            let rewrite = said.url_rewrite.as_ref().ok_or_else(empty)?;
            Ok(RouteFilter::Rewrite(Rewrite {
                hostname: rewrite.hostname.as_ref().map(|hostname| hostname.as_str().into()),
                path: rewrite.path.as_ref().map(path).transpose()?,
            }))
        }
        RouteFilterType::Cors => {
            let cors = said.cors.as_ref().ok_or_else(empty)?;
            Ok(RouteFilter::Cors(Cors {
                allow_origins: cors.allow_origins.iter().map(|text| text.as_str().into()).collect(),
                allow_methods: cors.allow_methods.iter().map(|text| text.as_str().into()).collect(),
                allow_headers: cors.allow_headers.iter().map(|text| text.as_str().into()).collect(),
                expose_headers: cors.expose_headers.iter().map(|text| text.as_str().into()).collect(),
                allow_credentials: cors.allow_credentials == Some(true),
                max_age: cors.max_age,
            }))
        }
        RouteFilterType::ExternalAuth | RouteFilterType::ExtensionRef => {
            Err(Fault::new("NotBuiltYet", format!("a filter of type {:?} is not built yet", said.kind)))
        }
    }
}

fn edit(said: &HeaderModifier) -> HeaderEdit {
    let pair = |value: &api::http_route::HeaderValue| -> (Arc<str>, Arc<str>) {
        (value.name.to_ascii_lowercase().into(), value.value.as_str().into())
    };
    HeaderEdit {
        set: said.set.iter().map(pair).collect(),
        add: said.add.iter().map(pair).collect(),
        remove: said.remove.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
    }
}

fn path(said: &PathModifier) -> Result<PathRewrite, Fault> {
    let missing = || Fault::new("InvalidFilter", "a path modifier does not say by what the path is replaced");
    match said.kind {
        PathModifierType::ReplaceFullPath => {
            Ok(PathRewrite::Full(said.replace_full_path.as_deref().ok_or_else(missing)?.into()))
        }
        PathModifierType::ReplacePrefixMatch => {
            Ok(PathRewrite::Prefix(said.replace_prefix_match.as_deref().ok_or_else(missing)?.into()))
        }
    }
}

fn mirror(reader: &Reader<'_>, route: &Name, said: &RequestMirror) -> Result<Mirror, Fault> {
    let to = &said.backend_ref;
    let backend = attach::backend(
        reader,
        route,
        &BackendReference {
            group: &to.group,
            kind: &to.kind,
            namespace: to.namespace.as_ref().map_or(&route.namespace, |namespace| namespace.as_str()),
            name: to.name.as_str(),
            port: to.port,
        },
    )?;
    let (numerator, denominator) = match (said.percent, &said.fraction) {
        (_, Some(fraction)) => (fraction.numerator, fraction.denominator.max(1)),
        (Some(percent), None) => (u32::from(percent), 100),
        (None, None) => (1, 1),
    };
    Ok(Mirror { target: backend.target, numerator, denominator })
}
