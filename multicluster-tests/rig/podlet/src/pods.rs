//! The pods of this node: watched, and each led by a loop of its own.
//!
//! Flow: the watch tells each pod's [`worker`] what the API says; the worker asks [`decide`] what is
//! next, carries it out ([`sandbox`], [`launch`], [`stop`]) and lets [`publish`] tell the API.
//! Guarantee: a pod's object is deleted only after its containers, mounts and network are gone.
//! Caveat: a podlet that starts anew removes what a former one left running and starts it again;
//! pods that had come to their end stay ended.

mod clear;
pub mod context;
pub mod decide;
mod hooks;
mod launch;
pub mod member;
mod mounts;
mod publish;
mod sandbox;
pub mod status;
mod stop;
mod worker;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

pub use context::Context;
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
pub(crate) use sandbox::prepare;
pub use sandbox::sweep;
use tokio::sync::watch;

/// What a worker is told.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    /// The pod as the API has it.
    pub(crate) pod: Arc<Pod>,
    /// Whether the API has it no more.
    pub(crate) gone: bool,
}

/// Leads the pods of the node for ever.
pub async fn lead(context: Arc<Context>) {
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
                apply(&context, &mut workers, pod, false);
            }
            Ok(watcher::Event::InitDone) => {
                for (uid, worker) in &workers {
                    if !listed.contains(uid) {
                        worker.send_modify(|desired| desired.gone = true);
                    }
                }
            }
            Ok(watcher::Event::Apply(pod)) => apply(&context, &mut workers, pod, false),
            Ok(watcher::Event::Delete(pod)) => apply(&context, &mut workers, pod, true),
            Err(error) => tracing::warn!(%error, "the watch of pods broke; it begins again"),
        }
        workers.retain(|_, worker| !worker.is_closed());
    }
}

fn apply(
    context: &Arc<Context>,
    workers: &mut HashMap<String, watch::Sender<Desired>>,
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
            workers.insert(uid, tell);
            tokio::spawn(worker::lead(context.clone(), told));
        }
    }
}
