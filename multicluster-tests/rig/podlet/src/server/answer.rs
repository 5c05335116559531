//! Answers that are ready at once.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::Response;
use hyper::header::CONTENT_TYPE;
use k8s_openapi::List;
use k8s_openapi::api::core::v1::Pod;

use crate::log::ReadError;
use crate::registry::Pods;

/// A body, whole or as it comes.
pub(crate) type Body = UnsyncBoxBody<Bytes, ReadError>;

/// A sentence (or any text) with a code.
pub(crate) fn text(code: u16, text: impl Into<String>) -> Response<Body> {
    with_type(code, "text/plain; charset=utf-8", text.into())
}

/// The node's pods.
pub(crate) fn pods(pods: &Pods) -> Response<Body> {
    let items = pods.all().iter().map(|entry| entry.state().pod.as_ref().clone()).collect();
    let list: List<Pod> = List { items, metadata: Default::default() };
    match serde_json::to_string(&list) {
        Ok(json) => with_type(200, "application/json", json),
        Err(error) => text(500, format!("cannot write the pods as JSON: {error}\n")),
    }
}

/// How many pods and containers run, by the names that the kubelet uses.
pub(crate) fn metrics(pods: &Pods) -> Response<Body> {
    let states: Vec<_> = pods.all().iter().map(|entry| entry.state()).collect();
    let running = |state: &&crate::registry::PodState| {
        state.containers.values().any(|container| container.running.is_some())
    };
    let containers = states.iter().flat_map(|state| state.containers.values());
    let containers_running = containers.filter(|container| container.running.is_some()).count();
    let pods_running = states.iter().filter(running).count();
    let text = format!(
        "# HELP kubelet_running_pods Number of pods that have a running container.\n\
         # TYPE kubelet_running_pods gauge\n\
         kubelet_running_pods {pods_running}\n\
         # HELP kubelet_running_containers Number of containers by their state.\n\
         # TYPE kubelet_running_containers gauge\n\
         kubelet_running_containers{{container_state=\"running\"}} {containers_running}\n"
    );
    with_type(200, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// Nothing.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn with_type(code: u16, kind: &'static str, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(code).expect("the callers give codes of HTTP");
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
