//! The applications of the demo: which run in which cluster, and how each is started.

use std::{
    fs,
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use super::{
    agent::Agent,
    cluster::{Cluster, wait_for},
    process::Process,
    story::TOOLS,
};

/// The MCP servers of the toolbox, each with one tool.
const TOOLBOX: [(&str, &str); 3] = [("finder", "search"), ("reader", "read_file"), ("writer", "write_file")];
/// The mock model servers.
const MODELS: [&str; 2] = ["model-one", "model-two"];

/// Where the MCP server listens, behind a wiretap.
pub(super) fn tools_socket(west: &Cluster) -> PathBuf {
    west.folder.join("tools-app.sock")
}

/// Starts every server, and waits until it listens.
pub(super) async fn start(east: &Cluster, west: &Cluster, model_key: &str) -> anyhow::Result<Vec<Process>> {
    let mut servers = vec![server(west, "tools", &tools_socket(west), &["tools"])?];
    for (cluster, name) in [(east, "web-v1"), (east, "web-v2"), (east, "echo-east"), (west, "echo-west")] {
        servers.push(server(cluster, name, &socket(cluster, name), &["web", "--name", name])?);
    }
    for name in ["researcher-v1", "researcher-v2"] {
        servers.push(server(west, name, &socket(west, name), &["researcher", "--name", name])?);
    }
    for (name, tool) in TOOLBOX {
        let described = east.folder.join(format!("{name}.txt"));
        fs::write(&described, format!("The tool {tool} of {name}."))?;
        let offer = ["tools", "--only", tool, "--described-in", &text(&described)];
        servers.push(server(east, name, &socket(east, name), &offer)?);
    }
    let key_file = west.folder.join("model.key");
    fs::write(&key_file, model_key)?;
    for name in MODELS {
        let arguments = ["model", "--name", name, "--key-file", &text(&key_file)];
        servers.push(server(west, name, &socket(west, name), &arguments)?);
    }
    let mut listening = Vec::new();
    for (mut process, socket) in servers {
        wait_for(&mut process, || UnixStream::connect(&socket).is_ok()).await?;
        listening.push(process);
    }
    Ok(listening)
}

/// Starts an agent of east, whose address ends in `fourth`, and waits until its door is open.
pub(super) async fn agent(east: &Cluster, name: &str, fourth: u8) -> anyhow::Result<Agent> {
    let proxy = SocketAddr::new(east.plan.ip(1, fourth), 15080).to_string();
    let token = text(&east.state().join(format!("tokens/workload-agents-{name}")));
    let socket = socket(east, name);
    let door = format!("unix:{}", text(&socket));
    let arguments = ["run", "app", "agent", "--proxy", &proxy, "--token-file", &token];
    let behind = ["--listen", &door, "--name", name, "--tools", TOOLS];
    let arguments: Vec<String> = arguments.iter().chain(&behind).map(|&it| it.to_owned()).collect();
    let mut agent = Agent::start(&east.folder, name, &arguments)?;
    wait_for(agent.process(), || UnixStream::connect(&socket).is_ok()).await?;
    Ok(agent)
}

fn server(
    cluster: &Cluster,
    name: &str,
    socket: &Path,
    arguments: &[&str],
) -> anyhow::Result<(Process, PathBuf)> {
    let listen = format!("unix:{}", text(socket));
    let arguments = [&["run", "app"], arguments, &["--listen", &listen]].concat();
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    Ok((Process::start(&cluster.folder, name, &arguments)?, socket.to_owned()))
}

fn socket(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.folder.join(format!("{name}.sock"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
