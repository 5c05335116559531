//! Authorizers that speak HTTP: they are sent the head of the request, at a path before its own; 200 is a yes.

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::Bytes;
use exchange::{Body, Request};
use mesh::resource::Authorizer;

use super::{
    headers::{HEADERS_MAX, changes, may_change, told},
    said::{Said, refusing},
};

pub(super) fn question(
    authorizer: &Authorizer,
    prefix: &str,
    asked: &Request,
    body: Bytes,
) -> Result<Request, String> {
    let path = asked.uri().path_and_query().map_or("/", |it| it.as_str());
    let path = format!("{}{path}", prefix.trim_end_matches('/'));
    let mut request = Request::new(Body::held_bytes(body));
    *request.method_mut() = asked.method().clone();
    *request.uri_mut() = path.parse().map_err(|_| format!("{path:?} is no path"))?;
    for (name, value) in told(authorizer, asked.headers()) {
        let field = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
        if let (Ok(name), Ok(value)) = field
            && may_change(&name)
        {
            request.headers_mut().insert(name, value);
        }
    }
    if let Some(host) = asked.headers().get(header::HOST) {
        request.headers_mut().insert(HeaderName::from_static("x-forwarded-host"), host.clone());
    }
    Ok(request)
}

pub(super) fn answer(authorizer: &Authorizer, said: ::http::Response<Bytes>) -> Result<Said, String> {
    let (head, body) = said.into_parts();
    match head.status {
        StatusCode::OK => {
            let named = |name: &HeaderName| {
                authorizer.upstream_headers.iter().any(|it| it.eq_ignore_ascii_case(name.as_str()))
            };
            let names = head.headers.keys().filter(|name| named(name)).take(HEADERS_MAX);
            let set = names.filter_map(|name| Some((name.clone(), head.headers.get(name)?.clone(), false)));
            Ok(Said::Yes(changes(set, [])))
        }
        status if status.is_server_error() => Err(format!("the status is {status}")),
        status => {
            let mut headers = HeaderMap::new();
            for name in [header::CONTENT_TYPE, header::LOCATION, header::WWW_AUTHENTICATE, header::SET_COOKIE]
            {
                for value in head.headers.get_all(&name) {
                    headers.append(name.clone(), value.clone());
                }
            }
            Ok(Said::No { status: refusing(status.as_u16()), headers, body })
        }
    }
}
