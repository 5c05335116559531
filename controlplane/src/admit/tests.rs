//! The table of good and bad objects, and how errors read.

use std::{fs, path::PathBuf};

use super::*;

/// As `expr` would, well enough for a test: an expression does not end in an operator.
fn compile(text: &str) -> Result<(), String> {
    match text.trim_end().ends_with("==") {
        true => Err("Syntax error:\n  unexpected end of input".to_owned()),
        false => Ok(()),
    }
}

fn judge(text: &str) -> Result<Object, Box<Refused>> {
    let node: Node = serde_saphyr::from_str(text).expect("a document of YAML");
    admit(&node, &Place { file: "a.yaml".to_owned(), line: 1 }, &compile)
}

fn table(part: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("api/tests/admission").join(part);
    let mut files: Vec<(String, String)> = fs::read_dir(&folder)
        .expect("the table is there")
        .map(|entry| {
            let path = entry.expect("the table can be listed").path();
            let name = path.file_name().expect("files have names").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("the table can be read"))
        })
        .collect();
    files.sort();
    assert!(files.len() > 10, "{part} holds {}", files.len());
    files
}

#[test]
fn good_objects_are_accepted() {
    let mut kinds = std::collections::BTreeSet::new();
    for (file, text) in table("good") {
        match judge(&text) {
            Ok(object) => {
                kinds.insert(object.kind());
                let again = serde_json::to_value(&object).expect("objects are JSON");
                let again =
                    admit_json(again, &compile).unwrap_or_else(|refused| panic!("{file}: {refused:?}"));
                assert_eq!(again, object, "{file} is not what it was after it was written");
            }
            Err(refused) => panic!("{file}: {}", refused.rejection),
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), Kind::ALL, "each kind is in the table");
}

