//! What is done to, and with, a rig that is up.

use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use rig_network::wan::Shape;

use super::arguments::{Between, Exec, Forward, Kubectl, Logs, Name, Wan};
use crate::{Rig, state::Home};

/// How often a log that is followed is looked at.
const FOLLOW_PERIOD: Duration = Duration::from_millis(100);
/// How many bytes of a log are written at a time.
const LOG_CHUNK_BYTES: usize = 64 * 1024;

pub(super) async fn exec(id: &str, asked: &Exec) -> anyhow::Result<ExitCode> {
    let rig = Rig::attach(id).await?;
    let [program, arguments @ ..] = asked.command.as_slice() else { bail!("say what to run") };
    let mut command = match asked.place.split_once(':') {
        Some((cluster, pod)) => in_pod(&rig, cluster, pod, &asked.command)?,
        None => {
            let mut command = rig.command_in(&asked.place, program)?;
            command.args(arguments);
            command
        }
    };
    become_it(&mut command)
}

fn in_pod(rig: &Rig, cluster: &str, pod: &str, words: &[String]) -> anyhow::Result<Command> {
    let number = cluster.strip_prefix('c').and_then(|number| number.parse().ok());
    let found = rig.clusters().iter().find(|one| Some(one.number()) == number);
    let cluster = found.with_context(|| format!("the rig has no cluster {cluster}"))?;
    let (namespace, pod) = pod.split_once('/').unwrap_or(("default", pod));
    let mut all = vec!["-n", namespace, "exec", pod, "--"];
    all.extend(words.iter().map(String::as_str));
    Ok(cluster.kubectl_command(&all).into_std())
}

pub(super) async fn kubectl(id: &str, asked: &Kubectl) -> anyhow::Result<ExitCode> {
    let rig = Rig::attach(id).await?;
    let found = rig.clusters().iter().find(|cluster| cluster.number() == asked.cluster);
    let cluster = found.with_context(|| format!("the rig {id} has no cluster c{}", asked.cluster))?;
    become_it(&mut cluster.kubectl_command(&asked.arguments).into_std())
}

pub(super) fn logs(id: &str, asked: &Logs) -> anyhow::Result<ExitCode> {
    let home = Home::of(id);
    home.read()?;
    let processes = home.processes();
    let Some(name) = &asked.name else {
        for process in processes.list() {
            println!("{}", process.launch.name);
        }
        return Ok(ExitCode::SUCCESS);
    };
    processes.get(name)?;
    let path = processes.log(name);
    let mut file = std::fs::File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if let Some(lines) = asked.tail {
        println!("{}", processes.tail(name, lines));
        file.seek(SeekFrom::End(0))?;
    }
    let mut chunk = vec![0; LOG_CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        if count > 0 {
            // A reader that went away, as `head`, has seen enough.
            if io::stdout().write_all(&chunk[..count]).and_then(|()| io::stdout().flush()).is_err() {
                return Ok(ExitCode::SUCCESS);
            }
        } else if asked.follow {
            thread::sleep(FOLLOW_PERIOD);
        } else {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

pub(super) async fn wan(id: &str, asked: &Wan) -> anyhow::Result<()> {
    let shape = Shape {
        delay: asked.delay,
        jitter: asked.jitter,
        loss: asked.loss,
        rate: asked.rate,
        ..Shape::default()
    };
    set(id, &asked.between, &shape).await
}

pub(super) async fn partition(id: &str, asked: &Between) -> anyhow::Result<()> {
    set(id, asked, &Shape { partition: true, ..Shape::default() }).await
}

pub(super) async fn heal(id: &str, asked: &Between) -> anyhow::Result<()> {
    set(id, asked, &Shape::default()).await
}

async fn set(id: &str, between: &Between, shape: &Shape) -> anyhow::Result<()> {
    let rig = Rig::attach(id).await?;
    match between.one_way {
        true => rig.wan(between.from, between.to, shape)?,
        false => rig.wan_both(between.from, between.to, shape)?,
    }
    let arrow = if between.one_way { "→" } else { "↔" };
    println!("c{} {arrow} c{}: {shape:?}", between.from, between.to);
    Ok(())
}

pub(super) async fn kill(id: &str, asked: &Name) -> anyhow::Result<()> {
    Rig::attach(id).await?.kill(&asked.name)?;
    println!("{} has ended; start it again with: cargo xtask rig restart {}", asked.name, asked.name);
    Ok(())
}

pub(super) async fn restart(id: &str, asked: &Name) -> anyhow::Result<()> {
    Rig::attach(id).await?.restart(&asked.name)?;
    println!("{} runs again", asked.name);
    Ok(())
}

pub(super) async fn forward(asked: &Forward) -> anyhow::Result<()> {
    rig_network::forward::serve(asked.port, &asked.namespace, asked.to).await?;
    Ok(())
}

pub(super) async fn wan_serve(id: &str) -> anyhow::Result<()> {
    let record = Home::of(id).read()?;
    let plan = rig_network::Plan::new(id, record.clusters, record.nodes, record.reach)?;
    rig_network::wan::serve(&plan).await.context("the WAN is closed")
}

/// Becomes the command, so that signals, terminal and exit code are its own.
fn become_it(command: &mut Command) -> anyhow::Result<ExitCode> {
    let program = command.get_program().to_owned();
    Err(command.exec()).with_context(|| format!("cannot start {}", program.display()))
}
