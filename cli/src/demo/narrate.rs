//! Tells the story: each step as a person would want to read it, or as one JSON object.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

/// What became of one step.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Told {
    /// The step's number in the story.
    pub(crate) step: u32,
    /// Whether it held.
    pub(crate) ok: bool,
    /// What was tried and what happened.
    pub(crate) what: String,
    /// Why it happened.
    pub(crate) why: String,
}

/// Who listens to the story.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listener {
    /// A person.
    Person,
    /// A program: one JSON object a line on standard output, progress on standard error.
    Program,
}

impl Listener {
    /// Says what is going on while one waits.
    pub(crate) fn progress(self, text: &str) {
        eprintln!("   … {text}");
    }

    /// Announces a step, to a person.
    pub(crate) fn begin(self, step: u32, title: &str) {
        if matches!(self, Self::Person) {
            println!("\n{}", bold(&format!("{step}. {title}")));
        }
    }

    /// Tells how a step went.
    pub(crate) fn tell(self, told: &Told) {
        match self {
            Self::Program => {
                let line = serde_json::to_string(told).unwrap_or_else(|_| String::from("{}"));
                println!("{line}");
            }
            Self::Person => {
                for line in told.what.lines() {
                    println!("   {line}");
                }
                let mark = if told.ok { "ok" } else { "FAILED" };
                println!("   {}: {}", bold(mark), told.why);
            }
        }
        // A listener that has gone away does not stop the story.
        let _ = std::io::stdout().flush();
    }
}

fn bold(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}
