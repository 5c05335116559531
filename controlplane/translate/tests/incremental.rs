//! What is recomputed piece by piece equals what is computed from scratch, whatever the order of edits.

mod support;

use std::{collections::BTreeMap, fs, path::Path};

use api::{Admitted, Kind, Name, Object};
use mesh::resource::Health;
use proptest::{prelude::*, sample::Index};
use serde_json::json;
use support::{Scene, settings};
use translate::{Bundle, Edit, Past, Translator, workload_uid};

/// Everything that can be there: the scenes of the golden tests, each with changed forms of its objects.
fn scenes() -> Vec<Pool> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> =
        fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("one").path()).collect();
    cases.sort();
    let read = |case: &std::path::PathBuf| {
        let text = fs::read_to_string(case.join("in.yaml")).expect("in.yaml can be read");
        let scene = Scene::read(&text);
        let changed = scene.objects.iter().flat_map(variants);
        let objects = scene.objects.iter().cloned().chain(changed).collect();
        Pool { objects, observations: scene.observations() }
    };
    cases.iter().map(read).collect()
}

/// What a history is made of.
#[derive(Debug, Clone, Default)]
struct Pool {
    objects: Vec<Admitted>,
    observations: Vec<Edit>,
}

/// One scene, in which things meet often, or all of them together.
fn pool(one: Option<Index>) -> Pool {
    let scenes = scenes();
    match one {
        Some(index) => index.get(&scenes).clone(),
        None => scenes.into_iter().fold(Pool::default(), |mut all, scene| {
            all.objects.extend(scene.objects);
            all.observations.extend(scene.observations);
            all
        }),
    }
}

/// The same object with other labels, and not accepted any more.
fn variants(admitted: &Admitted) -> Vec<Admitted> {
    let Some(object) = admitted.object() else { return Vec::new() };
    let mut variants = Vec::new();
    for labels in [
        json!({}),
        json!({"strait.dev/use-waypoint": "waypoint", "app": "tools"}),
        json!({"strait.dev/use-waypoint": "auto"}),
        json!({"strait.dev/default-access": "none", "strait.dev/failover": "remote", "app": "tools"}),
    ] {
        let mut value = serde_json::to_value(object.as_ref()).expect("an object is JSON");
        value["metadata"]["labels"] = labels;
        let object = Object::from_json(value).expect("labels alone changed");
        variants.push(Admitted::Accepted { object: object.into() });
    }
    variants.extend(respoken(object));
    variants
}

/// The same object saying something else: a Secret of other content, a policy in the other mode, a Gateway of one
/// listener less, a grant of nothing that is there, a backend without its catalogue.
fn respoken(object: &Object) -> Option<Admitted> {
    let mut value = serde_json::to_value(object).expect("an object is JSON");
    match object.kind() {
        Kind::Secret => {
            value["stringData"] = json!({"token": "another", "other": "value"});
            value["data"] = json!({});
        }
        Kind::GuardPolicy | Kind::QuotaPolicy | Kind::AccessPolicy => {
            let audit = value["spec"]["mode"] != "Audit";
            value["spec"]["mode"] = json!(if audit { "Audit" } else { "Enforce" });
        }
        Kind::Gateway => {
            let listeners = value["spec"]["listeners"].as_array_mut()?;
            listeners.pop().filter(|_| !listeners.is_empty())?;
        }
        Kind::ReferenceGrant => {
            value["spec"]["to"] = json!([{"group": "", "kind": "Service", "name": "other"}])
        }
        Kind::AgentBackend => drop(value["spec"].as_object_mut()?.remove("catalogRef")),
        Kind::ToolCatalog => value["spec"]["unlisted"] = json!("Pass"),
        Kind::TokenIssuer => {
            value["spec"] = json!({"apiKeys": {"secretRef": {"namespace": "desk", "name": "keys"}}});
        }
        Kind::ServiceAccount => value["metadata"]["labels"] = json!({"team": "ops"}),
        Kind::ClusterLink => {
            let of = value["spec"]["trustDomain"].as_str()?;
            value["spec"]["vouchers"] = json!([format!("spiffe://{of}/ns/tools/sa/waypoint")]);
        }
        _ => return None,
    }
    let object = Object::from_json(value).expect("it is still of its kind");
    Some(Admitted::Accepted { object: object.into() })
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Set(Index),
    Remove(Index),
    Observe(Index),
    Health(Index, bool),
    Serve(Index, bool),
    Unlink(Index),
    Bundle(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<Index>().prop_map(Step::Set),
        2 => any::<Index>().prop_map(Step::Remove),
        2 => any::<Index>().prop_map(Step::Observe),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(index, well)| Step::Health(index, well)),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(index, serves)| Step::Serve(index, serves)),
        1 => any::<Index>().prop_map(Step::Unlink),
        1 => any::<bool>().prop_map(Step::Bundle),
    ]
}

/// What is there after a history, for a translation from scratch.
#[derive(Default)]
struct Model {
    objects: BTreeMap<Name, Admitted>,
    observed: BTreeMap<String, Edit>,
}

impl Model {
    fn note(&mut self, edit: &Edit) {
        let what = match edit {
            Edit::Bundle(trust_domain, _) => format!("bundle {trust_domain}"),
            Edit::Exports(link, _) => format!("exports {link}"),
            Edit::Health(uid, _) => format!("health {uid}"),
            Edit::Serving(gateway, _) => format!("serving {gateway}"),
            Edit::Token(workload, _) => format!("token {workload}"),
            _ => return,
        };
        self.observed.insert(what, edit.clone());
    }

