//! An agent of the demo as the story sees it: told what to do, answering.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{ChildStdin, ChildStdout},
    sync::oneshot,
};

use super::process::Process;
use crate::apps::AgentCommand;

/// How long the story waits for an agent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Value>>>>;

/// One agent.
#[derive(Debug)]
pub(crate) struct Agent {
    process: Process,
    input: tokio::sync::Mutex<ChildStdin>,
    waiting: Waiting,
    next: AtomicU64,
}

impl Agent {
    /// Starts the agent's process.
    pub(crate) fn start(folder: &Path, name: &str, arguments: &[String]) -> anyhow::Result<Self> {
        let (process, input, output) = Process::start_spoken(folder, name, arguments)?;
        let waiting = Waiting::default();
        tokio::spawn(listen(output, waiting.clone()));
        Ok(Self { process, input: tokio::sync::Mutex::new(input), waiting, next: AtomicU64::new(1) })
    }

    /// Tells it something and waits for its answer: what came, or why nothing did.
    pub(crate) async fn tell(&self, command: &AgentCommand) -> anyhow::Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        let mut order = serde_json::to_value(command)?;
        order["id"] = id.into();
        self.input.lock().await.write_all(format!("{order}\n").as_bytes()).await?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, receiver).await;
        let answer = answer.with_context(|| format!("{} does not answer", self.process.name()))?;
        let mut answer = answer.with_context(|| format!("{} has ended", self.process.name()))?;
        match answer["error"].as_str() {
            Some(error) => Err(anyhow!("{error}")),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Its process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

async fn listen(output: ChildStdout, waiting: Waiting) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(answer) = serde_json::from_str::<Value>(&line) else { continue };
        let Some(id) = answer["id"].as_u64() else { continue };
        if let Some(sender) = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            // Whoever asked may have given up waiting.
            let _ = sender.send(answer);
        }
    }
    // The agent has ended: nobody who waits will get an answer.
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