#[test]
fn bad_objects_are_refused_by_their_field() {
    let mut wrong = Vec::new();
    for (file, text) in table("bad") {
        let says = |what: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {what}:")));
            line.map(str::trim).unwrap_or_default().to_owned()
        };
        match judge(&text) {
            Ok(_) => wrong.push(format!("{file}: was accepted")),
            Err(refused) => {
                let rejection = &refused.rejection;
                if rejection.field != says("field") || rejection.reason.to_string() != says("reason") {
                    wrong.push(format!("{file}: {:?} {rejection}", rejection.reason));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_refusal_says_what_to_do_and_repeats_no_secret() {
    for (file, text) in table("bad") {
        let Err(refused) = judge(&text) else { continue };
        let rejection = &refused.rejection;
        assert!(!rejection.message.is_empty(), "{file}");
        assert!(rejection.place.line > 0, "{file}: {rejection}");
        let obvious = [api::Reason::Conflict, api::Reason::NotBuiltYet, api::Reason::Invalid];
        assert!(!rejection.remedy.is_empty() || obvious.contains(&rejection.reason), "{file}: {rejection}");
        if file.starts_with("secret") {
            assert!(
                !rejection.to_string().contains("12345") && !rejection.to_string().contains("not base64!"),
                "{rejection}"
            );
        }
    }
}

#[track_caller]
fn reads(text: &str, expected: &str) {
    match judge(text) {
        Ok(object) => panic!("{} was accepted", object.name()),
        Err(refused) => assert_eq!(refused.rejection.to_string(), expected),
    }
}

#[test]
fn a_refusal_names_file_line_object_field_and_remedy() {
    reads(
        "apiVersion: strait.dev/v1alpha1\nkind: AccessPolicy\nmetadata:\n  name: tools-grants\n  namespace: shop\nspec:\n  \
         targetRefs: [{kind: Service, name: tools}]\n  action: Allow\n  rules:\n  - name: docs\n    from:\n    - \
         serviceAccount:\n      - shop/planner\n",
        "a.yaml:12: AccessPolicy shop/tools-grants: spec.rules[0].from[0].serviceAccount: unknown field; did you mean \
         serviceAccounts?",
    );
    reads(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:\n  - port: 70000\n",
        "a.yaml:6: Service default/web: spec.ports[0].port: is 70000, where a number of 0 to 65535 is needed",
    );
    reads(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector:\n    version: 2\n  ports: [{port: 80}]\n",
        "a.yaml:6: Service default/web: spec.selector.version: is 2, where a text is needed; write it in quotes",
    );
    reads(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels:\n    strait.dev/mtls: strickt\n",
        "a.yaml:6: Namespace shop: metadata.labels[strait.dev/mtls]: is \"strickt\", where one of permissive, strict is \
         needed; did you mean strict?",
    );
    reads(
        "apiVersion: strait.dev/v1alpha1\nkind: AccesPolicy\nmetadata: {name: a}\n",
        "a.yaml:2: kind: \"AccesPolicy\" of apiVersion \"strait.dev/v1alpha1\" is not a kind that is read here; did you \
         mean kind: AccessPolicy of apiVersion: strait.dev/v1alpha1?",
    );
    reads(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: a}\n",
        "a.yaml:2: kind: GRPCRoute is not built yet; take the object out",
    );
    reads(
        "apiVersion: strait.dev/v1alpha1\nkind: QuotaPolicy\nmetadata: {name: a}\nspec:\n  targetRefs: [{kind: Service, \
         name: web}]\n  limits:\n  - name: day\n    per: Identity\n    window: 25h\n    tokens: 5000\n",
        "a.yaml:9: QuotaPolicy default/a: spec.limits[0].window: 25h is not a window; write 1s to 24h",
    );
    reads(
        "apiVersion: strait.dev/v1alpha1\nkind: GuardPolicy\nmetadata: {name: a}\nspec:\n  targetRefs: [{kind: Service, \
         name: web}]\n  patterns: [{name: mail, type: Emial}]\n",
        "a.yaml:6: GuardPolicy default/a: spec.patterns[0].type: is \"Emial\", where one of Email, CreditCard, UsSsn, \
         PhoneNumber, Iban, IpAddress, Secret, Regex is needed; did you mean Email?",
    );
}

#[test]
fn a_broken_policy_tells_its_targets_unless_it_only_audits() {
    let policy = |extra: &str, targets: &str| {
        format!(
            "apiVersion: strait.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n  \
             targetRefs: {targets}\n  action: Allow\n{extra}  rules: [{{name: a, from: []}}]\n"
        )
    };
    let targets = |text: &str| judge(text).expect_err("a broken policy").targets;
    let Some(Targets::Namespaced { refs, selectors }) =
        targets(&policy("", "[{kind: Service, name: a}, {knd: Service}]"))
    else {
        panic!("the targets were not read")
    };
    assert_eq!((refs.len(), selectors.len()), (1, 0));
    assert_eq!(targets(&policy("", "tools")), None);
    assert_eq!(targets(&policy("  mode: Audit\n", "[{kind: Service, name: a}]")), None);
    assert!(targets(&policy("  mode: Adit\n", "[{kind: Service, name: a}]")).is_some());
}

#[test]
fn a_guard_or_quota_that_is_broken_tells_its_targets_too() {
    for (kind, rest) in [
        ("GuardPolicy", "  patterns: [{name: a, type: Emial, action: Mask}]\n"),
        ("QuotaPolicy", "  limits: [{name: a, per: Identity, window: 40d, requests: 1}]\n"),
    ] {
        let policy = |mode: &str| {
            format!(
                "apiVersion: strait.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: p, namespace: shop}}\nspec:\n  \
                 targetRefs: [{{kind: Service, name: a}}]\n{mode}{rest}"
            )
        };
        let targets = |text: &str| judge(text).expect_err("it is broken").targets;
        assert!(targets(&policy("")).is_some(), "{kind}");
        assert_eq!(targets(&policy("  mode: Audit\n")), None, "{kind}");
    }
}
