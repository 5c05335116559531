//! What a pod's volumes are made of, read from its object. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    self, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector, Pod, ResourceFieldSelector,
};

use crate::objects::{Kind, ObjectRef};

/// Mode of files that nobody gave one.
const MODE_DEFAULT: i32 = 0o644;
/// How long a token lasts that nobody gave a time.
const TOKEN_LASTS: i64 = 3600;

/// One volume.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What it is.
    pub source: Source,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// An empty folder, for as long as the pod lives.
    Empty {
        /// In memory, with this many bytes at most if it says so.
        memory: Option<Option<u64>>,
    },
    /// A folder or file of the node.
    Host {
        /// Its path, as the node sees it.
        path: String,
        /// What must be there or is made: the API's `type`.
        kind: String,
    },
    /// Files that podlet writes and keeps current.
    Files(Vec<Piece>),
    /// Not to be had here.
    Refused(String),
}

/// A part of a volume of files.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Keys of an object.
    Object {
        /// Which.
        object: ObjectRef,
        /// Only these, under these paths; empty: all, under their names.
        items: Vec<Item>,
        /// Whether it may be missing.
        optional: bool,
        /// Mode of the files.
        mode: u32,
    },
    /// A token of the pod's service account.
    Token {
        /// For whom; `None` for the API server.
        audience: Option<String>,
        /// How long it lasts.
        lasts: Duration,
        /// Where.
        path: String,
        /// Mode of the file.
        mode: u32,
    },
    /// A field of the pod.
    Field {
        /// Which.
        of: FieldOf,
        /// Where.
        path: String,
        /// Mode of the file.
        mode: u32,
    },
}

/// A key of an object and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: String,
    /// The path under the volume.
    pub path: String,
    /// Its mode, if it has one of its own.
    pub mode: Option<u32>,
}

/// What a file of the downward API says.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldOf {
    /// Something of the pod.
    Pod(ObjectFieldSelector),
    /// Something of a container.
    Container(ResourceFieldSelector),
}

/// The volumes of a pod.
pub fn plan(pod: &Pod) -> Vec<Volume> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.map(|volume| Volume { name: volume.name.clone(), source: source(namespace, volume) }).collect()
}

fn source(namespace: &str, volume: &v1::Volume) -> Source {
    if let Some(empty) = &volume.empty_dir {
        let limit = empty.size_limit.as_ref().and_then(|limit| crate::quantity::nanos(&limit.0));
        let bytes =
            limit.and_then(|nanos| u64::try_from(nanos / 1_000_000_000).ok()).filter(|&bytes| bytes > 0);
        let memory = (empty.medium.as_deref() == Some("Memory")).then_some(bytes);
        return Source::Empty { memory };
    }
    if let Some(host) = &volume.host_path {
        return Source::Host { path: host.path.clone(), kind: host.type_.clone().unwrap_or_default() };
    }
    if let Some(map) = &volume.config_map {
        let object = ObjectRef::new(Kind::ConfigMap, namespace, &map.name);
        return Source::Files(vec![keys(object, map.items.as_deref(), map.optional, map.default_mode)]);
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let object = ObjectRef::new(Kind::Secret, namespace, name);
        return Source::Files(vec![keys(
            object,
            secret.items.as_deref(),
            secret.optional,
            secret.default_mode,
        )]);
    }
    if let Some(downward) = &volume.downward_api {
        let files = downward.items.iter().flatten();
        return Source::Files(files.filter_map(|file| field(file, downward.default_mode)).collect());
    }
    if let Some(projected) = &volume.projected {
        let mode = projected.default_mode;
        let sources = projected.sources.iter().flatten();
        return Source::Files(sources.flat_map(|source| pieces(namespace, source, mode)).collect());
    }
    let why = if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() {
        "this node has no persistent volumes; use emptyDir or hostPath"
    } else {
        "this node has no such kind of volume; it has emptyDir, hostPath, configMap, secret, downwardAPI and projected"
    };
    Source::Refused(why.to_owned())
}

