//! One exchange or relay on its way to its end: what is known of it, then one line and its counts.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use exchange::{Body, BodyError, BoxFuture, Closing, End, Exchange, Request, trail::Record};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use mesh::{
    Denial, Facts, Identity,
    facts::HttpFacts,
    names::{ObjectName, ServiceKey},
    resource::{Protocol, Workload},
    snapshot::Snapshot,
};
use runtime::{
    Entry, Span, TraceContext,
    metrics::{LabelText, Metered},
    spans::{Link, Open, SpanKind},
    trace::{SpanId, TRACEPARENT, TRACESTATE},
};
use transport::relay::Counts;

use super::{
    Report,
    metrics::{Labels, Of},
    told,
};
use crate::{
    entrance::{Entered, Front},
    waypoint::Waypoint,
};

/// Collects what is said at the end.
#[derive(Debug)]
pub struct Ended {
    report: Report,
    began: SystemTime,
    clock: Instant,
    caller: mesh::Caller,
    source_address: Option<std::net::IpAddr>,
    service: Option<(ServiceKey, u16)>,
    authority: Option<String>,
    protocol: &'static str,
    method: Option<Arc<str>>,
    host: Option<Arc<str>>,
    path: Option<Arc<str>>,
    route: Option<ObjectName>,
    received: Arc<AtomicU64>,
    grpc_status: Option<String>,
    closed: Option<String>,
    facts: Option<Arc<Facts>>,
    /// Our place in the caller's trace.
    context: TraceContext,
    parent: Option<SpanId>,
    /// The connection that carries it here.
    carrier: Option<Link>,
    /// It is known to be open.
    open: Option<Open>,
    /// A relay that carries bytes.
    relayed: Option<(Arc<Metered>, Labels)>,
}

impl Ended {
    /// Begins with a request.
    pub fn of(waypoint: &Waypoint, entered: &Entered, front: &Front, request: &Request) -> Self {
        let grpc = exchange::Convention::of(request.headers()) == exchange::Convention::Grpc;
        let protocol = match front.protocol() {
            _ if grpc => "grpc",
            Protocol::Mcp => "mcp",
            Protocol::A2a => "a2a",
            Protocol::Llm => "llm",
            Protocol::Tcp | Protocol::Http | Protocol::Http2 => "http",
        };
        let headers = request.headers();
        let values = |name| headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
        let mut before = TraceContext::read(values(TRACEPARENT), values(TRACESTATE));
        if let Some(before) = &mut before
            && entered.caller.workload.verified().is_none()
        {
            // Strangers do not decide what is exported.
            before.sampled = waypoint.report.spans.samples(before.trace);
        }
        let mut ended = Self::begin(waypoint, entered, before.as_ref(), protocol);
        ended.carrier = entered.carrier;
        ended.service = front.service();
        // As it was sent, for requests that cannot be read; what could be read replaces it.
        ended.method = Some(request.method().as_str().into());
        ended.path = Some(request.uri().path().into());
        ended
    }

    /// Begins with a stream of bytes.
    pub fn relay(
        waypoint: &Waypoint,
        entered: &Entered,
        before: Option<&TraceContext>,
        service: Option<(ServiceKey, u16)>,
        authority: String,
    ) -> Self {
        let mut ended = Self::begin(waypoint, entered, before, "tcp");
        ended.service = service;
        ended.authority = Some(authority);
        ended
    }

    fn begin(
        waypoint: &Waypoint,
        entered: &Entered,
        before: Option<&TraceContext>,
        protocol: &'static str,
    ) -> Self {
        Self {
            context: waypoint.report.spans.begin(before),
            parent: before.map(|before| before.span),
            carrier: None,
            facts: None,
            open: None,
            relayed: None,
            report: waypoint.report.clone(),
            began: (waypoint.now)(),
            clock: Instant::now(),
            caller: entered.caller.clone(),
            source_address: entered.source_address,
            service: None,
            authority: None,
            protocol,
            method: None,
            host: None,
            path: None,
            route: None,
            received: Arc::default(),
            grpc_status: None,
            closed: None,
        }
    }

    /// When it began.
    pub fn began(&self) -> SystemTime {
        self.began
    }