    fn whole(&self, past: Past) -> Translator {
        let (mut translator, _) = Translator::new(settings(), past);
        let mut edits: Vec<Edit> = self.observed.values().cloned().collect();
        edits.push(Edit::Objects(self.objects.values().cloned().collect()));
        translator.apply(edits);
        translator
    }
}

/// The first entry in which two maps differ.
fn differing<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    a: &BTreeMap<K, V>,
    b: &BTreeMap<K, V>,
) -> Option<String> {
    let key = a.keys().chain(b.keys()).find(|key| a.get(key) != b.get(key))?;
    Some(format!("{key:?}: piece by piece {:?}, from scratch {:?}", a.get(key), b.get(key)))
}

/// One of some; nothing of none.
fn one_of<T: Clone>(index: &Index, some: &[T]) -> Option<T> {
    (!some.is_empty()).then(|| index.get(some).clone())
}

fn edit_of(step: &Step, pool: &Pool, model: &Model) -> Option<Edit> {
    let Pool { objects, observations } = pool;
    let gateways = || objects.iter().map(Admitted::name).filter(|name| name.kind == Kind::Gateway);
    Some(match step {
        Step::Set(index) => Edit::Object(Box::new(index.get(objects).clone())),
        Step::Remove(index) => {
            let names: Vec<&Name> = model.objects.keys().collect();
            if names.is_empty() {
                return None;
            }
            Edit::Gone((*index.get(&names)).clone())
        }
        Step::Observe(index) => one_of(index, observations)?,
        Step::Health(index, well) => {
            let workloads: Vec<Name> =
                objects.iter().map(Admitted::name).filter(|name| name.kind == Kind::MeshWorkload).collect();
            let name = one_of(index, &workloads)?;
            let uid = workload_uid(&settings(), name.kind, &name.namespace, &name.name);
            Edit::Health(uid, if *well { Health::Healthy } else { Health::Unhealthy })
        }
        Step::Serve(index, serves) => Edit::Serving(one_of(index, &gateways().collect::<Vec<_>>())?, *serves),
        Step::Unlink(index) => {
            let links: Vec<Name> =
                objects.iter().map(Admitted::name).filter(|name| name.kind == Kind::ClusterLink).collect();
            Edit::Exports(one_of(index, &links)?.name.as_str().into(), Vec::new())
        }
        Step::Bundle(there) => Edit::Bundle(
            "west.example".parse().expect("a trust domain"),
            there.then(|| Bundle { sequence: 2, roots: vec!["b3RoZXI=".into()] }),
        ),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn piece_by_piece_equals_whole(
        one in prop::option::weighted(0.7, any::<Index>()),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let pool = pool(one);
        let (mut translator, mut said) = Translator::new(settings(), Past::default());
        let mut published = BTreeMap::new();
        let mut model = Model::default();
        for (number, step) in steps.iter().enumerate() {
            for resource in said.set.drain(..) {
                published.insert(resource.key(), resource);
            }
            for key in said.removed.drain(..) {
                prop_assert!(published.remove(&key).is_some(), "{} was removed and never told", key);
            }
            let Some(edit) = edit_of(step, &pool, &model) else { continue };
            match &edit {
                Edit::Object(admitted) => drop(model.objects.insert(admitted.name(), (**admitted).clone())),
                Edit::Gone(name) => drop(model.objects.remove(name)),
                other => model.note(other),
            }
            said = translator.apply([edit]);
            // From scratch is slow; every step is looked at in a short history, some in a long one.
            if number + 12 >= steps.len() {
                let scratch = model.whole(translator.world().past());
                let (piece_by_piece, whole) = (translator.output(), scratch.output());
                prop_assert_eq!(differing(&piece_by_piece.resources, &whole.resources), None);
                prop_assert_eq!(differing(&piece_by_piece.statuses, &whole.statuses), None);
                prop_assert_eq!(differing(&piece_by_piece.exports, &whole.exports), None);
            }
        }
        for resource in said.set {
            published.insert(resource.key(), resource);
        }
        for key in said.removed {
            published.remove(&key);
        }
        prop_assert_eq!(differing(&published, &translator.output().resources), None, "the differences do not add up");
    }
}

#[test]
fn an_edit_computes_what_it_touches_and_no_more() {
    let (mut translator, _) = Translator::new(settings(), Past::default());
    let mut objects = Vec::new();
    for namespace in 0..50 {
        for name in 0..10 {
            let workload = json!({
                "apiVersion": "strait.dev/v1alpha1", "kind": "MeshWorkload",
                "metadata": {"name": format!("w{name}"), "namespace": format!("n{namespace}"), "labels": {"app": "a"}},
                "spec": {"serviceAccount": "a", "node": "one", "delivery": {"loopbackPort": 9000}, "ports": [{"port": 80}]},
            });
            let object = Object::from_json(workload).expect("a workload");
            objects.push(Admitted::Accepted { object: object.into() });
        }
    }
    let all = translator.apply([Edit::Objects(objects.clone())]);
    assert!(all.computed >= 500);
    assert!(translator.apply([Edit::Objects(objects)]).computed == 0, "nothing changed");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "n7"},
        "spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]},
    });
    let object = Object::from_json(service).expect("a service");
    let one = translator.apply([Edit::Object(Box::new(Admitted::Accepted { object: object.into() }))]);
    assert!(one.computed <= 25, "{} computations for one Service", one.computed);
    assert!(one.set.len() <= 30, "{} resources for one Service", one.set.len());
}
