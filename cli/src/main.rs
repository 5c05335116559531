//! The strait command: demo, up, check, get, explain, and every program in one binary.

mod apps;
mod args;
mod client;
mod commands;
mod demo;
mod link;
mod output;
mod settings;
mod standalone;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Arguments, Verb};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread: a connection, its tunnel and its relay stay together, and what became ready is written once.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("strait: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(perform(arguments.verb)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("strait: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn perform(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Demo(arguments) => demo::run(&arguments).await?,
        Verb::Get(arguments) => commands::get::run(&arguments).await?,
        Verb::Explain(arguments) => commands::explain::run(&arguments).await?,
        Verb::Can(arguments) => return commands::can::can(&arguments).await,
        Verb::WhoCan(arguments) => commands::can::who_can(&arguments).await?,
        Verb::Reach(arguments) => commands::can::reach(&arguments).await?,
        Verb::Denied(arguments) => commands::denied::run(&arguments).await?,
        Verb::Audit(arguments) => commands::audit::audit(&arguments).await?,
        Verb::Try(arguments) => commands::audit::attempt(&arguments).await?,
        Verb::Trace(arguments) => commands::trace::run(&arguments).await?,
        Verb::Mcp(arguments) => commands::mcp::run(&arguments).await?,
        Verb::Revoke(arguments) => commands::revoke::run(&arguments).await?,
        Verb::Root(arguments) => commands::root::run(&arguments).await?,
        Verb::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "strait", &mut std::io::stdout());
        }
        Verb::Run(program) => commands::run::run(program).await?,
        Verb::Link(arguments) => commands::link::run(&arguments).await?,
        Verb::Proxy(arguments) => commands::proxy::run(&arguments).await?,
        Verb::Token(arguments) => commands::token::run(&arguments)?,
        Verb::Up(arguments) => standalone::run(arguments).await?,
        Verb::Check(arguments) => return commands::check::run(&arguments).await,
    }
    Ok(ExitCode::SUCCESS)
}
