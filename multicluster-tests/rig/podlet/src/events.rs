//! Events about pods, for people: `kubectl describe` shows them.
//!
//! They are sent aside: a slow or missing API server delays nobody, and what does not fit is lost.

use std::collections::HashMap;

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

/// How many events may wait to be sent.
const WAITING_MAX: usize = 512;
/// How many events are remembered so that the same again only counts up.
const REMEMBERED_MAX: usize = 1024;

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Said {
    namespace: String,
    pod: String,
    uid: String,
    container: Option<String>,
    kind: &'static str,
    reason: &'static str,
    message: String,
}

/// Sends events.
#[derive(Debug, Clone)]
pub struct Events {
    queue: mpsc::Sender<Said>,
}

impl Events {
    /// Begins to send them as the kubelet of `node`.
    pub fn new(client: Client, node: String) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(send(client, node, waiting));
        Self { queue }
    }

    /// Something that goes as it should.
    pub fn normal(
        &self,
        pod: &Pod,
        container: Option<&str>,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.say(pod, container, "Normal", reason, message.into());
    }

    /// Something that does not.
    pub fn warning(
        &self,
        pod: &Pod,
        container: Option<&str>,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.say(pod, container, "Warning", reason, message.into());
    }

    fn say(
        &self,
        pod: &Pod,
        container: Option<&str>,
        kind: &'static str,
        reason: &'static str,
        message: String,
    ) {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let meta = &pod.metadata;
        tracing::debug!(pod = text(&meta.name), reason, message, "event");
        let _ = self.queue.try_send(Said {
            namespace: text(&meta.namespace),
            pod: text(&meta.name),
            uid: text(&meta.uid),
            container: container.map(str::to_owned),
            kind,
            reason,
            message,
        });
    }
}

async fn send(client: Client, node: String, mut waiting: mpsc::Receiver<Said>) {
    let mut sent: HashMap<Said, (String, i32)> = HashMap::new();
    while let Some(said) = waiting.recv().await {
        let api: Api<Event> = Api::namespaced(client.clone(), &said.namespace);
        if let Some((name, count)) = sent.get_mut(&said) {
            *count += 1;
            let patch = json!({"count": *count, "lastTimestamp": jiff::Timestamp::now()});
            let _ = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
            continue;
        }
        let event = event(&said, &node);
        let name = event.metadata.name.clone().unwrap_or_default();
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            tracing::debug!(%error, "an event was not taken");
        }
        if sent.len() >= REMEMBERED_MAX {
            sent.clear();
        }
        sent.insert(said, (name, 1));
    }
}

fn event(said: &Said, node: &str) -> Event {
    let now = Time(jiff::Timestamp::now());
    let name = format!("{}.{:x}", said.pod, jiff::Timestamp::now().as_nanosecond());
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(said.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(said.pod.clone()),
            namespace: Some(said.namespace.clone()),
            uid: Some(said.uid.clone()),
            field_path: said.container.as_ref().map(|name| format!("spec.containers{{{name}}}")),
            ..ObjectReference::default()
        },
        type_: Some(said.kind.to_owned()),
        reason: Some(said.reason.to_owned()),
        message: Some(said.message.clone()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource { component: Some("kubelet".to_owned()), host: Some(node.to_owned()) }),
        reporting_component: Some("kubelet".to_owned()),
        reporting_instance: Some(node.to_owned()),
        ..Event::default()
    }
}
