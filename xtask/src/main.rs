//! `cargo xtask`: what keeps the house in order, for people and for CI alike.

#[cfg(test)]
mod attacks;
mod check;
mod command;
mod conformance;
mod crds;
mod licences;
mod rig;
mod test;
mod walls;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "What keeps the house in order")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Formatting, lints, docs, walls between crates, licences, generated files.
    Check,
    /// Runs an official conformance suite against a cluster of the rig: `gateway-api --run-test NAME`, `--list`.
    Conformance(conformance::Options),
    /// Writes charts/crds from the types of controlplane/api.
    Crds(crds::Options),
    /// Real Kubernetes clusters on this machine: builds the rig's programs and runs `rig` with these arguments.
    Rig(rig::Options),
    /// The tests of every tier that this machine can run; says at the end which it could not, and why.
    Test(test::Options),
    /// Checks the walls between crates only.
    Walls,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Check => check::run(),
        Task::Conformance(options) => conformance::run(&options),
        Task::Crds(options) => crds::run(&options),
        Task::Rig(options) => rig::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Walls => walls::run(),
    }
}
