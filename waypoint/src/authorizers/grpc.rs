//! `envoy.service.auth.v3.Authorization/Check`: one message there and one back (gRPC over HTTP/2).

use std::collections::BTreeMap;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use bytes::{BufMut, Bytes, BytesMut};
use exchange::{Body, Request, Trailers};
use mesh::{
    Facts,
    facts::{Fact, McpObject, Model},
    resource::Authorizer,
};
use prost::Message;
use proto::envoy::service::auth::v3::{
    Address, AttributeContext, CheckRequest, CheckResponse, HeaderValueOption, SocketAddress,
    attribute_context::{self, HttpRequest, Peer},
};

use super::{
    headers::{HEADERS_MAX, changes, told},
    said::{Said, refusing},
};

pub(super) fn question(
    authorizer: &Authorizer,
    facts: &Facts,
    request: &Request,
    body: &Bytes,
) -> Result<Request, String> {
    let text = std::str::from_utf8(body).map(str::to_owned);
    let peer = |principal: String, address: Option<std::net::IpAddr>, port: u32| Peer {
        address: address.map(|address| Address {
            socket_address: Some(SocketAddress { address: address.to_string(), port_value: port }),
        }),
        principal,
        ..Peer::default()
    };
    let caller = facts.caller.workload.verified().map(ToString::to_string).unwrap_or_default();
    let check = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer(caller, facts.source_address, 0)),
            destination: Some(peer(String::new(), None, u32::from(facts.port))),
            request: Some(attribute_context::Request {
                http: Some(HttpRequest {
                    method: request.method().as_str().to_owned(),
                    headers: told(authorizer, request.headers()).into_iter().collect(),
                    path: request.uri().path_and_query().map(|it| it.as_str().to_owned()).unwrap_or_default(),
                    host: facts.http.known().map(|http| http.host.to_string()).unwrap_or_default(),
                    scheme: "http".to_owned(),
                    size: i64::try_from(body.len()).unwrap_or(-1),
                    protocol: format!("{:?}", request.version()),
                    raw_body: if text.is_err() { body.to_vec() } else { Vec::new() },
                    body: text.unwrap_or_default(),
                    ..HttpRequest::default()
                }),
            }),
            context_extensions: context(facts),
        }),
    };
    let mut framed = BytesMut::with_capacity(5 + check.encoded_len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(check.encoded_len()).map_err(|error| error.to_string())?);
    check.encode(&mut framed).map_err(|error| error.to_string())?;
    let mut request = Request::new(Body::held_bytes(framed.freeze()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = ::http::Uri::from_static("/envoy.service.auth.v3.Authorization/Check");
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    Ok(request)
}

/// What is known beside the request's own words: the person, and what a message in it does.
fn context(facts: &Facts) -> BTreeMap<String, String> {
    let mut context = BTreeMap::new();
    let mut tell = |name: &str, value: &str| context.insert(name.to_owned(), value.to_owned());
    if let Some(user) = &facts.user {
        tell("user", &user.subject);
    }
    if let Fact::Known(mcp) = &facts.mcp {
        tell("mcp.method", &mcp.method);
        match &mcp.object {
            McpObject::Tool { name, .. } | McpObject::Prompt { name } => tell("mcp.name", name),
            McpObject::Resource { uri } => tell("mcp.name", uri),
            McpObject::Base | McpObject::Other => None,
        };
    }
    if let Fact::Known(a2a) = &facts.a2a {
        tell("a2a.method", &a2a.method);
    }
    if let Fact::Known(llm) = &facts.llm {
        tell("llm.operation", &llm.operation);
        if let Model::Used { provider, model } = &llm.model {
            tell("llm.provider", provider);
            tell("llm.model", model);
        }
    }
    context
}

pub(super) fn answer(said: ::http::Response<Bytes>) -> Result<Said, String> {
    // A call ends by its trailers, or where there is no message by its head.
    let trailers = said.extensions().get::<Trailers>().and_then(|it| it.0.get("grpc-status"));
    let said_status = trailers.or_else(|| said.headers().get("grpc-status"));
    if said.status() != 200 || said_status.is_none_or(|status| status != "0") {
        return Err(format!("the status is {}, and of gRPC {said_status:?}", said.status()));
    }
    let body = said.into_body();
    let length = match body.get(..5) {
        Some([0, length @ ..]) => <[u8; 4]>::try_from(length).map(u32::from_be_bytes).ok(),
        _ => None,
    };
    let whole = length.is_some_and(|length| usize::try_from(length) == Ok(body.len() - 5));
    if !whole {
        return Err("the answer is not one message".to_owned());
    }
    let answer = CheckResponse::decode(body.slice(5..)).map_err(|error| error.to_string())?;
    // Without a status it says nothing, and that is no yes.
    let status = answer.status.ok_or("the answer has no status")?;
    if status.code == 0 && answer.denied_response.is_none() {
        let ok = answer.ok_response.unwrap_or_default();
        let remove =
            ok.headers_to_remove.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        return Ok(Said::Yes(changes(ok.headers.iter().filter_map(field), remove)));
    }
    let denied = answer.denied_response.unwrap_or_default();
    let code = denied.status.map_or(403, |status| u16::try_from(status.code).unwrap_or(403));
    let mut headers = HeaderMap::new();
    for (name, value, _) in denied.headers.iter().filter_map(field).take(HEADERS_MAX) {
        headers.append(name, value);
    }
    Ok(Said::No { status: refusing(code), headers, body: Bytes::from(denied.body) })
}

fn field(option: &HeaderValueOption) -> Option<(HeaderName, HeaderValue, bool)> {
    let header = option.header.as_ref()?;
    let name = HeaderName::from_bytes(header.key.as_bytes()).ok()?;
    let value = if header.value.is_empty() { &header.raw_value } else { header.value.as_bytes() };
    Some((name, HeaderValue::from_bytes(value).ok()?, option.append.unwrap_or(false)))
}

#[cfg(test)]
mod tests {
    use proto::{
        envoy::service::auth::v3::{DeniedHttpResponse, HttpStatus, OkHttpResponse},
        google::rpc::Status,
    };

    use super::*;

    fn framed(answer: &CheckResponse) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(0);
        out.put_u32(answer.encoded_len() as u32);
        answer.encode(&mut out).unwrap();
        out.freeze()
    }

    fn ended(bytes: Bytes, status: &'static str) -> ::http::Response<Bytes> {
        let mut response = ::http::Response::new(bytes);
        let trailers = HeaderMap::from_iter([(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        )]);
        response.extensions_mut().insert(Trailers(trailers));
        response
    }

    fn said(
        code: i32,
        denied: Option<DeniedHttpResponse>,
        ok: Option<OkHttpResponse>,
    ) -> Result<Said, String> {
        let status = Some(Status { code, message: String::new() });
        answer(ended(framed(&CheckResponse { status, denied_response: denied, ok_response: ok }), "0"))
    }

    #[test]
    fn only_a_whole_answer_with_status_zero_is_a_yes() {
        assert!(matches!(said(0, None, None), Ok(Said::Yes(_))));
        assert!(matches!(said(7, None, None), Ok(Said::No { status, .. }) if status == 403));
        let denied = DeniedHttpResponse { status: Some(HttpStatus { code: 401 }), ..Default::default() };
        assert!(matches!(said(16, Some(denied.clone()), None), Ok(Said::No { status, .. }) if status == 401));
        assert!(matches!(said(0, Some(denied), None), Ok(Said::No { .. })));
        assert!(answer(ended(framed(&CheckResponse::default()), "0")).is_err());
        let good = framed(&CheckResponse { status: Some(Status::default()), ..Default::default() });
        for bytes in [
            Bytes::new(),
            good.slice(..good.len() - 1),
            Bytes::from_static(b"<html>"),
            [&good[..], b"x"].concat().into(),
        ] {
            assert!(answer(ended(bytes.clone(), "0")).is_err(), "{bytes:?}");
        }
        // A message before a call that failed, or that does not end, is no answer.
        assert!(answer(ended(good.clone(), "0")).is_ok());
        assert!(answer(ended(good.clone(), "13")).is_err());
        assert!(answer(::http::Response::new(good.clone())).is_err());
        let mut refused = ::http::Response::new(good);
        refused.headers_mut().insert("grpc-status", HeaderValue::from_static("14"));
        assert!(answer(refused).is_err());
    }
}
