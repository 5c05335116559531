//! How far an object came at the proxies: counted from their acknowledgements, told where it is `Programmed`.

use mesh::{
    names::ObjectName,
    resource::{Key, Kind},
};
use serde_json::{Value, json};
use wire::publish::{Publisher, Standing};

/// Most refusals that one message names.
const NAMED_MAX: usize = 3;

/// Counts proxies in the messages of `Programmed`, and says why some refused.
pub(super) fn tell(publisher: &Publisher, name: &str, status: &mut Value) {
    let Some(key) = key(name) else { return };
    let standing = publisher.standing(&key);
    if standing.version.is_none() {
        return;
    }
    for list in ["ancestors", "parents"] {
        for item in status.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            programmed(item, &standing);
        }
    }
    programmed(status, &standing);
}

fn programmed(holder: &mut Value, standing: &Standing) {
    for condition in holder.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        if condition["type"] != "Programmed" || condition["status"] != "True" {
            continue;
        }
        let count = format!("{}/{} proxies", standing.applied, standing.wanted);
        if standing.refused.is_empty() {
            condition["message"] = json!(count);
            continue;
        }
        let named =
            standing.refused.iter().take(NAMED_MAX).map(|(caller, reason)| format!("{caller}: {reason}"));
        let named: Vec<String> = named.collect();
        condition["status"] = json!("False");
        condition["reason"] = json!("Refused");
        condition["message"] = json!(format!(
            "{count}; {} refused it and go on with the version before: {}",
            standing.refused.len(),
            named.join("; ")
        ));
    }
}

/// The resource that an object becomes, if it is one.
fn key(name: &str) -> Option<Key> {
    let (kind, rest) = name.split_once(' ')?;
    let (namespace, object) = rest.split_once('/').unwrap_or(("", rest));
    let name = ObjectName::new(kind, namespace, object);
    match kind {
        "AccessPolicy" | "ClusterAccessPolicy" => Some(Key::new(Kind::Policy, name)),
        "HTTPRoute" => Some(Key::new(Kind::Route, name)),
        "AgentBackend" => Some(Key::new(Kind::Backend, name)),
        "GuardPolicy" => Some(Key::new(Kind::Guard, name)),
        "QuotaPolicy" => Some(Key::new(Kind::Quota, name)),
        "ToolCatalog" => Some(Key::new(Kind::Catalogue, name)),
        "TokenIssuer" => Some(Key::new(Kind::Issuer, name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_routes_and_backends_are_counted() {
        let key = |name: &str| key(name).map(|key| key.to_string());
        assert_eq!(key("AccessPolicy shop/a"), Some("Policy AccessPolicy/shop/a".to_owned()));
        assert_eq!(key("ClusterAccessPolicy a"), Some("Policy ClusterAccessPolicy/a".to_owned()));
        assert_eq!(key("GuardPolicy shop/a"), Some("Guard GuardPolicy/shop/a".to_owned()));
        assert_eq!(key("TokenIssuer a"), Some("Issuer TokenIssuer/a".to_owned()));
        assert_eq!(key("Service shop/a"), None);
    }
}
