//! The command line.

mod act;
mod arguments;
mod conformance;
mod status;
mod up;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use self::arguments::{Arguments, Task};
use crate::{balancer, guard};

/// Reads the command line, does what it says, and returns the code to exit with.
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rig: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let id = arguments.id;
    match arguments.task {
        Task::Up(options) => runtime()?.block_on(up::up(&id, &options))?,
        Task::Down(options) => up::down(&id, &options)?,
        Task::Status(options) => runtime()?.block_on(status::status(&id, &options))?,
        Task::Exec(options) => return runtime()?.block_on(act::exec(&id, &options)),
        Task::Kubectl(options) => return runtime()?.block_on(act::kubectl(&id, &options)),
        Task::Logs(options) => return act::logs(&id, &options),
        Task::Wan(options) => runtime()?.block_on(act::wan(&id, &options))?,
        Task::Partition(options) => runtime()?.block_on(act::partition(&id, &options))?,
        Task::Heal(options) => runtime()?.block_on(act::heal(&id, &options))?,
        Task::Kill(options) => runtime()?.block_on(act::kill(&id, &options))?,
        Task::Restart(options) => runtime()?.block_on(act::restart(&id, &options))?,
        Task::Conformance(options) => return Ok(runtime()?.block_on(conformance::conformance(&id, &options))),
        Task::Balancer(options) => {
            runtime()?.block_on(balancer::run(&options.kubeconfig, options.first, options.last))?;
        }
        Task::Guard => guard::run(&id)?,
        Task::Forward(options) => runtime()?.block_on(act::forward(&options))?,
        Task::WanServe => runtime()?.block_on(act::wan_serve(&id))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}
