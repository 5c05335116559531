//! What stands in for what, and that a restart changes nothing.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::watch::{look_at, read_text};

fn policy(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: strait.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  \
         targetRefs: [{{kind: Service, name: tools}}]\n  action: Allow\n{rest}"
    )
}

fn good(name: &str) -> String {
    policy(name, "  rules: [{name: a, from: [{anyone: true}]}]\n")
}

fn bad(name: &str) -> String {
    policy(name, "  rules: [{name: a, from: []}]\n")
}

fn pass(door: &mut Door, files: &[(&str, &str)]) -> Arc<Input> {
    let (input, remember) = door.pass(&read_text(files));
    if remember {
        door.remember();
    }
    input
}

fn states(input: &Input) -> Vec<String> {
    let state = |admitted: &Admitted| match admitted {
        Admitted::Accepted { .. } => "accepted",
        Admitted::LastGood { .. } => "last good",
        Admitted::DeniesTargets { .. } => "denies",
        Admitted::Rejected { .. } => "absent",
    };
    input.objects.iter().map(|admitted| format!("{} {}", admitted.name().name, state(admitted))).collect()
}

/// Files, and what each object then is.
type Step<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[track_caller]
fn check(steps: &[Step<'_>]) {
    // Once in one run, and once with a restart before every step.
    let directory = TempDir::new().expect("a directory");
    let mut door = Door::forgetful();
    for (at, (files, expected)) in steps.iter().enumerate() {
        assert_eq!(states(&pass(&mut door, files)), *expected, "step {at}");
        let mut restarted = Door::remembering(&directory.path().join("accepted"));
        assert_eq!(states(&pass(&mut restarted, files)), *expected, "step {at} after a restart");
    }
}

#[test]
fn a_bad_edit_keeps_the_last_good_until_it_is_mended_or_taken_out() {
    let (good, bad) = (good("p"), bad("p"));
    check(&[
        (&[("a.yaml", &good)], &["p accepted"]),
        (&[("a.yaml", &bad)], &["p last good"]),
        (&[("a.yaml", &good)], &["p accepted"]),
        (&[("a.yaml", &bad)], &["p last good"]),
        (&[], &[]),
        (&[("a.yaml", &bad)], &["p denies"]),
    ]);
}

#[test]
fn a_policy_that_was_never_accepted_denies_what_it_targets_and_others_are_absent() {
    let unreadable = "apiVersion: strait.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: q, namespace: shop}\nspec: {}\n";
    let route =
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {ruls: []}\n";
    let audit = bad("s").replace("  action", "  mode: Audit\n  action");
    check(&[(
        &[("a.yaml", &bad("p")), ("b.yaml", unreadable), ("c.yaml", route), ("d.yaml", &audit)],
        &["r absent", "p denies", "q absent", "s absent"],
    )]);
}

#[test]
fn a_syntax_error_after_the_targets_still_denies_them() {
    let broken = policy("p", "  rules:\n  - name: a\n    from: [{anyone: true}\n    to: x\n");
    check(&[(&[("a.yaml", &broken)], &["p denies"])]);
}

#[test]
fn what_is_hidden_by_a_fault_in_its_file_is_not_taken_for_gone() {
    let two = format!("{}---\n{}", good("p"), good("q"));
    let unnamed = format!("{}---\nkind: AccessPolicy\n  name: q\n", good("p"));
    let gone = good("p");
    check(&[
        (&[("a.yaml", &two)], &["p accepted", "q accepted"]),
        (&[("a.yaml", &unnamed)], &["p accepted", "q last good"]),
        (&[("a.yaml", &gone)], &["p accepted"]),
        // A fault in another file hides nothing of this one.
        (&[("a.yaml", &two)], &["p accepted", "q accepted"]),
        (&[("a.yaml", &gone), ("b.yaml", "[")], &["p accepted"]),
    ]);
}

#[test]
fn a_folder_that_cannot_be_read_hides_everything() {
    let directory = TempDir::new().expect("a directory");
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("a.yaml"), good("p")).expect("a file");
    let mut door = Door::forgetful();
    assert_eq!(states(&door.pass(&look_at(&folder)).0), ["p accepted"]);
    fs::rename(&folder, directory.path().join("elsewhere")).expect("it is there");
    let (input, _) = door.pass(&look_at(&folder));
    assert_eq!(states(&input), ["p last good"]);
    assert_eq!(input.problems.len(), 1);
}

