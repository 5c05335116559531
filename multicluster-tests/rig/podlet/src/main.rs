//! `podlet --config FILE` runs a node; `podlet shim FOLDER` is called by it, once a container.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use podlet::Config;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(about = "A small kubelet: runs a node's pods with runc in network namespaces.")]
struct Arguments {
    /// The node's configuration, a JSON file.
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Stands between one container and the node (called by podlet itself).
    Shim {
        /// The container's folder.
        folder: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(Command::Shim { folder }) = arguments.command {
        return runtime.block_on(podlet::shim::run::run(&folder));
    }
    let Some(path) = arguments.config else { anyhow::bail!("say which node: podlet --config FILE") };
    let config = Config::load(&path)?;
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&config.log)?)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    // Other providers may be compiled in by what others use; this is the one that counts.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    runtime.block_on(async {
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = async {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        };
        podlet::run(config, shutdown).await
    })
}
