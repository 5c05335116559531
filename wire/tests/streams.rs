//! The same over gRPC, on connections in memory that can be cut.
#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use mesh::resource::Kind;
use proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
};
use runtime::{Drain, Readiness};
use support::{line::Line, *};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, Streaming, transport::Server};
use wire::{
    Authenticate, Caller, Unauthenticated,
    publish::{Edit, Publisher},
    subscribe::{OnDemand, Origin, Subscriber},
};

struct Tokens;

#[tonic::async_trait]
impl Authenticate for Tokens {
    async fn authenticate(&self, bearer: &str) -> Result<Caller, Unauthenticated> {
        match bearer.strip_prefix("node-") {
            Some(name) => Ok(node(name)),
            None => Err(Unauthenticated("no such token".to_owned())),
        }
    }
}

fn serve(line: &Line, publisher: &Publisher) {
    line.serve(Server::builder().add_service(publisher.service(Arc::new(Tokens))));
}

/// A node's subscriber.
struct Proxy {
    recorder: Recorder,
    readiness: Readiness,
    demand: OnDemand,
    drain: Drain,
    running: JoinHandle<()>,
}

impl Proxy {
    fn start(line: &Line, token: &'static str, store: Option<PathBuf>) -> Self {
        let recorder = Recorder::default();
        let (readiness, drain) = (Readiness::new(), Drain::new());
        let part = readiness.part("configuration", "");
        let bearer = Arc::new(move || Ok(token.to_owned()));
        let receiver = Box::new(recorder.clone());
        let (demand, subscriber) =
            Subscriber::new(config(store), line.channel(), bearer, receiver, part, drain.watch());
        Self { recorder, readiness, demand, drain, running: tokio::spawn(subscriber.run()) }
    }

