//! Follows what the suite prints while it runs.
//!
//! With `-test.v=test2json` a test program marks its own lines: 0x16 begins one about a test's course, and what a
//! test reports as a fault stands between 0x0f and 0x0e. All other text belongs to the test that spoke last.

use std::collections::BTreeMap;

use super::outcome::{Tested, Verdict};

/// Begins a line about the course of a test.
const COURSE: char = '\u{16}';
/// Begins a fault.
const FAULT: char = '\u{f}';
/// Ends a fault.
const FAULT_END: char = '\u{e}';
/// The test that all of the suite's tests are parts of.
pub(super) const WHOLE: &str = "TestConformance";
/// How much of a fault is kept, in bytes.
const FAULT_BYTES_MAX: usize = 4096;
/// How many parts that failed are named for one test.
const PARTS_MAX: usize = 20;

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The tests that ended, by name.
    pub(super) tests: BTreeMap<String, Tested>,
    /// How the whole ended.
    pub(super) whole: Option<Verdict>,
    /// The first fault of the whole outside of any test.
    pub(super) whole_fault: Option<String>,
    /// What the program said when it gave up.
    pub(super) panic: Option<String>,
    current: String,
    faults: BTreeMap<String, String>,
    parts: BTreeMap<String, Vec<String>>,
    open: Option<String>,
}

impl Reading {
    /// Reads a line, and says it if it ends one of the suite's tests.
    pub(super) fn line(&mut self, line: &str) -> Option<String> {
        // Text that a test printed without an end of line stands before the mark.
        let (text, course) = match line.rsplit_once(COURSE) {
            Some((before, course)) => (before, Some(course.trim())),
            None => (line, None),
        };
        if !text.is_empty() || course.is_none() {
            self.text(text);
        }
        course.and_then(|course| self.course(course))
    }

    fn course(&mut self, course: &str) -> Option<String> {
        for word in ["=== RUN", "=== CONT", "=== NAME", "=== PAUSE"] {
            if let Some(name) = course.strip_prefix(word) {
                self.current = name.trim().to_owned();
                return None;
            }
        }
        let (verdict, rest) = Verdict::ALL.into_iter().find_map(|verdict| {
            Some((verdict, course.strip_prefix(&format!("--- {}: ", verdict.word()))?))
        })?;
        let (name, seconds) = rest.rsplit_once(" (").unwrap_or((rest, "0s)"));
        let seconds = seconds.trim_end_matches("s)").parse().unwrap_or_default();
        self.ended(name, verdict, seconds)
    }

    fn ended(&mut self, name: &str, verdict: Verdict, seconds: f64) -> Option<String> {
        if name == WHOLE {
            self.whole = Some(verdict);
            return None;
        }
        let test = self.test_of(name)?.to_owned();
        if let Some((_, part)) = name.split_once(&format!("/{test}/")) {
            let parts = self.parts.entry(test).or_default();
            if verdict == Verdict::Failed && parts.len() < PARTS_MAX {
                parts.push(part.to_owned());
            }
            return None;
        }
        let tested = Tested {
            verdict,
            seconds,
            failed_parts: self.parts.remove(&test).unwrap_or_default(),
            reason: self.faults.remove(&test).map(|fault| brief(&fault)),
            name: test,
        };
        let said = (verdict != Verdict::Skipped).then(|| format!("{tested}"));
        self.tests.insert(tested.name.clone(), tested);
        said
    }

    /// The test of the suite that a name is of, whatever part of it.
    fn test_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(WHOLE)?.strip_prefix('/')?.split('/').next()
    }

    fn text(&mut self, text: &str) {
        if self.panic.is_none() && text.starts_with("panic: ") {
            self.panic = Some(text.to_owned());
        }
        for one in text.chars() {
            match (one, &mut self.open) {
                (FAULT, _) => self.open = Some(String::new()),
                (FAULT_END, _) => self.close(),
                (one, Some(fault)) if fault.len() < FAULT_BYTES_MAX => fault.push(one),
                _ => {}
            }
        }
        if let Some(fault) = &mut self.open {
            fault.push('\n');
        }
    }

    /// The first fault of a test is its reason; those that follow are mostly its consequences.
    fn close(&mut self) {
        let Some(fault) = self.open.take() else { return };
        match self.test_of(&self.current).map(str::to_owned) {
            Some(test) => {
                self.faults.entry(test).or_insert(fault);
            }
            None => {
                self.whole_fault.get_or_insert_with(|| brief(&fault));
            }
        }
    }
}

