//! The tests that `docs/attacks.md` names are there.

use std::{fs, path::Path};

/// Files and the tests that a text says are in them: a path in backticks, then one test in backticks.
fn named(text: &str) -> Vec<(&str, &str)> {
    let quoted: Vec<&str> =
        text.lines().filter(|line| line.starts_with('|')).flat_map(in_backticks).collect();
    let pairs = quoted.windows(2).filter(|pair| pair[0].ends_with(".rs") && pair[1].starts_with("attack_"));
    pairs.map(|pair| (pair[0], pair[1])).collect()
}

fn in_backticks(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// What is said of a text and is not so.
fn missing(text: &str, root: &Path) -> Vec<String> {
    let mut missing = Vec::new();
    for (path, test) in named(text) {
        let source = fs::read_to_string(root.join(path)).unwrap_or_default();
        if !source.contains(&format!("fn {test}()")) {
            missing.push(format!("{path} has no test {test}"));
        }
    }
    // A class without a test says why.
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Class ")) {
        if named(line).is_empty() && !line.contains("| none: ") {
            missing.push(format!("no test: {line}"));
        }
    }
    missing
}

#[test]
fn every_attack_has_its_test() {
    let root = crate::command::root();
    let text = fs::read_to_string(root.join("docs/attacks.md")).unwrap();
    assert!(named(&text).len() > 30, "the table is not read");
    assert_eq!(missing(&text, &root), Vec::<String>::new());
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let root = crate::command::root();
    for (line, expected) in [
        ("| a | `xtask/src/main.rs` `attack_nothing` |", 1),
        ("| a | `xtask/src/gone.rs` `attack_nothing` |", 1),
        ("| a | some day |", 1),
        ("| a | none: there is no such thing |", 0),
    ] {
        assert_eq!(missing(line, &root).len(), expected, "{line}");
    }
}
