//! The demo's story, as it runs for a person, and under a packet capture of loopback where one is root.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use multicluster_tests::strait::{Running, strait};
use serde_json::Value;

/// The demo has fixed addresses on loopback: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn story() -> (Vec<Value>, bool) {
    let output = strait(&["demo", "--exit", "--output", "json"]).output().expect("the demo starts");
    let steps: Vec<Value> = String::from_utf8(output.stdout)
        .expect("it prints text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is one JSON object"))
        .collect();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    (steps, output.status.success())
}

fn assert_held(steps: &[Value], success: bool) {
    for step in steps {
        assert_eq!(step["ok"], true, "step {} did not hold: {}\n{}", step["step"], step["what"], step["why"]);
    }
    assert_eq!(steps.len(), 16, "the story is told whole");
    assert!(success, "every step held, so the exit status is 0");
}

#[test]
fn the_story_holds_step_by_step() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let start = Instant::now();
    let (steps, success) = story();
    eprintln!("the whole story took {:.1} s", start.elapsed().as_secs_f32());
    assert_held(&steps, success);
}

#[test]
fn a_packet_capture_of_loopback_never_shows_the_canary_between_programs() {
    // Only root may capture.
    let root = fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    if !root {
        eprintln!("skipped: capturing packets needs root");
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("loopback.pcap");
    let mut capture = Command::new("tcpdump");
    // What an agent says to its own node's proxy is its own affair; everything else is captured whole.
    capture.args(["-i", "lo", "-U", "-s", "0", "-w"]).arg(&file).args(["tcp and not port 15080"]);
    capture.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let capture = Running::start(&mut capture).expect("tcpdump is installed");
    wait_for(&file);
    let (steps, success) = story();
    drop(capture);
    assert_held(&steps, success);
    let said = steps[9]["what"].as_str().expect("text");
    let canary =
        said.split_whitespace().find(|word| word.starts_with("canary-")).expect("step 10 names the canary");
    let packets = fs::read(&file).expect("the capture was written");
    assert!(packets.len() > 1 << 20, "the capture saw the demo: {} bytes", packets.len());
    let seen = packets.windows(canary.len()).any(|window| window == canary.as_bytes());
    assert!(!seen, "the canary is in the capture");
}

/// The capture stands when its file has a header.
fn wait_for(file: &Path) {
    let start = Instant::now();
    while fs::metadata(file).map_or(0, |meta| meta.len()) < 24 {
        assert!(start.elapsed() < Duration::from_secs(10), "tcpdump does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}
