//! What a person is told while a rig comes up.

use std::time::Instant;

/// Where progress goes.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    begin: Option<Instant>,
}

impl Progress {
    /// Nothing is said.
    pub fn silent() -> Self {
        Self { begin: None }
    }

    /// Lines on standard error, each with the seconds since now.
    pub fn spoken() -> Self {
        Self { begin: Some(Instant::now()) }
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        if let Some(begin) = self.begin {
            eprintln!("{:6.1} s  {line}", begin.elapsed().as_secs_f32());
        }
    }
}
