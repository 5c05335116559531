//! What came out of a run, for people and for programs.

use std::{fmt, os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use rig_programs::GATEWAY_API_VERSION;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    listing::Listed,
    reading::{Reading, WHOLE},
};

/// How one test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should.
    Passed,
    /// The implementation does not do what the test asks.
    Failed,
    /// It was not run: the implementation does not claim the feature, or another test was asked for.
    Skipped,
}

impl Verdict {
    pub(super) const ALL: [Self; 3] = [Self::Passed, Self::Failed, Self::Skipped];

    /// As test programs write it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Passed => "PASS",
            Self::Failed => "FAIL",
            Self::Skipped => "SKIP",
        }
    }
}

/// One test that ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub seconds: f64,
    /// The parts of it that failed.
    pub failed_parts: Vec<String>,
    /// The first fault it reported.
    pub reason: Option<String>,
}

impl fmt::Display for Tested {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} ({:.1} s)", self.verdict.word(), self.name, self.seconds)?;
        if !self.failed_parts.is_empty() {
            write!(out, " in {}", self.failed_parts.join(", "))?;
        }
        self.reason.iter().try_for_each(|reason| write!(out, "\n     {reason}"))
    }
}

/// How the whole ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Every test that was run passed.
    Passed,
    /// Tests failed: a verdict on the implementation.
    Failed,
    /// The suite did not begin its tests, because the implementation is not there or not ready: a verdict, too.
    NotBegun(String),
    /// The suite could not do its work: the rig's fault, or that of whoever asked.
    Broken(String),
}

/// What came out of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The tests that ended, in the suite's order.
    pub tests: Vec<Tested>,
    listed: Vec<Listed>,
    elapsed: Duration,
}

/// What the suite says when the cluster, not the implementation, is at fault.
const FAULTS_OF_RIG: [&str; 12] = [
    "error loading Kubernetes config",
    "error initializing Kubernetes client",
    "connection refused",
    "no route to host",
    "network is unreachable",
    "i/o timeout",
    "certificate signed by unknown authority",
    "Unauthorized",
    "forbidden",
    "no Gateway API CRDs",
    "Gateway API CRDs versions",
    "installed CRDs version",
];

impl Outcome {
    pub(super) fn of(
        listed: Vec<Listed>,
        mut reading: Reading,
        status: Option<ExitStatus>,
        elapsed: Duration,
    ) -> Self {
        let mut tests = Vec::new();
        for test in &listed {
            tests.extend(reading.tests.remove(&test.name));
        }
        let end = end(&reading, &tests, status);
        Self { end, tests, listed, elapsed }
    }

    /// The code to exit with: 0 when all passed, 1 for a verdict against the implementation, 2 for a fault of the
    /// rig.
    pub fn code(&self) -> u8 {
        match self.end {
            End::Passed => 0,
            End::Failed | End::NotBegun(_) => 1,
            End::Broken(_) => 2,
        }
    }

    /// How many tests ended so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.tests.iter().filter(|test| test.verdict == verdict).count()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let (end, reason) = match &self.end {
            End::Passed => ("passed", None),
            End::Failed => ("failed", None),
            End::NotBegun(reason) => ("notBegun", Some(reason)),
            End::Broken(reason) => ("broken", Some(reason)),
        };
        let profiles: Vec<Value> = self
            .profiles()
            .into_iter()
            .map(|(name, [core, extended])| {
                json!({
                    "name": name,
                    "core": {"passed": core.0, "total": core.1},
                    "extended": {"passed": extended.0, "total": extended.1},
                })
            })
            .collect();
        json!({
            "suite": "gateway-api",
            "version": GATEWAY_API_VERSION,
            "end": end,
            "reason": reason,
            "seconds": self.elapsed.as_secs_f64(),
            "listed": self.listed.len(),
            "passed": self.count(Verdict::Passed),
            "failed": self.count(Verdict::Failed),
            "skipped": self.count(Verdict::Skipped),
            "profiles": profiles,
            "tests": self.tests,
        })
    }

    /// Of each profile: passed and all, of its core tests and of its extended ones.
    fn profiles(&self) -> Vec<(String, [(usize, usize); 2])> {
        let mut profiles: std::collections::BTreeMap<String, [(usize, usize); 2]> = Default::default();
        for listed in &self.listed {
            let passed =
                self.tests.iter().any(|test| test.name == listed.name && test.verdict == Verdict::Passed);
            for (profile, kind) in &listed.profiles {
                let counts = &mut profiles.entry(profile.clone()).or_default()[usize::from(kind != "core")];
                counts.0 += usize::from(passed);
                counts.1 += 1;
            }
        }
        profiles.into_iter().collect()
    }
}

