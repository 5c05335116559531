//! What can be typed after `strait mcp`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::At;

/// What is done with the tools of MCP servers.
#[derive(Debug, Subcommand)]
pub(crate) enum Mcp {
    /// Approves tools as they are now: writes their digests into a ToolCatalog.
    #[command(after_help = "Examples:\n  strait mcp pin -n shop toolbox > catalogue.yaml\n  \
                            strait mcp pin -n shop toolbox --tool docs_search --file west/policies.yaml")]
    Pin(Pin),
    /// Shows which tools are held back or changed since they were approved.
    #[command(after_help = "Example:\n  strait mcp diff -n shop toolbox")]
    Diff(Which),
}

/// Which tools.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The namespace.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
    /// The AgentBackend.
    pub(crate) backend: String,
    /// Only this tool, by the name that callers see.
    #[arg(long)]
    pub(crate) tool: Option<String>,
    #[command(flatten)]
    pub(crate) at: At,
}

/// What is pinned, and where.
#[derive(Debug, Args)]
pub(crate) struct Pin {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The file whose ToolCatalog is changed, or to which one is added; without it the ToolCatalog is printed.
    #[arg(long, short)]
    pub(crate) file: Option<PathBuf>,
}