fn pieces(namespace: &str, source: &v1::VolumeProjection, default: Option<i32>) -> Vec<Piece> {
    let mut all = Vec::new();
    if let Some(map) = &source.config_map {
        let object = ObjectRef::new(Kind::ConfigMap, namespace, &map.name);
        all.push(keys(object, map.items.as_deref(), map.optional, default));
    }
    if let Some(secret) = &source.secret {
        let object = ObjectRef::new(Kind::Secret, namespace, &secret.name);
        all.push(keys(object, secret.items.as_deref(), secret.optional, default));
    }
    let downward = source.downward_api.iter().flat_map(|downward| downward.items.iter().flatten());
    all.extend(downward.filter_map(|file| field(file, default)));
    if let Some(token) = &source.service_account_token {
        let seconds = token.expiration_seconds.unwrap_or(TOKEN_LASTS).max(1).unsigned_abs();
        all.push(Piece::Token {
            audience: token.audience.clone().filter(|audience| !audience.is_empty()),
            lasts: Duration::from_secs(seconds),
            path: token.path.clone(),
            mode: mode(None, default),
        });
    }
    all
}

fn keys(
    object: ObjectRef,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    default: Option<i32>,
) -> Piece {
    let items = items.unwrap_or_default().iter().map(|item| Item {
        key: item.key.clone(),
        path: item.path.clone(),
        mode: item.mode.map(|own| mode(Some(own), None)),
    });
    Piece::Object {
        object,
        items: items.collect(),
        optional: optional == Some(true),
        mode: mode(None, default),
    }
}

fn field(file: &DownwardAPIVolumeFile, default: Option<i32>) -> Option<Piece> {
    let of = match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), _) => FieldOf::Pod(field.clone()),
        (None, Some(resource)) => FieldOf::Container(resource.clone()),
        (None, None) => return None,
    };
    Some(Piece::Field { of, path: file.path.clone(), mode: mode(file.mode, default) })
}

fn mode(own: Option<i32>, default: Option<i32>) -> u32 {
    own.or(default).unwrap_or(MODE_DEFAULT).unsigned_abs() & 0o777
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(volume: Value, expected: Source) {
        let mut volume = volume;
        volume["name"] = "v".into();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "shop"},
            "spec": {"containers": [], "volumes": [volume]}}))
        .unwrap();
        assert_eq!(plan(&pod), [Volume { name: "v".into(), source: expected }], "{volume}");
    }

    fn object(kind: Kind, name: &str, items: Vec<Item>, optional: bool, mode: u32) -> Piece {
        Piece::Object { object: ObjectRef::new(kind, "shop", name), items, optional, mode }
    }

    #[test]
    fn every_kind_of_volume_is_planned() {
        check(json!({"emptyDir": {}}), Source::Empty { memory: None });
        check(
            json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
            Source::Empty { memory: Some(Some(1 << 20)) },
        );
        check(
            json!({"hostPath": {"path": "/var/run/netns", "type": "Directory"}}),
            Source::Host { path: "/var/run/netns".into(), kind: "Directory".into() },
        );
        check(
            json!({"configMap": {"name": "c"}}),
            Source::Files(vec![object(Kind::ConfigMap, "c", vec![], false, 0o644)]),
        );
        let item = Item { key: "k".into(), path: "a/b".into(), mode: Some(0o600) };
        check(
            json!({"secret": {"secretName": "s", "optional": true, "defaultMode": 256, "items": [{"key": "k", "path": "a/b", "mode": 384}]}}),
            Source::Files(vec![object(Kind::Secret, "s", vec![item], true, 0o400)]),
        );
        check(
            json!({"projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 600, "audience": "mesh"}},
                {"configMap": {"name": "kube-root-ca.crt"}}]}}),
            Source::Files(vec![
                Piece::Token {
                    audience: Some("mesh".into()),
                    lasts: Duration::from_secs(600),
                    path: "token".into(),
                    mode: 0o644,
                },
                object(Kind::ConfigMap, "kube-root-ca.crt", vec![], false, 0o644),
            ]),
        );
        let claim = json!({"persistentVolumeClaim": {"claimName": "x"}});
        check(claim, Source::Refused("this node has no persistent volumes; use emptyDir or hostPath".into()));
    }
}