fn end(reading: &Reading, tests: &[Tested], status: Option<ExitStatus>) -> End {
    let Some(status) = status else {
        return End::Broken("the suite did not end in time".to_owned());
    };
    if let Some(signal) = status.signal() {
        return End::Broken(format!("the suite was ended by signal {signal}"));
    }
    if let Some(panic) = &reading.panic {
        return End::Broken(panic.clone());
    }
    let Some(whole) = reading.whole else {
        return End::Broken(format!("the suite ended with code {:?} and without a verdict", status.code()));
    };
    let begun = tests.iter().any(|test| test.verdict != Verdict::Skipped);
    match (whole, begun, status.success()) {
        (Verdict::Failed, true, false) => End::Failed,
        (Verdict::Failed, false, false) => {
            let reason = reading.whole_fault.clone().unwrap_or_else(|| "it does not say why".to_owned());
            let of_rig = FAULTS_OF_RIG.iter().any(|words| reason.contains(words));
            if of_rig { End::Broken(reason) } else { End::NotBegun(reason) }
        }
        (_, true, true) => End::Passed,
        (_, false, true) => End::NotBegun("every test was skipped: no feature of any is claimed".to_owned()),
        (_, _, false) => {
            End::Broken(format!("{WHOLE} passed, and the suite ended with code {:?}", status.code()))
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "Gateway API {GATEWAY_API_VERSION}: {} tests, {} passed, {} failed, {} skipped ({:.1} s)",
            self.listed.len(),
            self.count(Verdict::Passed),
            self.count(Verdict::Failed),
            self.count(Verdict::Skipped),
            self.elapsed.as_secs_f32(),
        )?;
        for (name, [core, extended]) in self.profiles() {
            writeln!(
                out,
                "  {name:<13} core {:>2} of {:>2}, extended {:>2} of {:>2}",
                core.0, core.1, extended.0, extended.1
            )?;
        }
        for test in self.tests.iter().filter(|test| test.verdict == Verdict::Failed) {
            writeln!(out, "{test}")?;
        }
        match &self.end {
            End::Passed => writeln!(out, "All that was run passed."),
            End::Failed => writeln!(out, "The suite's verdict: tests failed."),
            End::NotBegun(reason) => writeln!(
                out,
                "The suite's verdict: it did not begin, since the implementation is not there or not ready.\n     {reason}"
            ),
            End::Broken(reason) => {
                writeln!(
                    out,
                    "The suite could not do its work; this is no verdict on the implementation.\n     {reason}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, profile: &str, kind: &str) -> Listed {
        Listed {
            name: name.into(),
            features: Vec::new(),
            parallel: false,
            provisional: false,
            profiles: [(profile.to_owned(), kind.to_owned())].into(),
        }
    }

    fn of(lines: &[&str], code: i32) -> Outcome {
        let mut reading = Reading::default();
        for line in lines {
            reading.line(line);
        }
        let all = vec![listed("A", "MESH-HTTP", "core"), listed("B", "MESH-HTTP", "extended")];
        Outcome::of(all, reading, Some(ExitStatus::from_raw(code << 8)), Duration::from_secs(1))
    }

    const RUN: &str = "\u{16}=== RUN   TestConformance";
    const FAILED: &str = "\u{16}--- FAIL: TestConformance (0.00s)";

    #[test]
    fn a_verdict_is_told_from_a_fault_of_the_rig() {
        let fault = |text: &str| format!("\u{f}    {text}\u{e}");
        let with = |text: &str| of(&[RUN, &fault(text), FAILED], 1);
        let missing = with("cannot infer supported features: gatewayclasses \"strait\" not found");
        assert!(
            matches!(&missing.end, End::NotBegun(reason) if reason.contains("not found")),
            "{:?}",
            missing.end
        );
        assert_eq!(missing.code(), 1);
        let unreachable = with("dial tcp 10.51.0.2:6443: connect: connection refused");
        assert!(matches!(unreachable.end, End::Broken(_)));
        assert_eq!(unreachable.code(), 2);
        assert!(matches!(of(&[RUN, "panic: test timed out after 1h"], 2).end, End::Broken(_)));
        assert!(matches!(of(&["flag provided but not defined: -x"], 2).end, End::Broken(_)));
        let mut killed = of(&[RUN], 0);
        killed.end = end(&Reading::default(), &[], Some(ExitStatus::from_raw(9)));
        assert!(matches!(killed.end, End::Broken(reason) if reason.contains("signal 9")));
        // What a gateway does not answer is a verdict on the gateway.
        let test = [RUN, "\u{16}=== RUN   TestConformance/A", "\u{f}connection refused\u{e}"];
        let failed = of(&[&test[..], &["\u{16}--- FAIL: TestConformance/A (1.00s)", FAILED]].concat(), 1);
        assert_eq!(failed.end, End::Failed);
    }

    #[test]
    fn tests_are_counted_by_profile() {
        let lines = [
            RUN,
            "\u{16}--- PASS: TestConformance/A (0.10s)",
            "\u{16}--- SKIP: TestConformance/B (0.00s)",
            "\u{16}--- PASS: TestConformance (0.10s)",
        ];
        let outcome = of(&lines, 0);
        assert_eq!((outcome.end.clone(), outcome.code()), (End::Passed, 0));
        let json = outcome.json();
        assert_eq!(json["profiles"][0]["core"], json!({"passed": 1, "total": 1}));
        assert_eq!(json["profiles"][0]["extended"], json!({"passed": 0, "total": 1}));
        assert_eq!((&json["listed"], &json["skipped"]), (&json!(2), &json!(1)));
        let text = outcome.to_string();
        assert!(text.contains("MESH-HTTP     core  1 of  1, extended  0 of  1"), "{text}");
    }
}