    /// Waits until the readiness says this.
    async fn until_told(&self, part: &str) {
        let mut changes = self.readiness.changes();
        while !self.readiness.report().to_string().contains(part) {
            changes.next().await.unwrap();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn small_world() -> Vec<Edit> {
    edits([
        ranges(),
        set("s1", &[]),
        workload("a", Shape { node: "n1", set: "s1", ..Shape::default() }),
        placement("a"),
    ])
}

#[tokio::test(start_paused = true)]
async fn a_proxy_follows_its_control_plane_over_a_cut_and_a_restart() {
    let line = Line::default();
    let publisher = publisher("e1");
    publisher.update(small_world(), None);
    serve(&line, &publisher);
    let proxy = Proxy::start(&line, "node-n1", None);
    proxy.readiness.ready().await;
    assert_eq!(proxy.recorder.0.lock().held.len(), 4);

    publisher.update(edits([policy("p", "r"), set("s1", &["p"])]), None);
    proxy.recorder.until(|seen| seen.held.len() == 5).await;

    line.cut();
    publisher.update(vec![Edit::Remove(placement("a").key())], None);
    proxy.recorder.until(|seen| seen.held.len() == 4).await;

    line.stop();
    let second = support::publisher("e2");
    second.update(edits([ranges()]), None);
    serve(&line, &second);
    proxy.recorder.until(|seen| seen.held.len() == 1).await;
    assert!(proxy.readiness.report().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_refused_and_the_proxy_says_so() {
    let line = Line::default();
    let publisher = publisher("e1");
    publisher.update(small_world(), None);
    serve(&line, &publisher);
    let proxy = Proxy::start(&line, "stolen", None);
    proxy.until_told("a valid bearer token is needed").await;
    assert!(proxy.recorder.0.lock().batches.is_empty());
    assert!(publisher.subscribers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_finds_nobody_starts_from_its_disk_and_says_how_old_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = Some(directory.path().join("proxy/resources"));
    let line = Line::default();
    let publisher = publisher("e1");
    publisher.update(small_world(), None);
    serve(&line, &publisher);
    let first = Proxy::start(&line, "node-n1", store.clone());
    first.readiness.ready().await;
    let path = store.clone().unwrap();
    let written = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.unwrap();
    let held = first.recorder.0.lock().versions();
    drop(first);
    line.stop();

    let begun = tokio::time::Instant::now();
    let second = Proxy::start(&line, "node-n1", store);
    second.until_told("ready, configuration (configuration from disk, ").await;
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert!(begun.elapsed() < Duration::from_millis(2500));
    {
        let seen = second.recorder.0.lock();
        assert!(matches!(seen.batches[..], [(4, Origin::Disk { .. })]));
        assert_eq!(seen.versions(), held);
    }
    serve(&line, &publisher);
    second.recorder.until(|seen| seen.batches.len() == 2).await;
    assert_eq!(second.recorder.0.lock().batches[1], (0, Origin::ControlPlane), "nothing is sent again");
    second.until_told("ready").await;
}

#[tokio::test(start_paused = true)]
async fn a_draining_proxy_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy/resources");
    let line = Line::default();
    let publisher = publisher("e1");
    publisher.update(small_world(), None);
    serve(&line, &publisher);
    let proxy = Proxy::start(&line, "node-n1", Some(path.clone()));
    proxy.drain.advance(runtime::Phase::Draining);
    proxy.readiness.ready().await;
    publisher.update(vec![Edit::Remove(placement("a").key())], None);
    proxy.recorder.until(|seen| seen.held.len() == 3).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_for_while_connected_and_while_not() {
    let line = Line::default();
    let publisher = publisher("e1");
    publisher.update(small_world(), None);
    serve(&line, &publisher);
    let proxy = Proxy::start(&line, "node-n1", None);
    proxy.demand.want("east/10.0.0.9".parse().unwrap()).await.unwrap();
    let absent = |name: &str| {
        proxy.recorder.0.lock().held.keys().any(|key| key.kind == Kind::Absence && &*key.name == name)
    };
    assert!(absent("east/10.0.0.9"));
    line.stop();
    let demand = proxy.demand.clone();
    let asked = tokio::spawn(async move { demand.want("nobody.example".parse().unwrap()).await });
    proxy.demand.want("east/10.0.0.9".parse().unwrap()).await.unwrap();
    serve(&line, &publisher);
    asked.await.unwrap().unwrap();
    assert!(absent("nobody.example"));
}

/// A server that answers every type and knows no checkpoint.
struct Foreign;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Foreign {
    type DeltaAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let answers = stream::unfold(request.into_inner(), async |mut requests| {
            loop {
                let request = requests.message().await.ok()??;
                if !request.type_url.ends_with("Checkpoint") && request.response_nonce.is_empty() {
                    let nonce = "1".to_owned();
                    let answer =
                        DeltaDiscoveryResponse { type_url: request.type_url, nonce, ..Default::default() };
                    return Some((Ok(answer), requests));
                }
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_checkpoints_leaves_the_proxy_unready_with_the_reason() {
    let line = Line::default();
    line.serve(Server::builder().add_service(AggregatedDiscoveryServiceServer::new(Foreign)));
    let proxy = Proxy::start(&line, "node-n1", None);
    proxy.until_told("sends no strait.v1.Checkpoint").await;
    assert!(!proxy.readiness.report().is_ready());
    assert!(proxy.recorder.0.lock().batches.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_proxy_that_does_not_read_holds_up_no_other() {
    let publisher = publisher("e1");
    publisher.update(small_world(), None);
    let line = Line::default();
    serve(&line, &publisher);
    // It subscribes and never takes anything.
    let stuck = publisher.subscribe(node("n1"));
    let mut silent = wire::subscribe::State::new(config(None), Box::new(Recorder::default()));
    silent.open().into_iter().for_each(|request| stuck.take(request).unwrap());
    assert!(!stuck.push().unwrap().is_empty());
    let proxy = Proxy::start(&line, "node-n1", None);
    proxy.readiness.ready().await;
    for round in 0..50 {
        publisher.update(edits([policy("p", &round.to_string()), set("s1", &["p"])]), None);
    }
    proxy.recorder.until(|seen| seen.held.values().any(|(_, it)| *it == policy("p", "49"))).await;
    let states = publisher.subscribers();
    assert_eq!(states.iter().map(|it| it.in_flight).filter(|open| *open).count(), 1);
    assert!(states.iter().all(|it| it.pending <= 2));
    let capabilities: BTreeMap<_, _> =
        states.iter().map(|it| (it.info.caller.to_string(), it.info.capabilities.len())).collect();
    assert_eq!(capabilities, BTreeMap::from([("node n1".to_owned(), 1)]));
}
