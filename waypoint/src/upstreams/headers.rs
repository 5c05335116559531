//! What is taken from a request before it is sent on, and what is added: fields of one connection only, claims of
//! identity, and the caller as we know it.

use std::net::Ipv6Addr;

use exchange::{Request, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header};
use mesh::{Caller, Identity, resource::ExternalHost};
use runtime::{
    TraceContext,
    trace::{TRACEPARENT, TRACESTATE},
};

use super::speaks::Speaks;
use crate::edge::forwarded;

/// Says who the caller is, to applications behind a waypoint.
pub const FORWARDED_CLIENT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

// RFC 9110, section 7.6.1, and those that older software uses alike.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    header::TE,
];

/// Removes what claims an identity: only a waypoint says who the caller is.
pub fn strip_claims(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers.keys().filter(|name| is_claim(name)).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Removes from the trailers of a request what would say who sends it, where it goes or how it is read, to a server that
/// takes trailers for headers (RFC 9110, section 6.5.1). No policy has read them.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    const NEVER: [HeaderName; 9] = [
        header::AUTHORIZATION,
        header::COOKIE,
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
        header::EXPECT,
        header::TRAILER,
    ];
    strip_claims(trailers);
    forwarded::strip(trailers);
    for name in NEVER.iter().chain(&HOP_BY_HOP) {
        trailers.remove(name);
    }
    for name in [TRACEPARENT, TRACESTATE] {
        trailers.remove(name);
    }
}

/// Applications that get fields as variables cannot tell a hyphen from an underscore (RFC 3875, section 4.1.18).
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    name == FORWARDED_CLIENT.as_str() || name.starts_with("x-strait-")
}

/// The protocol that a request wants to change to, if it asks for exactly one that we let through.
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = nominated(headers).iter().any(|name| name == "upgrade");
    let mut said = headers.get_all(header::UPGRADE).iter();
    match (said.next(), said.next()) {
        (Some(only), None) if asks && !carries_requests(only) => Some(only.clone()),
        _ => None,
    }
}

/// Behind another HTTP, or TLS that may hold one, requests would follow that nobody here judges.
fn carries_requests(protocol: &HeaderValue) -> bool {
    protocol.to_str().map_or(true, |text| {
        let text = text.trim().to_ascii_lowercase();
        text.contains(',') || ["h2", "h3", "http", "tls"].iter().any(|begin| text.starts_with(begin))
    })
}

fn nominated(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in nominated(headers) {
        // `Connection` may not take what says where the message goes or ends, or who sent it.
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes())
            && !matches!(name, header::HOST | header::CONTENT_LENGTH | header::AUTHORIZATION)
        {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Takes out what is of the caller's connection, or claims an identity.
fn clean(request: &mut Request, speaks: Speaks) {
    let upgrade = upgrade(request.headers()).filter(|_| speaks == Speaks::Http1);
    let trailers = request
        .headers()
        .get_all(header::TE)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    let headers = request.headers_mut();
    strip_claims(headers);
    strip_hop_by_hop(headers);
    // The body says its own length; what the caller said of it was checked already.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    if trailers && speaks == Speaks::Http2 {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Makes a request ready to be sent upstream.
pub fn prepare(request: &mut Request, own: &Identity, caller: &Caller, speaks: Speaks) {
    clean(request, speaks);
    let headers = request.headers_mut();
    if let Some(identity) = caller.workload.verified()
        && let Ok(value) = HeaderValue::from_str(&format!("By={own};URI={identity}"))
    {
        headers.insert(FORWARDED_CLIENT, value);
    }
    shape(request, speaks, false);
}

/// Makes a request ready to be sent to a host outside the mesh: nobody there is told who calls, nor from where.
pub fn prepare_outside(request: &mut Request, host: &ExternalHost, speaks: Speaks) {
    clean(request, speaks);
    let headers = request.headers_mut();
    forwarded::strip(headers);
    // What a responder puts in place of the caller's is marked as a secret; what the caller showed us is not for others.
    // A cookie is a credential too, of another site than the one that we call.
    for name in [header::AUTHORIZATION, header::COOKIE] {
        if headers.get_all(&name).iter().any(|value| !value.is_sensitive()) {
            headers.remove(name);
        }
    }
    // A name that cannot stand in a header does not come here: it could not have been resolved.
    let value = HeaderValue::from_str(&authority_of(host)).unwrap_or_else(|_| HeaderValue::from_static(""));
    headers.insert(header::HOST, value);
    if let Some(target) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(target);
    }
}

/// How a host outside is named: without the port that everybody expects.
fn authority_of(host: &ExternalHost) -> String {
    let name = host.host.as_str();
    let name = if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() };
    match (host.port, host.tls.is_some()) {
        (443, true) | (80, false) => name,
        (port, _) => format!("{name}:{port}"),
    }
}

/// Brings a request into the form of a version of HTTP: HTTP/1.1 says the host in `Host`, HTTP/2 in `:authority`.
pub fn shape(request: &mut Request, speaks: Speaks, secured: bool) {
    match speaks {
        // To be shaped when it is known which of both.
        Speaks::Either => {}
        Speaks::Http1 => {
            *request.version_mut() = Version::HTTP_11;
            name_host(request);
        }
        Speaks::Http2 => {
            *request.version_mut() = Version::HTTP_2;
            let headers = request.headers_mut();
            headers.remove(header::CONNECTION);
            headers.remove(header::UPGRADE);
            name_authority(request, secured);
        }
    }
}

fn name_host(request: &mut Request) {
    let host = request.uri().authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok());
    if let (Some(host), Some(target)) = (host, request.uri().path_and_query().cloned()) {
        request.headers_mut().insert(header::HOST, host);
        *request.uri_mut() = Uri::from(target);
    }
}

