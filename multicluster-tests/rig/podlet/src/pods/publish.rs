//! Tells the API server what a pod's status is, and in the end that the pod may go.
//!
//! It runs beside the pod's loop: an API server that does not answer delays no container. What
//! changes meanwhile is told in one piece.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Pause after a failure.
const RETRY: Duration = Duration::from_millis(500);

/// What is to be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Told {
    /// The status.
    pub(super) status: Option<PodStatus>,
    /// Whether everything of the pod is gone, so that its object may go.
    pub(super) over: bool,
}

/// Tells until the pod is over, or its loop has ended.
pub(super) async fn publish(client: Client, pod: Arc<Pod>, mut told: watch::Receiver<Told>) {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(client, pod.metadata.namespace.as_deref().unwrap_or_default());
    let mut sent = None;
    loop {
        let now = told.borrow_and_update().clone();
        if now.status.is_some() && now.status != sent {
            let patch = patch(&uid, &now);
            match api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                Ok(_) => sent = now.status.clone(),
                // Another pod has the name, or none.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    sent = now.status.clone()
                }
                Err(error) => {
                    tracing::warn!(pod = name, %error, "the status of a pod was not taken");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
        }
        if now.over {
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
                ..DeleteParams::default()
            };
            match api.delete(&name, &params).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) => {
                    tracing::warn!(pod = name, %error, "a pod was not deleted");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
        }
        if told.changed().await.is_err() {
            return;
        }
    }
}

/// The change of the API's object. Conditions of others stay; a list of addresses is replaced, since
/// a pod whose network was made anew has lost the old ones.
fn patch(uid: &str, told: &Told) -> Value {
    let mut status = json!(told.status);
    for list in ["podIPs", "hostIPs"] {
        let mut all = vec![json!({"$patch": "replace"})];
        all.extend(status[list].as_array().into_iter().flatten().cloned());
        status[list] = Value::Array(all);
    }
    for text in ["podIP", "reason", "message"] {
        if status.get(text).is_none() {
            status[text] = Value::Null;
        }
    }
    json!({"metadata": {"uid": uid}, "status": status})
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodIP;

    use super::*;

    #[test]
    fn addresses_are_replaced_and_not_added_to() {
        let ip = |ip: &str| PodIP { ip: ip.to_owned() };
        let status = PodStatus { pod_ips: Some(vec![ip("10.11.1.7")]), ..PodStatus::default() };
        let patch = patch("u1", &Told { status: Some(status), over: false });
        assert_eq!(patch["status"]["podIPs"], json!([{"$patch": "replace"}, {"ip": "10.11.1.7"}]));
        assert_eq!(patch["status"].get("reason"), Some(&Value::Null));
        assert_eq!(patch["metadata"]["uid"], "u1");
    }
}