    /// The request was read.
    pub fn read(&mut self, http: &HttpFacts) {
        self.method = Some(Arc::clone(&http.method));
        self.host = Some(Arc::clone(&http.host));
        self.path = Some(Arc::clone(&http.path));
    }

    /// Our place in the caller's trace.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// The request was led.
    pub fn led(&mut self, exchange: &Exchange) {
        self.route = exchange.route.clone();
        exchange.trail.traced(&self.context);
    }

    /// The facts were gathered.
    pub fn gathered(&mut self, exchange: &Exchange) {
        self.facts = Some(Arc::clone(&exchange.facts));
    }

    /// The answer goes on for nobody knows how long.
    pub fn streams(&mut self, record: &Record) {
        self.open = Some(self.report.spans.open(self.span(record)));
    }

    /// A relay carries bytes from now on, which are counted there.
    pub fn opened(&mut self, counts: &Arc<Counts>, record: &Record) {
        let labels = self.labels(&self.report.worlds.load().snapshot, record, None, "");
        let (sent, received) = self.report.requests.opened(&labels);
        let moved = Arc::clone(counts);
        let metered = self.report.meters.meter(sent, received, move || {
            (moved.received.load(Ordering::Relaxed), moved.sent.load(Ordering::Relaxed))
        });
        self.relayed = Some((metered, labels));
        self.open = Some(self.report.spans.open(self.span(record)));
    }

    /// It was closed from outside.
    pub fn closed(&mut self, denial: &Denial) {
        self.closed = Some(denial.to_string());
    }

    /// More bytes came from the caller.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes a gRPC status, from headers or trailers.
    pub fn grpc_status(&mut self, headers: &HeaderMap) {
        if self.protocol == "grpc"
            && let Some(status) = headers.get("grpc-status").and_then(|status| status.to_str().ok())
            && status.len() <= 2
            && status.bytes().all(|byte| byte.is_ascii_digit())
        {
            self.grpc_status = Some(status.to_owned());
        }
    }

    /// The request with its body counted, and cut if the exchange is closed.
    pub fn count_request(&self, request: Request, closing: &Closing) -> Request {
        if request.body().is_empty() {
            return request;
        }
        let received = Arc::clone(&self.received);
        let closed: BoxFuture<'static, Arc<Denial>> = Box::pin(closing.closed());
        request.map(|body| Body::piped(Counted { body, received, closed }))
    }

    /// The end of an exchange.
    pub fn finish(mut self, status: StatusCode, sent: u64, record: &Record, end: Option<&End>) {
        self.open = None;
        let elapsed = self.clock.elapsed();
        let received = self.received.load(Ordering::Relaxed);
        self.count(status, (received, sent), record, end, elapsed);
        let mut span = self.span(record);
        span.set("http.response.status_code", status.as_u16());
        span.set("strait.bytes.received", received);
        span.set("strait.bytes.sent", sent);
        span.maybe("rpc.grpc.status_code", self.grpc_status.as_deref());
        if status.is_server_error() && span.error.is_none() {
            span.failed(status.as_str());
        }
        if let Some(closed) = &self.closed {
            span.failed(closed);
        }
        self.report.spans.finish(span, elapsed);
        let Some(log) = &self.report.log else { return };
        let entry = self
            .entry("request", record, elapsed)
            .maybe("method", self.method.as_deref())
            .maybe("host", self.host.as_deref())
            .maybe("path", self.path.as_deref())
            .maybe("route", self.route.as_ref())
            .field("status", status.as_u16())
            .maybe("grpc_status", self.grpc_status.as_deref())
            .maybe("upstream_status", record.upstream_status.map(|status| status.as_u16()))
            .field("attempts", record.attempts)
            .field("bytes_received", received)
            .field("bytes_sent", sent);
        log.write(self.notes(entry, record));
    }

