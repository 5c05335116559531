//! Checks of metadata, and of the labels and annotations by which namespaces and services join the mesh.

use api::{Kind, Name, Object, Scope};

use super::{
    fault::{Fault, Within, some},
    nearest::nearest,
    text,
};

const PREFIX: &str = "strait.dev/";

/// What a label of ours may say.
enum Says {
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// The name of a waypoint, or `none`.
    Waypoint,
    /// A namespace.
    Namespace,
}

/// Our labels, the kinds on which they stand, and what they may say.
const LABELS: &[(&str, &[Kind], Says)] = &[
    ("strait.dev/mesh", &[Kind::Namespace, Kind::MeshWorkload], Says::OneOf(&["ambient", "none"])),
    ("strait.dev/mtls", &[Kind::Namespace, Kind::MeshWorkload], Says::OneOf(&["permissive", "strict"])),
    ("strait.dev/use-waypoint", &[Kind::Namespace, Kind::Service, Kind::MeshWorkload], Says::Waypoint),
    (
        "strait.dev/use-waypoint-namespace",
        &[Kind::Namespace, Kind::Service, Kind::MeshWorkload],
        Says::Namespace,
    ),
    ("strait.dev/default-access", &[Kind::Namespace], Says::OneOf(&["open", "mesh", "none"])),
    ("strait.dev/egress", &[Kind::Namespace, Kind::MeshWorkload], Says::OneOf(&["allow", "deny"])),
    ("strait.dev/failover", &[Kind::Service], Says::OneOf(&["remote"])),
];

/// Annotations that are promised and not built.
const ANNOTATIONS_LATER: &[&str] = &["strait.dev/mtls-exempt-ports"];

/// A name and a namespace that can stand in hosts and identities.
pub(super) fn check_name(name: &Name) -> Result<(), Fault> {
    let checked = match name.kind {
        Kind::Namespace | Kind::Service | Kind::ServiceExport | Kind::ServiceImport => {
            text::label(&name.name)
        }
        _ => text::dns_name(&name.name),
    };
    checked.within("name").within("metadata")?;
    match name.kind.scope() {
        Scope::Cluster => Ok(()),
        Scope::Namespaced => text::label(&name.namespace).within("namespace").within("metadata"),
    }
}

pub(super) fn check(object: &Object) -> Result<(), Fault> {
    check_metadata(object).within("metadata")
}

fn check_metadata(object: &Object) -> Result<(), Fault> {
    let metadata = object.metadata();
    if let (Scope::Cluster, Some(_)) = (object.kind().scope(), &metadata.namespace) {
        return Err(Fault::conflict(format!("a {} stands in no namespace", object.kind()))
            .remedy("take it out")
            .within("namespace"));
    }
    some("creationTimestamp", metadata.creation_timestamp.as_deref(), text::moment)?;
    for (key, value) in metadata.labels.iter() {
        check_label(object.kind(), key, value).within(key).within("labels")?;
    }
    for key in metadata.annotations.keys() {
        check_annotation(key).within(key).within("annotations")?;
    }
    // It names nothing where there is no waypoint to look for.
    let names_waypoint = metadata.labels.contains_key("strait.dev/use-waypoint");
    match metadata.labels.contains_key("strait.dev/use-waypoint-namespace") && !names_waypoint {
        true => Err(Fault::conflict("stands there without strait.dev/use-waypoint")
            .remedy("name the waypoint, or take it out")
            .within("strait.dev/use-waypoint-namespace")
            .within("labels")),
        false => Ok(()),
    }
}

fn check_label(kind: Kind, key: &str, value: &str) -> Result<(), Fault> {
    check_key(key)?;
    if !is_label_value(value) {
        return Err(Fault::invalid(format!("{value:?} is not the value of a label"))
            .remedy("it has at most 63 of a-z, A-Z, 0-9, '-', '_' and '.', and begins and ends with a letter or digit"));
    }
    if !key.starts_with(PREFIX) {
        return Ok(());
    }
    let Some((_, kinds, says)) = LABELS.iter().find(|(known, ..)| *known == key) else {
        let known: Vec<&str> = LABELS.iter().map(|(known, ..)| *known).collect();
        let fault = Fault::new(api::Reason::UnknownField, "unknown label");
        return Err(match nearest(key, &known) {
            Some(near) => fault.remedy(format!("did you mean {near}?")),
            None => fault.remedy(format!("the labels of ours are {}", known.join(", "))),
        });
    };
    if !kinds.contains(&kind) {
        let places: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        return Err(Fault::conflict(format!("says nothing on a {kind}"))
            .remedy(format!("put it on a {}", places.join(" or a "))));
    }
    match says {
        Says::OneOf(words) if words.contains(&value) => Ok(()),
        Says::OneOf(words) => {
            let fault = Fault::invalid(format!("is {value:?}, where one of {} is needed", words.join(", ")));
            Err(match nearest(value, words) {
                Some(near) => fault.remedy(format!("did you mean {near}?")),
                None => fault,
            })
        }
        Says::Waypoint if value == "auto" => {
            Err(Fault::not_built_yet("auto").remedy("name a Gateway of class strait-waypoint"))
        }
        Says::Waypoint | Says::Namespace => text::label(value),
    }
}

fn check_annotation(key: &str) -> Result<(), Fault> {
    check_key(key)?;
    if ANNOTATIONS_LATER.contains(&key) {
        return Err(Fault::not_built_yet("it").remedy("take it out"));
    }
    match key.starts_with(PREFIX) {
        true => Err(Fault::new(api::Reason::UnknownField, "unknown annotation").remedy("take it out")),
        false => Ok(()),
    }
}

/// `name` or `prefix/name`, as Kubernetes has them.
pub(super) fn check_key(key: &str) -> Result<(), Fault> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let legal = prefix.is_none_or(text::is_dns_name) && !name.is_empty() && is_label_value(name);
    match legal {
        true => Ok(()),
        false => Err(Fault::invalid("is not a key").remedy("for example app or example.com/team")),
    }
}

fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}
