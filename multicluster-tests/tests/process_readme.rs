//! The walk of the README, to the letter: every `sh walk` block, in order, as one script.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use multicluster_tests::strait::binary;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").to_owned()
}

/// The lines of the blocks with this fence.
fn blocks(text: &str, fence: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(info) => inside = !inside && info == fence,
            None if inside => {
                script.push_str(line);
                script.push('\n');
            }
            None => {}
        }
    }
    script
}

#[test]
fn the_walk_of_the_readme_works_as_written() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let walk = blocks(&readme, "sh walk");
    assert!(walk.lines().count() >= 9, "the walk is in the README:\n{walk}");
    // The walk is done in a copy, so that its state is not left in the repository.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copied = Command::new("cp").arg("-r").arg(root().join("examples")).arg(folder.path()).status();
    assert!(copied.expect("cp is there").success());
    let binary = binary();
    let path = format!(
        "{}:{}",
        binary.parent().expect("a program is in a folder").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let script = format!("set -eu\ntrap 'kill $(jobs -p)' EXIT\n{walk}");
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .output()
        .expect("bash is there");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "the walk failed ({}):\n{said}\n{complained}", output.status);
    assert!(said.contains("kind: MeshWorkload"), "planner read the file through the mesh:\n{said}");
    assert!(said.contains("NoGrant"), "the refusal was explained:\n{said}");
    assert!(said.contains("spiffe://"), "identities were listed:\n{said}");
}