    fn count(
        &self,
        status: StatusCode,
        moved: (u64, u64),
        record: &Record,
        end: Option<&End>,
        elapsed: std::time::Duration,
    ) {
        let generation = self.report.worlds.generation();
        let world = self.report.worlds.load();
        let of = Of {
            source: self.caller.workload.verified().cloned(),
            upstream: record.upstream.as_ref().map(|upstream| upstream.workload.clone()),
            service: self.service.as_ref().map(|(service, _)| service.clone()),
            protocol: self.protocol,
            code: status.as_u16(),
            grpc: self.grpc_status.clone(),
            flags: flags(record, end),
        };
        let labels = || self.labels(&world.snapshot, record, end, status.as_str());
        self.report.requests.request(generation, of, labels, elapsed.as_secs_f64() * 1000.0, moved);
        let Some(facts) = &self.facts else { return };
        let is_mcp = facts.mcp.known().is_some();
        if !is_mcp && record.model.is_none() {
            return;
        }
        let names = self.report.agents.names(generation, &world.snapshot);
        let error = match &record.refusal {
            Some((denial, _)) => denial.reason.name(),
            None if status.as_u16() >= 400 => status.as_str(),
            None => "",
        };
        if is_mcp {
            let service = self.service.as_ref().map_or("unknown", |(service, _)| service.hostname.as_str());
            self.report.agents.mcp(facts, &names, service.into(), error, elapsed.as_secs_f64());
        }
        if let Some(model) = &record.model {
            let caller = self.report.decisions.caller(facts);
            self.report.agents.model(model, &names, caller.as_str(), error, elapsed.as_secs_f64());
        }
    }

    /// The end of a relay.
    pub fn finish_relay(mut self, received: u64, sent: u64, record: &Record) {
        self.open = None;
        let elapsed = self.clock.elapsed();
        if let Some((metered, labels)) = self.relayed.take() {
            drop(metered);
            self.report.requests.closed(&labels);
        }
        let mut span = self.span(record);
        span.set("strait.bytes.received", received);
        span.set("strait.bytes.sent", sent);
        self.report.spans.finish(span, elapsed);
        let Some(log) = &self.report.log else { return };
        let entry = self
            .entry("connection", record, elapsed)
            .maybe("authority", self.authority.as_deref())
            .field("bytes_received", received)
            .field("bytes_sent", sent);
        log.write(self.notes(entry, record));
    }

    fn span(&self, record: &Record) -> Span {
        let mut span = self.report.spans.span(&self.context, self.parent, SpanKind::Server);
        span.started(self.began);
        let destination = match (&self.service, &self.host) {
            (Some((service, port)), _) => format!("{}:{port}", service.hostname),
            (None, Some(host)) => host.to_string(),
            (None, None) => self.authority.clone().unwrap_or_default(),
        };
        match &self.method {
            Some(method) => span.named(method),
            None => span.named(&format!("relay {destination}")),
        }
        span.set("strait.source", self.caller.workload.to_string());
        span.maybe("strait.source.by", self.caller.by.as_ref());
        span.set("strait.destination", destination);
        span.set("network.protocol.name", self.protocol);
        span.maybe("client.address", self.source_address);
        span.maybe("http.request.method", self.method.as_deref());
        span.maybe("url.path", self.path.as_deref());
        span.maybe("server.address", self.host.as_deref());
        span.maybe("http.route", self.route.as_ref());
        match self.protocol {
            "tcp" => span.set("strait.layer", "l4"),
            "grpc" => {
                span.set("rpc.system", "grpc");
                span.maybe("rpc.method", self.path.as_deref().map(|path| path.trim_start_matches('/')));
            }
            _ => {}
        }
        if let Some(carrier) = self.carrier {
            span.link(carrier);
        }
        if let Some(facts) = &self.facts {
            told::facts(&mut span, facts);
        }
        told::record(&mut span, record);
        span
    }

    fn entry(&self, kind: &str, record: &Record, elapsed: std::time::Duration) -> Entry {
        let upstream = record.upstream.as_ref();
        Entry::new((self.report.now)(), kind)
            .field("reporter", "waypoint")
            .field("source", &self.caller.workload)
            .maybe("by", self.caller.by.as_ref())
            .maybe("source_address", self.source_address)
            .maybe("service", self.service.as_ref().map(|(service, port)| format!("{service}:{port}")))
            .field("protocol", self.protocol)
            .maybe("upstream", upstream.map(|upstream| &upstream.workload))
            .maybe("upstream_identity", upstream.and_then(|upstream| upstream.identity.as_ref()))
            .maybe("upstream_address", upstream.map(|upstream| &upstream.address))
            .field("duration_ms", elapsed.as_millis())
    }