/// What a fault says without where it was found: the parts that the library of assertions names `Error` and
/// `Messages`, or all of it.
fn brief(fault: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut labelled = false;
    let mut keep = true;
    for line in fault.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let label = line.split_once(':').map_or("", |(label, _)| label);
        keep = match label {
            "Error" | "Messages" => true,
            "Error Trace" | "Test" => false,
            _ => keep,
        };
        labelled |= label == "Error";
        if keep {
            kept.push(line.trim_start_matches("Error:").trim_start_matches("Messages:").trim());
        }
    }
    // Before the first label stands only the file and the line that gave up.
    if labelled && kept.first().is_some_and(|first| first.contains(".go:")) {
        kept.remove(0);
    }
    kept.retain(|line| !line.is_empty());
    kept.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> (Reading, Vec<String>) {
        let mut reading = Reading::default();
        let said = lines.iter().filter_map(|line| reading.line(line)).collect();
        (reading, said)
    }

    #[test]
    fn tests_end_with_their_verdict_their_parts_and_the_first_fault() {
        let (reading, said) = read(&[
            "\u{16}=== RUN   TestConformance",
            "    conformance.go:60: Running conformance tests with:",
            "\u{16}=== RUN   TestConformance/HTTPRouteWeight",
            "\u{16}=== RUN   TestConformance/HTTPRouteWeight/Requests_are_spread",
            "\u{f}    weight.go:50: ",
            "        \tError Trace:\tsuite/weight.go:50",
            "        \tError:      \tcondition never satisfied",
            "        \tTest:       \tTestConformance/HTTPRouteWeight",
            "        \tMessages:   \terror waiting for the route\u{e}",
            "\u{f}    weight.go:60: a consequence\u{e}",
            "\u{16}--- FAIL: TestConformance/HTTPRouteWeight/Requests_are_spread (60.00s)",
            "\u{16}--- FAIL: TestConformance/HTTPRouteWeight (60.12s)",
            "\u{16}=== RUN   TestConformance/MeshBasic",
            "    mesh.go:3: Skipping\u{16}--- SKIP: TestConformance/MeshBasic (0.00s)",
            "\u{16}--- PASS: TestConformance/TLSRoute (1.50s)",
            "\u{16}--- FAIL: TestConformance (62.00s)",
            "\u{16}=== NAME  ",
            "\u{16}FAIL",
        ]);
        let weight = &reading.tests["HTTPRouteWeight"];
        assert_eq!((weight.verdict, weight.seconds), (Verdict::Failed, 60.12));
        assert_eq!(weight.failed_parts, ["Requests_are_spread"]);
        assert_eq!(weight.reason.as_deref(), Some("condition never satisfied | error waiting for the route"));
        assert_eq!(reading.tests["MeshBasic"].verdict, Verdict::Skipped);
        assert_eq!(reading.tests["TLSRoute"].verdict, Verdict::Passed);
        assert_eq!(reading.whole, Some(Verdict::Failed));
        assert_eq!(said.len(), 2, "what was skipped is not told: {said:?}");
    }

    #[test]
    fn a_fault_before_any_test_is_the_whole_s() {
        let (reading, _) = read(&[
            "\u{16}=== RUN   TestConformance",
            "\u{f}    conformance.go:50: ",
            "        \tError:      \tReceived unexpected error:",
            "        \t            \tno configuration has been provided",
            "        \tTest:       \tTestConformance",
            "        \tMessages:   \terror loading Kubernetes config\u{e}",
            "\u{16}--- FAIL: TestConformance (0.00s)",
        ]);
        assert!(reading.tests.is_empty());
        assert_eq!(
            reading.whole_fault.as_deref(),
            Some(
                "Received unexpected error: | no configuration has been provided | error loading Kubernetes config"
            )
        );
    }

    #[test]
    fn a_program_that_gives_up_is_noticed() {
        let (reading, _) = read(&["panic: test timed out after 1h0m0s", "panic: again"]);
        assert_eq!(reading.panic.as_deref(), Some("panic: test timed out after 1h0m0s"));
        assert_eq!(reading.whole, None);
    }
}
