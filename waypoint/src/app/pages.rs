//! What a waypoint shows to those who run it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use runtime::{Admin, Answer, DrainWatch, Query, trace::TraceId};
use serde_json::{Value, json};
use transport::{Address, Listener};

use super::{error::RunError, shared::Shared};
use crate::connections::{Kind, Running};

const ADMIN_PORT: u16 = 15000;
const METRICS_PORT: u16 = 15020;
const READY_PORT: u16 = 15021;
/// Spans that are shown where no trace is asked for.
const SPANS_SHOWN: usize = 200;

/// Listens on the three ports and serves their pages.
pub(super) fn listen(shared: &Arc<Shared>, drain: &DrainWatch) -> Result<(), RunError> {
    let metrics = || Admin::new().metrics(shared.metrics.clone());
    let ready = || Admin::new().readiness(shared.readiness.clone());
    serve(shared, METRICS_PORT, metrics(), drain)?;
    serve(shared, READY_PORT, ready(), drain)?;
    let page = |show: fn(&Shared, &Query) -> Answer| {
        let shared = Arc::clone(shared);
        move |query: Query| show(&shared, &query)
    };
    let admin = Admin::new()
        .metrics(shared.metrics.clone())
        .readiness(shared.readiness.clone())
        .page("/v1/connections", "what runs: exchanges and relays", page(connections))
        .page("/v1/listeners", "the ports of the edge and what is wrong with them", page(listeners))
        .page("/v1/certificates", "the certificate and its renewal", page(certificates))
        .page("/v1/spans", "spans kept here; ?trace=ID for one trace", page(spans))
        .page("/v1/tools", "tools of MCP servers as they are now, and as they were approved", page(tools))
        .page("/v1/refusals", "?since=SECONDS: what was refused lately", page(refusals))
        .page("/config_dump", "what the control plane told", page(dump));
    serve(shared, ADMIN_PORT, admin, drain)
}

fn serve(shared: &Shared, port: u16, admin: Admin, drain: &DrainWatch) -> Result<(), RunError> {
    let at = SocketAddr::new(shared.config.address, port);
    let listener = Listener::bind(&Address::Tcp(at)).map_err(|cause| RunError::Listen { at, cause })?;
    let (admin, drain) = (Arc::new(admin), drain.clone());
    tokio::spawn(async move {
        let mut closing = drain.clone();
        loop {
            let socket = tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(socket) => socket,
                    Err(error) => {
                        tracing::error!(%error, port, "a page's listener failed");
                        return;
                    }
                },
                () = closing.closing() => return,
            };
            tokio::spawn(Arc::clone(&admin).serve(socket, drain.clone()));
        }
    });
    Ok(())
}

fn connections(shared: &Shared, _: &Query) -> Answer {
    let now = SystemTime::now();
    let rows: Vec<Value> =
        shared.connections.list().iter().map(|(id, running)| row(*id, running, now)).collect();
    Answer::json(&rows)
}

fn row(id: u64, running: &Running, now: SystemTime) -> Value {
    let record = running.trail.record();
    let upstream = record.upstream.as_ref();
    let destination = upstream.and_then(|upstream| upstream.service.as_ref()).map(ToString::to_string);
    json!({
        "id": id,
        "kind": match running.kind { Kind::Exchange => "exchange", Kind::Relay => "relay" },
        "source": running.facts.caller.workload.to_string(),
        "by": running.facts.caller.by.as_ref().map(ToString::to_string),
        "destination": destination.or_else(|| running.facts.http.known().map(|http| http.host.to_string())),
        "port": running.facts.port,
        "upstream": upstream.map(|upstream| upstream.workload.to_string()),
        "age_seconds": now.duration_since(running.began).unwrap_or_default().as_secs(),
    })
}

fn certificates(shared: &Shared, _: &Query) -> Answer {
    Answer::json(&shared.keeper.report())
}

fn listeners(shared: &Shared, _: &Query) -> Answer {
    let world = shared.worlds.load();
    let standing = shared.standing.ports();
    let rows = world.edge.ports().flat_map(|(number, port)| {
        let stands = standing.get(&number);
        port.listeners().map(move |listener| {
            let mut troubles = shared.certificates.troubles(listener);
            troubles.extend(stands.and_then(|it| it.as_ref().err()).cloned());
            json!({
                "listener": listener.key_name(),
                "port": number,
                "tls": port.secured,
                "hostname": listener.hostname.as_ref().map(|it| &it.0),
                "bound": stands.and_then(|it| it.as_ref().ok()).map(ToString::to_string),
                "troubles": troubles,
            })
        })
    });
    Answer::json(&rows.collect::<Vec<_>>())
}

fn spans(shared: &Shared, query: &Query) -> Answer {
    match query.get("trace").map(str::parse::<TraceId>) {
        None => Answer::json(&shared.spans.latest(SPANS_SHOWN)),
        Some(Ok(trace)) => Answer::json(&shared.spans.of(trace)),
        Some(Err(error)) => Answer::status(http::StatusCode::BAD_REQUEST, error.to_string()),
    }
}

fn tools(shared: &Shared, _: &Query) -> Answer {
    let world = shared.worlds.load();
    let known = crate::known::Told(Arc::clone(&shared.worlds));
    let catalogue_of = |name: &mesh::names::ObjectName| world.snapshot.backend(name)?.catalogue.clone();
    Answer::json(&shared.tools.rows(&known, catalogue_of))
}

fn refusals(shared: &Shared, query: &Query) -> Answer {
    let since = query.get("since").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let from = since.and_then(|since| SystemTime::now().checked_sub(since)).unwrap_or(SystemTime::UNIX_EPOCH);
    Answer::json(&shared.records.refusals.since(from))
}

fn dump(shared: &Shared, _: &Query) -> Answer {
    let world = shared.worlds.load();
    let snapshot = &world.snapshot;
    let [workloads, services, policies, sets] = snapshot.counts();
    Answer::json(&json!({
        "generation": shared.worlds.generation(),
        "counts": {"workloads": workloads, "services": services, "policies": policies, "sets": sets},
        "workloads": snapshot.workloads().collect::<Vec<_>>(),
        "services": snapshot.services().collect::<Vec<_>>(),
        "listeners": snapshot.listeners().collect::<Vec<_>>(),
        "routes": snapshot.routes().collect::<Vec<_>>(),
        "policies": snapshot.policies().map(|policy| json!({"name": policy.name, "version": policy.version})).collect::<Vec<_>>(),
        "ranges": snapshot.ranges().collect::<Vec<_>>(),
        "bundles": snapshot.bundles().map(|it| json!({"trust_domain": it.trust_domain, "sequence": it.sequence, "roots": it.roots.len()})).collect::<Vec<_>>(),
        "upstream_tunnels": {"tunnels": shared.pool.usage().tunnels, "streams": shared.pool.usage().streams},
    }))
}