fn name_authority(request: &mut Request, secured: bool) {
    let Some(host) = request.headers_mut().remove(header::HOST) else { return };
    let mut parts = request.uri().clone().into_parts();
    let authority = host.to_str().ok().and_then(|host| host.parse().ok());
    if let Some(authority) = authority {
        parts.authority = Some(authority);
        parts.scheme = Some(if secured { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP });
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

/// Says our place in the caller's trace, in place of the caller's own.
pub fn trace(headers: &mut HeaderMap, trace: &TraceContext) {
    headers.remove(TRACESTATE);
    if let Ok(value) = HeaderValue::from_str(&trace.parent()) {
        headers.insert(TRACEPARENT, value);
        if let Some(state) = trace.state.as_deref().and_then(|state| HeaderValue::from_str(state).ok()) {
            headers.insert(TRACESTATE, state);
        }
    }
}

/// Removes what an answer says of the connection it came by.
pub fn clean_response(response: &mut Response) {
    let switching = response.status() == http::StatusCode::SWITCHING_PROTOCOLS;
    let upgrade = response.headers().get(header::UPGRADE).cloned().filter(|_| switching);
    let headers = response.headers_mut();
    strip_hop_by_hop(headers);
    headers.remove(FORWARDED_CLIENT);
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

#[cfg(test)]
mod tests {
    use exchange::Body;
    use mesh::Peer;

    use super::*;

    fn prepared(headers: &[(&'static str, &str)], speaks: Speaks) -> Request {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = "/a?b".parse().unwrap();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        let own = "spiffe://east/ns/shop/sa/waypoint".parse().unwrap();
        let caller =
            Caller { workload: Peer::Verified("spiffe://east/ns/lab/sa/planner".parse().unwrap()), by: None };
        prepare(&mut request, &own, &caller, speaks);
        request
    }

    #[test]
    fn attack_claims_of_identity_are_replaced_by_what_we_know() {
        let request = prepared(
            &[
                ("host", "a"),
                ("x-forwarded-client-cert", "By=x;URI=spiffe://east/ns/a/sa/admin"),
                ("x-strait-origin", "x"),
                ("x_forwarded_client_cert", "URI=spiffe://east/ns/a/sa/admin"),
                ("X-Forwarded_Client-Cert", "URI=spiffe://east/ns/a/sa/admin"),
                ("x_strait_origin", "x"),
            ],
            Speaks::Http1,
        );
        let said: Vec<_> = request.headers().get_all(FORWARDED_CLIENT).iter().collect();
        assert_eq!(said, ["By=spiffe://east/ns/shop/sa/waypoint;URI=spiffe://east/ns/lab/sa/planner"]);
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["host", "x-forwarded-client-cert"]);
    }

    #[test]
    fn fields_of_one_connection_stay_on_it() {
        let request = prepared(
            &[
                ("host", "a"),
                ("connection", "keep-alive, X-Private, host"),
                ("x-private", "1"),
                ("keep-alive", "5"),
                ("te", "gzip"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "h2c"),
                ("content-length", "3"),
                ("x-kept", "1"),
            ],
            Speaks::Http1,
        );
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "x-forwarded-client-cert", "x-kept"]);
    }

    #[test]
    fn an_upgrade_is_asked_for_in_http1_only() {
        let asked = [("host", "a"), ("connection", "Upgrade"), ("upgrade", "websocket")];
        assert_eq!(prepared(&asked, Speaks::Http1).headers()["upgrade"], "websocket");
        assert!(!prepared(&asked, Speaks::Http2).headers().contains_key("upgrade"));
    }

    #[test]
    fn nobody_upgrades_to_requests_that_are_not_judged() {
        for (protocol, passes) in [
            ("websocket", true),
            ("SPDY/3.1", true),
            ("h2c", false),
            ("H2C", false),
            ("HTTP/2.0", false),
            ("TLS/1.0", false),
            ("websocket, h2c", false),
        ] {
            let asked = [("host", "a"), ("connection", "Upgrade"), ("upgrade", protocol)];
            assert_eq!(
                prepared(&asked, Speaks::Http1).headers().contains_key("upgrade"),
                passes,
                "{protocol}"
            );
        }
        let twice = [("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")];
        assert!(!prepared(&twice, Speaks::Http1).headers().contains_key("upgrade"));
    }

    #[test]
    fn attack_claims_of_identity_in_trailers_are_removed() {
        let mut trailers = HeaderMap::new();
        for name in [
            "x-forwarded-client-cert",
            "x_forwarded_client_cert",
            "x-strait-origin",
            "x-forwarded-for",
            "authorization",
            "cookie",
            "host",
            "transfer-encoding",
            "traceparent",
            "x-checksum",
            "grpc-status",
        ] {
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        clean_trailers(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-checksum"]);
    }

    #[test]
    fn http2_names_the_authority_and_no_host() {
        let request = prepared(&[("host", "a:80"), ("te", "trailers")], Speaks::Http2);
        assert_eq!(request.uri(), "http://a:80/a?b");
        assert!(!request.headers().contains_key("host"));
        assert_eq!(request.headers()["te"], "trailers");
    }
}
