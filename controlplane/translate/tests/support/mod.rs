//! Scenes: objects as users write them, and what is observed beside them.

use std::collections::BTreeMap;

use api::{Admitted, Kind, Name, Object};
use mesh::resource::Health;
use serde::Deserialize;
use serde_json::Value;
use translate::{Access, Bundle, Edit, ExportedService, Past, Settings, Translator, Tunnels};

/// Everything that a translation reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scene {
    pub(crate) objects: Vec<Admitted>,
    pub(crate) observed: Observed,
}

/// What is no object: the document of kind `Observed`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Observed {
    pub(crate) kind: String,
    /// Gateways that serve, `namespace/name`.
    pub(crate) serving: Vec<String>,
    /// Workloads that do not work, by uid.
    pub(crate) unhealthy: Vec<String>,
    /// Services that links export to us.
    pub(crate) exports: BTreeMap<String, Vec<ExportedService>>,
    /// Roots by trust domain.
    pub(crate) bundles: BTreeMap<String, Vec<String>>,
    /// Policies that were never accepted and deny their targets.
    pub(crate) denying: Vec<Denying>,
}

/// A policy that was never accepted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Denying {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// An AccessPolicy, where nothing is said.
    #[serde(default)]
    pub(crate) policy: Option<Kind>,
    pub(crate) targets: Vec<api::refs::TargetRef>,
}

/// The settings of every scene.
pub(crate) fn settings() -> Settings {
    Settings {
        cluster: "east".into(),
        network: "east".into(),
        trust_domain: "east.example".parse().expect("a trust domain"),
        ranges: vec!["10.20.0.0/16".parse().expect("a range")],
        cluster_domain: "cluster.local".into(),
        suffixes: vec!["mesh".into()],
        default_access: Access::Open,
        tunnels: Tunnels::Loopback,
    }
}

impl Scene {
    /// Reads the documents of a text.
    pub(crate) fn read(text: &str) -> Self {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
        let mut scene = Self::default();
        for document in documents {
            if document["kind"] == "Observed" {
                scene.observed = serde_json::from_value(document).expect("what is observed");
            } else {
                let object = Object::from_json(document).expect("an object");
                scene.objects.push(Admitted::Accepted { object: object.into() });
            }
        }
        for denying in &scene.observed.denying {
            let kind = denying.policy.unwrap_or(Kind::AccessPolicy);
            let name = Name::new(kind, &denying.namespace, &denying.name);
            scene.objects.push(Admitted::DeniesTargets {
                targets: api::Targets::Namespaced { refs: denying.targets.clone(), selectors: Vec::new() },
                rejection: api::Rejection {
                    place: api::Place::default(),
                    object: Some(name.clone()),
                    field: "spec.action".to_owned(),
                    reason: api::Reason::Invalid,
                    message: "Permit is no action".to_owned(),
                    remedy: "write Allow or Deny".to_owned(),
                },
                name,
            });
        }
        scene
    }

    /// What is observed, as edits.
    pub(crate) fn observations(&self) -> Vec<Edit> {
        let observed = &self.observed;
        let mut edits = Vec::new();
        for gateway in &observed.serving {
            let (namespace, name) = gateway.split_once('/').expect("namespace/name");
            edits.push(Edit::Serving(Name::new(Kind::Gateway, namespace, name), true));
        }
        edits.extend(
            observed.unhealthy.iter().map(|uid| Edit::Health(uid.as_str().into(), Health::Unhealthy)),
        );
        let exports = observed.exports.iter();
        edits.extend(exports.map(|(link, services)| Edit::Exports(link.as_str().into(), services.clone())));
        edits.extend(observed.bundles.iter().map(|(trust_domain, roots)| {
            let bundle =
                Bundle { sequence: 1, roots: roots.iter().map(|root| root.as_str().into()).collect() };
            Edit::Bundle(trust_domain.parse().expect("a trust domain"), Some(bundle))
        }));
        for name in self.objects.iter().map(Admitted::name).filter(|name| name.kind == Kind::MeshWorkload) {
            let hash = format!("hash-of-{}", name.name);
            edits.push(Edit::Token(name, hash.into()));
        }
        edits
    }

    /// Translates it from scratch.
    #[allow(dead_code)] // Not every test does.
    pub(crate) fn translate(&self) -> Translator {
        let (mut translator, _) = Translator::new(settings(), Past::default());
        let mut edits = self.observations();
        edits.push(Edit::Objects(self.objects.clone()));
        translator.apply(edits);
        translator
    }
}