    fn notes(&self, mut entry: Entry, record: &Record) -> Entry {
        for (key, value) in &record.notes {
            entry = entry.field(key, value);
        }
        if let Some((denial, id)) = &record.refusal {
            entry = entry.field("refusal", id).field("reason", denial.reason).field("denial", denial);
        }
        if let Some(model) = &record.model {
            entry = entry
                .field("model_provider", &model.provider)
                .field("model_asked", &model.asked)
                .field("model", &model.model)
                .field("tokens_in", model.tokens_in)
                .field("tokens_out", model.tokens_out);
        }
        entry
            .maybe("closed", self.closed.as_deref())
            .maybe("error", record.error.as_deref())
            .field("trace_id", self.context.trace)
            .field("span_id", self.context.span)
    }

    fn labels(&self, snapshot: &Snapshot, record: &Record, end: Option<&End>, code: &str) -> Labels {
        let source = self.caller.workload.verified();
        let found = source.and_then(|identity| workload_of(snapshot, identity));
        let destination = record.upstream.as_ref().and_then(|upstream| snapshot.workload(&upstream.workload));
        let service = self.service.as_ref().and_then(|(key, _)| snapshot.service(key));
        let unknown = || LabelText::from("unknown");
        let text = |value: Option<&str>| value.map_or_else(unknown, LabelText::from);
        // What is not known to configuration has no name here, however well it proved itself.
        let principal = |identity: Option<&Identity>| text(identity.map(ToString::to_string).as_deref());
        Labels {
            reporter: "waypoint",
            source_workload: text(found.map(|it| &*it.name)),
            source_workload_namespace: text(found.map(|it| &*it.namespace)),
            source_principal: principal(found.map(|it| &it.identity)),
            source_app: text(found.map(|it| &*it.labels.app)),
            source_version: text(found.map(|it| &*it.labels.version)),
            source_cluster: text(found.map(|it| it.cluster.as_str())),
            destination_workload: text(destination.map(|it| &*it.name)),
            destination_workload_namespace: text(destination.map(|it| &*it.namespace)),
            destination_principal: principal(destination.map(|it| &it.identity)),
            destination_app: text(destination.map(|it| &*it.labels.app)),
            destination_version: text(destination.map(|it| &*it.labels.version)),
            destination_service: text(service.map(|it| it.key.hostname.as_str())),
            destination_service_name: text(service.map(|it| &*it.name)),
            destination_service_namespace: text(service.map(|it| &*it.key.namespace)),
            destination_cluster: text(destination.map(|it| it.cluster.as_str())),
            request_protocol: match self.protocol {
                "grpc" => "grpc",
                "tcp" => "tcp",
                _ => "http",
            },
            response_code: code.into(),
            grpc_response_status: self.grpc_status.as_deref().unwrap_or_default().into(),
            response_flags: flags(record, end),
            connection_security_policy: "mutual_tls",
        }
    }
}

/// As Envoy's response flags have them.
fn flags(record: &Record, end: Option<&End>) -> &'static str {
    match (end, &record.refusal, &record.upstream) {
        (Some(End::CallerLeft), ..) => "DC",
        (Some(End::Closed(_)), ..) => "UAEX",
        (_, Some((denial, _)), _) if exchange::answer::status_of(denial.reason).as_u16() == 503 => "UF",
        (_, Some((denial, _)), _) if denial.reason == mesh::Reason::NoRoute => "NR",
        (_, Some(_), _) => "UAEX",
        (Some(End::Broken(_)), ..) => "UC",
        _ => "-",
    }
}

// Several workloads may share an identity; for labels the first will do.
fn workload_of<'a>(snapshot: &'a Snapshot, identity: &Identity) -> Option<&'a Arc<Workload>> {
    snapshot
        .workloads()
        .filter(|workload| workload.identity == *identity)
        .min_by(|one, two| one.uid.cmp(&two.uid))
}

struct Counted {
    body: Body,
    received: Arc<AtomicU64>,
    closed: BoxFuture<'static, Arc<Denial>>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(denial) = this.closed.as_mut().poll(context) {
            this.body = Body::empty();
            this.closed = Box::pin(std::future::pending());
            return Poll::Ready(Some(Err(BodyError::Closed(Denial::clone(&denial)))));
        }
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.received.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
