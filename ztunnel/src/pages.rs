//! The pages of a node proxy, and where they are served.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use runtime::{Admin, Answer, DrainWatch, Metrics, Query, Readiness, Spans, trace::TraceId};
use serde_json::json;
use transport::{Address, Listener};
use wire::report::RefusalId;

use crate::node::Node;

/// Spans that are shown where no trace is asked for.
const SPANS_SHOWN: usize = 200;

/// Everything: for those who run the node, at a loopback address.
pub(crate) fn admin(node: &Arc<Node>, readiness: &Readiness, metrics: &Metrics) -> Admin {
    let (of, certificates) = (node.clone(), node.keeper.clone());
    let admin = Admin::new()
        .readiness(readiness.clone())
        .metrics(metrics.clone())
        .page("/v1/connections", "open connections", move |_| Answer::json(&of.connections.rows()))
        .page("/v1/certificates", "certificates of the workloads here", move |_| {
            Answer::json(&certificates.report())
        });
    let of = node.clone();
    let admin = admin.page("/v1/snapshot", "how much is known", move |_| {
        let held = of.world.load();
        let [workloads, services, policies, sets] = held.snapshot.counts();
        let usage = of.pool.usage();
        Answer::json(&json!({
            "number": held.number,
            "workloads": workloads,
            "services": services,
            "policies": policies,
            "policySets": sets,
            "connections": of.connections.len(),
            "tunnelsIn": of.tunnels.open(),
            "tunnelsOut": usage.tunnels,
            "streamsOut": usage.streams,
        }))
    });
    let of = node.report.spans.clone();
    let admin =
        admin.page("/v1/spans", "spans kept here; ?trace=ID for one trace", move |query| spans(&of, &query));
    let of = node.clone();
    admin.page("/v1/refusals", "refusals kept here; ?id=ID for one", move |query| match query.get("id") {
        None => Answer::json(&of.report.refusals.since(SystemTime::UNIX_EPOCH)),
        Some(id) => match id.parse::<RefusalId>() {
            Err(error) => Answer::status(http::StatusCode::BAD_REQUEST, error.to_string()),
            Ok(id) => match of.report.refusals.find(&id) {
                Some(refusal) => Answer::json(&*refusal),
                None => Answer::status(http::StatusCode::NOT_FOUND, "it is not kept here (any more)"),
            },
        },
    })
}

fn spans(spans: &Spans, query: &Query) -> Answer {
    match query.get("trace").map(str::parse::<TraceId>) {
        None => Answer::json(&spans.latest(SPANS_SHOWN)),
        Some(Ok(trace)) => Answer::json(&spans.of(trace)),
        Some(Err(error)) => Answer::status(http::StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// Serves pages at an address until the program closes.
pub(crate) async fn serve(admin: Arc<Admin>, listener: Listener, drain: DrainWatch) {
    let mut closing = drain.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.closing() => return,
        };
        match accepted {
            Ok(socket) => {
                tokio::spawn(admin.clone().serve(socket, drain.clone()));
            }
            Err(error) => {
                tracing::error!(%error, "pages are served no more");
                return;
            }
        }
    }
}

/// Binds an address for pages.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<Listener> {
    Listener::bind(&Address::Tcp(address))
}
