//! What a pod may ask about itself: `fieldRef` and `resourceFieldRef`. Pure.

use std::{collections::BTreeMap, fmt::Write, net::IpAddr};

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use crate::quantity;

/// What the pod's object does not say.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The node's address.
    pub host_ip: IpAddr,
    /// The pod's addresses, as soon as it has them.
    pub pod_ips: Vec<IpAddr>,
    /// Cores of the node: the limit of who has none.
    pub cpus: u32,
    /// GiB of the node, likewise.
    pub memory_gib: u32,
}

/// Why a field has no value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FieldError {
    /// Nothing is called so.
    #[error("field {0:?} is not one that a pod may ask for")]
    Unknown(String),
    /// No container is called so.
    #[error("container {0:?} is not in the pod")]
    NoContainer(String),
    /// The object has a quantity that is none.
    #[error("{0:?} is no quantity")]
    NoQuantity(String),
}

/// The value of a `fieldRef`.
///
/// # Errors
/// When the path names none.
pub fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, FieldError> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: Option<&String>| Ok(value.cloned().unwrap_or_default());
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        return match map {
            "metadata.labels" => text(meta.labels.as_ref().and_then(|labels| labels.get(key))),
            "metadata.annotations" => text(meta.annotations.as_ref().and_then(|map| map.get(key))),
            _ => Err(FieldError::Unknown(path.to_owned())),
        };
    }
    match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => Ok(lines(meta.labels.as_ref())),
        "metadata.annotations" => Ok(lines(meta.annotations.as_ref())),
        "spec.nodeName" => text(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.hostIP" | "status.hostIPs" => Ok(facts.host_ip.to_string()),
        "status.podIP" => Ok(facts.pod_ips.first().map(IpAddr::to_string).unwrap_or_default()),
        "status.podIPs" => Ok(facts.pod_ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",")),
        _ => Err(FieldError::Unknown(path.to_owned())),
    }
}

/// Labels as a file of the downward API has them: `key="value"`, a line each.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (key, value) in map.into_iter().flatten() {
        let _ = writeln!(text, "{key}={value:?}");
    }
    text
}

/// The value of a `resourceFieldRef`; `own` is the container that asks, if one does.
///
/// # Errors
/// When it names no container or no resource.
pub fn resource(
    pod: &Pod,
    own: Option<&Container>,
    facts: &Facts,
    selector: &ResourceFieldSelector,
) -> Result<String, FieldError> {
    let container = match (&selector.container_name, own) {
        (Some(name), _) => {
            let spec = pod.spec.iter();
            let mut all =
                spec.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
            all.find(|container| container.name == *name)
                .ok_or_else(|| FieldError::NoContainer(name.clone()))?
        }
        (None, Some(own)) => own,
        (None, None) => return Err(FieldError::NoContainer(String::new())),
    };
    let (list, name) =
        selector.resource.split_once('.').ok_or_else(|| FieldError::Unknown(selector.resource.clone()))?;
    let resources = container.resources.as_ref();
    let stated = match list {
        "limits" => resources.and_then(|all| all.limits.as_ref()),
        "requests" => resources.and_then(|all| all.requests.as_ref()),
        _ => return Err(FieldError::Unknown(selector.resource.clone())),
    };
    let value = match stated.and_then(|list| list.get(name)) {
        Some(quantity) => quantity.0.clone(),
        None => match (list, name) {
            ("limits", "cpu") => facts.cpus.to_string(),
            ("limits", "memory") => format!("{}Gi", facts.memory_gib),
            _ => "0".to_owned(),
        },
    };
    let nanos = |text: &str| quantity::nanos(text).ok_or_else(|| FieldError::NoQuantity(text.to_owned()));
    let divisor = selector.divisor.as_ref().map_or("1", |divisor| divisor.0.as_str());
    Ok(quantity::divided(nanos(&value)?, nanos(divisor)?).to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn facts() -> Facts {
        Facts {
            host_ip: "10.51.0.11".parse().unwrap(),
            pod_ips: vec!["10.11.1.7".parse().unwrap()],
            cpus: 32,
            memory_gib: 64,
        }
    }

    pub(crate) fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "shop", "uid": "u1",
                "labels": {"app": "web", "tier": "front \"door\""}},
            "spec": {"nodeName": "n1", "serviceAccountName": "web", "containers": [
                {"name": "web", "image": "debian", "resources": {"limits": {"memory": "128Mi"}, "requests": {"cpu": "250m"}}}
            ]}
        }))
        .unwrap()
    }

    #[test]
    fn fields_have_the_values_a_kubelet_gives() {
        for (path, expected) in [
            ("metadata.name", "web-0"),
            ("metadata.namespace", "shop"),
            ("metadata.uid", "u1"),
            ("metadata.labels['app']", "web"),
            ("metadata.labels['none']", ""),
            ("metadata.annotations['none']", ""),
            ("metadata.labels", "app=\"web\"\ntier=\"front \\\"door\\\"\"\n"),
            ("spec.nodeName", "n1"),
            ("spec.serviceAccountName", "web"),
            ("status.hostIP", "10.51.0.11"),
            ("status.podIP", "10.11.1.7"),
            ("status.podIPs", "10.11.1.7"),
        ] {
            assert_eq!(field(&pod(), &facts(), path).as_deref(), Ok(expected), "{path}");
        }
        assert_eq!(field(&pod(), &facts(), "spec.what"), Err(FieldError::Unknown("spec.what".into())));
    }

    #[test]
    fn resources_are_the_containers_or_the_nodes() {
        let pod = pod();
        let own = &pod.spec.as_ref().unwrap().containers[0];
        for (name, divisor, expected) in [
            ("limits.memory", "1Mi", "128"),
            ("limits.memory", "1", "134217728"),
            ("requests.cpu", "1m", "250"),
            ("requests.cpu", "1", "1"),
            ("limits.cpu", "1", "32"),
            ("requests.memory", "1", "0"),
        ] {
            let selector = serde_json::from_value(json!({"resource": name, "divisor": divisor})).unwrap();
            assert_eq!(resource(&pod, Some(own), &facts(), &selector).as_deref(), Ok(expected), "{name}");
        }
    }
}
