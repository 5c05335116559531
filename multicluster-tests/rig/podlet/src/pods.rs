//! The pods of this node: watched, and each led by a loop of its own.
//!
//! Flow: the watch tells each pod's `worker` what the API says; the worker asks [`decide`] what is
//! next, carries it out (`sandbox`, `launch`, `stop`) and lets `publish` tell the API.
//! Guarantee: a pod's object is deleted only after its containers, mounts and network are gone.
//! A podlet that starts anew goes on with what a former one left running: see `adopt`.

mod adopt;
mod clear;
pub mod context;
pub mod decide;
mod hooks;
mod launch;
pub mod member;
mod mounts;
mod publish;
mod record;
mod sandbox;
pub mod status;
mod stop;
mod worker;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

pub(crate) use adopt::{Found, find};
pub use context::Context;
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
pub(crate) use sandbox::prepare;
use tokio::sync::watch;

/// What a worker is told.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    /// The pod as the API has it.
    pub(crate) pod: Arc<Pod>,
    /// Whether the API has it no more.
    pub(crate) gone: bool,
}

/// Leads the pods of the node for ever, beginning with what was found of them.
pub(crate) async fn lead(context: Arc<Context>, mut found: Found) {
    let api: Api<Pod> = Api::all(context.client.clone());
    let own = format!("spec.nodeName={}", context.config.node_name);
    let events = watcher(api, watcher::Config::default().fields(&own)).default_backoff();
    pin_mut!(events);
    let mut workers: HashMap<String, watch::Sender<Desired>> = HashMap::new();
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(pod)) => {
                listed.insert(pod.metadata.uid.clone().unwrap_or_default());
                apply(&context, &mut workers, &mut found, pod, false);
            }
            Ok(watcher::Event::InitDone) => {
                for (uid, worker) in &workers {
                    if !listed.contains(uid) {
                        worker.send_modify(|desired| desired.gone = true);
                    }
                }
                // All pods are known: what is left over belongs to none.
                for (_, left) in found.drain() {
                    let context = context.clone();
                    tokio::spawn(async move { left.clear(&context).await });
                }
            }
            Ok(watcher::Event::Apply(pod)) => apply(&context, &mut workers, &mut found, pod, false),
            Ok(watcher::Event::Delete(pod)) => apply(&context, &mut workers, &mut found, pod, true),
            Err(error) => tracing::warn!(%error, "the watch of pods broke; it begins again"),
        }
        workers.retain(|_, worker| !worker.is_closed());
    }
}

fn apply(
    context: &Arc<Context>,
    workers: &mut HashMap<String, watch::Sender<Desired>>,
    found: &mut Found,
    pod: Pod,
    gone: bool,
) {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let desired = Desired { pod: Arc::new(pod), gone };
    match workers.get(&uid) {
        Some(worker) if !worker.is_closed() => {
            worker.send_replace(desired);
        }
        _ if gone => {}
        _ => {
            let (tell, told) = watch::channel(desired);
            let left = found.remove(&uid);
            workers.insert(uid, tell);
            tokio::spawn(worker::lead(context.clone(), told, left));
        }
    }
}
