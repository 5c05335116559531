//! What the one task that owns the World is told by people.

use std::sync::Arc;

use api::Admitted;
use mesh::Identity;
use tokio::sync::{mpsc, oneshot};
use translate::Since;

use crate::{
    questions::Published,
    root::{Asked, Status},
    watch::{Compiler, documents},
};

/// Commands that wait; a further one is refused.
const WAITING_MAX: usize = 16;

/// One command, and where its answer goes.
pub(crate) enum Command {
    /// What would be published if these objects were applied as well?
    Draft(Vec<Admitted>, oneshot::Sender<Published>),
    /// An identity must stop now.
    Revoke(Identity, Since, oneshot::Sender<()>),
    /// The root rotates, or how far is it?
    Root(Asked, oneshot::Sender<Result<Status, String>>),
}

/// Gives commands. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Commands(mpsc::Sender<Command>);

impl Commands {
    /// Both ends.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// What would be published if these objects were applied as well.
    ///
    /// # Errors
    /// A text for people.
    pub(crate) async fn draft(&self, objects: Vec<Admitted>) -> Result<Published, String> {
        self.give(|reply| Command::Draft(objects, reply)).await
    }

    /// Revokes an identity. When this returns, it is remembered and published.
    ///
    /// # Errors
    /// A text for people.
    pub(crate) async fn revoke(&self, identity: Identity, since: Since) -> Result<(), String> {
        self.give(|reply| Command::Revoke(identity, since, reply)).await
    }

    /// Asks how far the root's rotation is, or takes a step of it. When this returns, the step is remembered and told.
    ///
    /// # Errors
    /// A text for people: who is not ready for the step.
    pub(crate) async fn root(&self, asked: Asked) -> Result<Status, String> {
        self.give(|reply| Command::Root(asked, reply)).await?
    }

    async fn give<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, String> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(command(reply)).map_err(|_| "the control plane is busy: try again".to_owned())?;
        answer.await.map_err(|_| "the control plane is stopping".to_owned())
    }
}

/// Reads objects that are to be tried.
///
/// # Errors
/// What is wrong with the first that cannot be admitted.
pub(crate) fn read(text: &str, compiler: &Compiler) -> Result<Vec<Admitted>, String> {
    let compile = |text: &str| compiler(text);
    let written = documents::read("FILE", text, &compile);
    if written.is_empty() {
        return Err("the file has no object".to_owned());
    }
    let admitted = written.into_iter().map(|one| match one {
        documents::Written::Good { object, .. } => Ok(Admitted::Accepted { object: Arc::clone(&object) }),
        documents::Written::Bad { refused, .. } => Err(refused.rejection.to_string()),
    });
    admitted.collect()
}
