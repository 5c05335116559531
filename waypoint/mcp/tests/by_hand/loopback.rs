//! Serves the responder alone on loopback, in front of one MCP server: `loopback PORT SERVER [hide=NAME]...`.
//!
//! No mesh and no policy: everything is granted but what is hidden by name. It is there so that clients and
//! conformance suites can be held against the responder without the programs around it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use exchange::{
    Ask, Backend, Body, BoxFuture, Call, CallError, Closing, Exceeded, Exchange, Judge, Known, Ledger, Place,
    Purpose, Register, Reply, Reservation, Responder, Trail, Upstreams,
};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mcp::{Config, Mcp, Sealer, Tools};
use mesh::{
    Caller, Denial, Facts, Peer, Reason,
    facts::{Demand, Fact, McpObject},
    names::{ObjectName, ServiceKey},
    resource::{Authorizer, Catalogue, Guard, Issuer, Protocol, Quota, Secret, Traffic},
};
use tokio::net::{TcpListener, TcpStream};

struct Hidden(Vec<String>);

impl Judge for Hidden {
    fn judge(&self, _: &Place, facts: &Facts, _: Purpose) -> Result<(), Denial> {
        let hidden = match facts.mcp.known().map(|facts| &facts.object) {
            Some(McpObject::Tool { name, .. } | McpObject::Prompt { name }) => {
                self.0.iter().any(|hidden| **hidden == **name)
            }
            Some(McpObject::Resource { uri }) => self.0.iter().any(|hidden| **hidden == **uri),
            Some(McpObject::Base | McpObject::Other) => false,
            None => true,
        };
        if hidden { Err(Denial::plain(Reason::NoGrant, "hidden by name")) } else { Ok(()) }
    }

    fn authorizers(&self, _: &Place, _: &Facts) -> Result<Vec<Arc<Authorizer>>, Denial> {
        Ok(Vec::new())
    }

    fn generation(&self) -> u64 {
        0
    }

    fn changed(&self, _: u64) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// Nothing but policies.
struct Nothing;

impl Known for Nothing {
    fn guards(&self, _: &[Place]) -> Vec<Arc<Guard>> {
        Vec::new()
    }

    fn quotas(&self, _: &[Place]) -> Vec<Arc<Quota>> {
        Vec::new()
    }

    fn catalogue(&self, _: &ObjectName) -> Option<Arc<Catalogue>> {
        None
    }

    fn secret(&self, _: &ObjectName) -> Option<Arc<Secret>> {
        None
    }

    fn issuer(&self, _: &str) -> Option<Arc<Issuer>> {
        None
    }
}

impl Ledger for Nothing {
    fn reserve(&self, _: &Facts, _: &[Arc<Quota>], _: &Ask) -> Result<Box<dyn Reservation>, Exceeded> {
        Err(Exceeded {
            denial: Denial::plain(Reason::QuotaExceeded, "nothing is held here"),
            most: 0,
            left: 0,
            resets_in: None,
            unit: "requests",
        })
    }
}

struct Printed;

impl Register for Printed {
    fn refused(&self, denial: &Denial, _: &Facts, _: &Trail) -> Arc<str> {
        eprintln!("refused: {denial}");
        "loopback-1".into()
    }
}

struct Loopback(SocketAddr);

impl Upstreams for Loopback {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(async move {
            let bad = |error: &dyn std::fmt::Display| CallError::BadAnswer(error.to_string());
            let stream = TcpStream::connect(self.0).await.map_err(|error| bad(&error))?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| bad(&error))?;
            tokio::spawn(connection);
            let response = sender.send_request(call.request).await.map_err(|error| bad(&error))?;
            Ok(Reply { response: response.map(Body::streamed), endpoint: "loopback".into() })
        })
    }
}

async fn answer(
    request: http::Request<hyper::body::Incoming>,
    responder: &Mcp,
    judge: Arc<dyn Judge>,
    upstreams: &Loopback,
) -> http::Response<Body> {
    let mut request = request.map(Body::streamed);
    let mcp = mcp::read(&mut request, Config::default().body_bytes_max).await;
    let service = ServiceKey { namespace: "demo".into(), hostname: "tools.demo.svc.cluster.local".into() };
    let place = Place::Service { service: service.clone(), port: 80 };
    let facts = Facts {
        caller: Caller { workload: Peer::Unknown, by: None },
        source_address: None,
        port: 80,
        http: Fact::NotApplicable,
        mcp,
        a2a: Fact::NotApplicable,
        llm: Fact::NotApplicable,
        user: None,
    };
    let mut exchange = Exchange {
        request,
        facts: Arc::new(facts),
        demand: Demand { mcp: true, ..Demand::default() },
        route: None,
        matched_prefix: None,
        backend: Backend::Service { service, port: 80, protocol: Protocol::Mcp },
        traffic: Traffic::default(),
        pin: None,
        places: vec![place.clone()],
        judge: Arc::clone(&judge),
        known: Arc::new(Nothing),
        ledger: Arc::new(Nothing),
        watches: None,
        register: Arc::new(Printed),
        closing: Closing::default(),
        trail: Trail::default(),
    };
    match judge.judge(&place, &exchange.facts, Purpose::Decide) {
        Ok(()) => responder.respond(&mut exchange, upstreams).await,
        Err(denial) => responder.refuse(&exchange, &denial),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "loopback PORT SERVER [hide=NAME]...";
    let port: u16 = arguments.next().ok_or(usage)?.parse()?;
    let server: SocketAddr = arguments.next().ok_or(usage)?.parse()?;
    let hidden = arguments.filter_map(|argument| argument.strip_prefix("hide=").map(str::to_owned)).collect();
    let judge: Arc<dyn Judge> = Arc::new(Hidden(hidden));
    let responder =
        Arc::new(Mcp::new(Config::default(), Arc::new(Sealer::new(&[7; 32], &[])?), Tools::default()));
    let upstreams = Arc::new(Loopback(server));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (responder, judge, upstreams) =
            (Arc::clone(&responder), Arc::clone(&judge), Arc::clone(&upstreams));
        let service = hyper::service::service_fn(move |request| {
            let (responder, judge, upstreams) =
                (Arc::clone(&responder), Arc::clone(&judge), Arc::clone(&upstreams));
            async move {
                let response = answer(request, &responder, judge, &upstreams).await;
                Ok::<_, Infallible>(response.map(BodyExt::boxed))
            }
        });
        tokio::spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
