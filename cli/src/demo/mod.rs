//! `strait demo`: two clusters on loopback, each program and application a process of its own, and a story.
//!
//! The demo has no short cuts: it starts the programs as a user would, edits files as a user would, and reads
//! what the admin pages say. `stage` builds it up, `story` tells, one file a step.

mod agent;
mod applications;
mod cluster;
mod command;
mod connections;
mod narrate;
mod people;
mod process;
mod relay;
mod secrets;
mod stage;
mod story;
mod visitor;

use anyhow::bail;

use crate::args::{Demo, StoryForm};
use narrate::Listener;
use stage::Stage;

/// Runs the demo.
pub(crate) async fn run(arguments: &Demo) -> anyhow::Result<()> {
    let listener = match arguments.output {
        StoryForm::Text => Listener::Person,
        StoryForm::Json => Listener::Program,
    };
    let temporary;
    let folder = match &arguments.state {
        Some(folder) => folder.clone(),
        None => {
            temporary = stage::Folder::new()?;
            temporary.path().to_owned()
        }
    };
    let mut stage = tokio::select! {
        stage = Stage::build(&folder, listener) => stage?,
        _ = tokio::signal::ctrl_c() => bail!("stopped before everything was up"),
    };
    let held = tokio::select! {
        held = story::tell(&mut stage, listener) => held,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("stopped in the middle of the story")),
    };
    if held.is_ok() && !arguments.exit {
        stage.say_what_to_try_next();
        tokio::signal::ctrl_c().await?;
    }
    stage.end().await;
    match held? {
        0 => Ok(()),
        failed => bail!("{failed} of the steps did not hold"),
    }
}