#[test]
fn a_revocation_only_grows() {
    let revocation = |before: &str| {
        format!(
            "apiVersion: strait.dev/v1alpha1\nkind: Revocation\nmetadata: {{name: r}}\nspec: {{identity: \"spiffe://a/b\", issuedBefore: \"{before}\"}}\n"
        )
    };
    check(&[
        (&[("a.yaml", &revocation("2026-11-24T12:00:00Z"))], &["r accepted"]),
        (&[("a.yaml", &revocation("2026-11-24T11:59:59Z"))], &["r last good"]),
        (&[], &["r last good"]),
        (&[("a.yaml", &revocation("2026-11-24T12:00:01Z"))], &["r accepted"]),
    ]);
}

#[test]
fn what_did_not_change_is_the_same_allocation() {
    let mut door = Door::forgetful();
    let first = pass(&mut door, &[("a.yaml", &good("p")), ("b.yaml", &good("q"))]);
    let changed = good("q").replace("Allow", "Deny");
    let second = pass(&mut door, &[("a.yaml", &good("p")), ("b.yaml", &changed)]);
    let object = |input: &Input, at: usize| Arc::clone(input.objects[at].object().expect("it is accepted"));
    assert!(Arc::ptr_eq(&object(&first, 0), &object(&second, 0)));
    assert!(!Arc::ptr_eq(&object(&first, 1), &object(&second, 1)));
    assert_eq!((first.generation, second.generation), (1, 2));
    let third = pass(&mut door, &[("a.yaml", &good("p")), ("b.yaml", &changed)]);
    assert!(Arc::ptr_eq(&second, &third));
}

#[test]
fn damaged_memory_is_absent_memory_and_is_said() {
    let directory = TempDir::new().expect("a directory");
    let mut door = Door::remembering(&directory.path().join("accepted"));
    pass(&mut door, &[("a.yaml", &good("p"))]);
    let path = directory.path().join("accepted/objects");
    let mut content = fs::read(&path).expect("it was remembered");
    *content.last_mut().expect("it is not empty") ^= 1;
    fs::write(&path, content).expect("it is there");
    let mut door = Door::remembering(&directory.path().join("accepted"));
    let input = pass(&mut door, &[("a.yaml", &bad("p"))]);
    assert_eq!(states(&input), ["p denies"]);
    assert_eq!(input.problems.len(), 1, "{:?}", input.problems);
}

#[test]
fn a_duplicate_counts_nowhere_whichever_file_it_stands_in() {
    let mine = good("p");
    let other = mine.replace("action: Allow", "action: Deny");
    let mut door = Door::forgetful();
    pass(&mut door, &[("m.yaml", &mine)]);
    for added in ["a.yaml", "z.yaml"] {
        let mut files = [("m.yaml", mine.as_str()), (added, other.as_str())];
        files.sort_unstable();
        let input = pass(&mut door, &files);
        let [Admitted::Accepted { object }] = &*input.objects else { panic!("{:?}", input.objects) };
        assert!(
            matches!(&**object, Object::AccessPolicy(policy) if policy.spec.action == api::access::Action::Allow)
        );
        let said: Vec<String> = input.problems.iter().map(ToString::to_string).collect();
        assert!(
            said[0].starts_with(&format!("{added}:1: AccessPolicy shop/p: is written a second time")),
            "{said:?}"
        );
        assert!(said[0].contains("the one at m.yaml:1 counts"), "{said:?}");
    }
    // Once it is the only one, it counts, wherever it stands.
    let input = pass(&mut door, &[("a.yaml", &other)]);
    assert!(input.problems.is_empty() && input.objects.len() == 1, "{input:?}");
}

#[test]
fn secrets_are_remembered_and_not_written_in_clear_text() {
    let secret = |value: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: key, namespace: shop}}\nstringData: {{token: {value}}}\n"
        )
    };
    check(&[
        (&[("a.yaml", &secret("canary"))], &["key accepted"]),
        (&[("a.yaml", &secret("[1]"))], &["key last good"]),
    ]);
    let directory = TempDir::new().expect("a directory");
    let accepted = directory.path().join("accepted");
    let mut door = Door::remembering(&accepted);
    pass(&mut door, &[("a.yaml", &secret("canary")), ("b.yaml", &good("p"))]);
    let written = fs::read_to_string(accepted.join("objects")).expect("it is text");
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "canary");
    assert!(
        written.contains("\"AccessPolicy\"") && !written.contains("canary") && !written.contains(&encoded)
    );
    // Without its key it is gone, and nothing else.
    fs::remove_file(accepted.join("key")).expect("there is a key");
    let mut restarted = Door::remembering(&accepted);
    let input = pass(&mut restarted, &[("a.yaml", &secret("[1]")), ("b.yaml", &bad("p"))]);
    assert_eq!(states(&input), ["key absent", "p last good"]);
}
