//! The environment of a container. Pure: what it refers to is given.
//!
//! Later ones win: the image's, the services', `envFrom`, `env`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use crate::{
    expand::expand,
    fields::{self, Facts, FieldError},
    objects::{Data, Kind, ObjectRef},
};

/// The objects a container's environment refers to, as far as they exist.
pub type Known = BTreeMap<ObjectRef, Data>;

/// Why a container cannot have its environment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EnvError {
    /// An object is missing.
    #[error("{0} not found")]
    NoObject(ObjectRef),
    /// An object lacks a key.
    #[error("couldn't find key {key} in {object}")]
    NoKey {
        /// The key.
        key: String,
        /// The object.
        object: ObjectRef,
    },
    /// A field has no value.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// What the container's environment refers to.
pub fn references(namespace: &str, container: &Container) -> Vec<ObjectRef> {
    let named = |kind, name: &String| ObjectRef::new(kind, namespace, name);
    let mut all = Vec::new();
    for source in container.env_from.iter().flatten() {
        all.extend(source.config_map_ref.as_ref().map(|one| named(Kind::ConfigMap, &one.name)));
        all.extend(source.secret_ref.as_ref().map(|one| named(Kind::Secret, &one.name)));
    }
    for from in container.env.iter().flatten().filter_map(|one| one.value_from.as_ref()) {
        all.extend(from.config_map_key_ref.as_ref().map(|one| named(Kind::ConfigMap, &one.name)));
        all.extend(from.secret_key_ref.as_ref().map(|one| named(Kind::Secret, &one.name)));
    }
    all
}

/// The variables that the pod's object gives, on top of `base` (image and services).
///
/// # Errors
/// When something that is not optional is missing.
pub fn resolve(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    known: &Known,
    base: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, EnvError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut variables = base;
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let (kind, name, optional) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(one), _) => (Kind::ConfigMap, &one.name, one.optional),
            (None, Some(one)) => (Kind::Secret, &one.name, one.optional),
            (None, None) => continue,
        };
        let object = ObjectRef::new(kind, namespace, name);
        match known.get(&object) {
            Some(data) => {
                variables.extend(data.iter().map(|(key, value)| (format!("{prefix}{key}"), lossy(value))))
            }
            None if optional == Some(true) => {}
            None => return Err(EnvError::NoObject(object)),
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            None => {
                let value = variable.value.as_deref().unwrap_or_default();
                Some(expand(value, |name| variables.get(name).cloned()))
            }
            Some(_) => referred(pod, container, facts, known, namespace, variable)?,
        };
        if let Some(value) = value {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

/// The value of a variable with `valueFrom`; none if it is optional and missing.
fn referred(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    known: &Known,
    namespace: &str,
    variable: &EnvVar,
) -> Result<Option<String>, EnvError> {
    let Some(from) = &variable.value_from else { return Ok(None) };
    if let Some(selector) = &from.field_ref {
        return Ok(Some(fields::field(pod, facts, &selector.field_path)?));
    }
    if let Some(selector) = &from.resource_field_ref {
        return Ok(Some(fields::resource(pod, Some(container), facts, selector)?));
    }
    let (kind, name, key, optional) = match (&from.config_map_key_ref, &from.secret_key_ref) {
        (Some(one), _) => (Kind::ConfigMap, &one.name, &one.key, one.optional),
        (None, Some(one)) => (Kind::Secret, &one.name, &one.key, one.optional),
        (None, None) => return Ok(None),
    };
    let object = ObjectRef::new(kind, namespace, name);
    let optional = optional == Some(true);
    let Some(data) = known.get(&object) else {
        return if optional { Ok(None) } else { Err(EnvError::NoObject(object)) };
    };
    match data.get(key) {
        Some(value) => Ok(Some(lossy(value))),
        None if optional => Ok(None),
        None => Err(EnvError::NoKey { key: key.clone(), object }),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fields::tests::{facts, pod};

    fn check(extra: Value, expected: Result<&[(&str, &str)], &str>) {
        let mut container = json!({"name": "web", "image": "debian"});
        container.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let container: Container = serde_json::from_value(container).unwrap();
        let known = Known::from([
            (ObjectRef::new(Kind::ConfigMap, "shop", "c"), data(&[("K", "v"), ("L", "w")])),
            (ObjectRef::new(Kind::Secret, "shop", "s"), data(&[("P", "secret")])),
        ]);
        let base = BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]);
        let found = resolve(&pod(), &container, &facts(), &known, base).map_err(|error| error.to_string());
        let expected = expected
            .map(|pairs| {
                let own = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                own.chain([("PATH".to_owned(), "/bin".to_owned())]).collect::<BTreeMap<_, _>>()
            })
            .map_err(str::to_owned);
        assert_eq!(found, expected, "{extra}");
    }

    fn data(pairs: &[(&str, &str)]) -> Data {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
        std::sync::Arc::new(pairs.collect())
    }

    #[test]
    fn variables_come_from_where_the_pod_says() {
        check(json!({}), Ok(&[]));
        check(
            json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(C)"}, {"name": "C", "value": "x"}]}),
            Ok(&[("A", "1"), ("B", "1-$(C)"), ("C", "x")]),
        );
        check(
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            Ok(&[("A", "web-0")]),
        );
        check(
            json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "P"}}}]}),
            Ok(&[("A", "secret")]),
        );
        check(
            json!({"envFrom": [{"prefix": "X_", "configMapRef": {"name": "c"}}], "env": [{"name": "X_L", "value": "over"}]}),
            Ok(&[("X_K", "v"), ("X_L", "over")]),
        );
    }

    #[test]
    fn what_is_missing_is_named_unless_it_is_optional() {
        check(
            json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "P"}}}]}),
            Err("secret \"none\" not found"),
        );
        check(
            json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "none"}}}]}),
            Err("couldn't find key none in configmap \"c\""),
        );
        check(
            json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "P", "optional": true}}}]}),
            Ok(&[]),
        );
        check(json!({"envFrom": [{"secretRef": {"name": "none"}}]}), Err("secret \"none\" not found"));
        check(json!({"envFrom": [{"secretRef": {"name": "none", "optional": true}}]}), Ok(&[]));
    }
}
