//! The reading side.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mesh::names::Version;
use proto::strait::v1::{ExportsRequest, ExportsResponse, federation_client::FederationClient};
use runtime::Backoff;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

use super::{EXPORT_BYTES_MAX, EXPORT_NAME_BYTES_MAX, EXPORTS_MAX, Exported};

/// Most bytes of one response.
const RESPONSE_BYTES_MAX: usize = 32 << 20;
/// Longest wait for a server to accept a stream.
const ACCEPT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Requests on their way: the first one and one acknowledgement, as one push is in flight at a time.
const SENDING_MAX: usize = 4;

/// Is told what another cluster exports.
pub trait ImportReceiver: Send + 'static {
    /// Everything that is exported now, and the names of what changed since the last time. What comes from another
    /// cluster is checked here: namespaces, trust domains, names.
    fn imported(&mut self, all: &BTreeMap<String, Exported>, changed: &BTreeSet<String>);

    /// The stream is up, or not, and why. What was imported stays.
    fn connected(&mut self, up: Result<(), String>);
}

/// What a reader must be told.
#[derive(Debug, Clone, Copy)]
pub struct ImportsConfig {
    /// Waits between streams.
    pub backoff: runtime::backoff::Config,
    /// Any random number.
    pub chance: fn() -> u64,
}

/// A reader of one link, to be run.
pub struct Imports {
    config: ImportsConfig,
    channel: Channel,
    receiver: Box<dyn ImportReceiver>,
    held: Held,
}

impl Imports {
    /// A reader over a channel that connects by itself, and only to the control plane that the link names.
    pub fn new(config: ImportsConfig, channel: Channel, receiver: Box<dyn ImportReceiver>) -> Self {
        Self { config, channel, receiver, held: Held::default() }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.backoff);
        loop {
            let ended = match self.stream(&mut backoff).await {
                Ok(()) => "the other control plane ended the stream".to_owned(),
                Err(status) => status.to_string(),
            };
            self.receiver.connected(Err(ended));
            sleep(backoff.failed((self.config.chance)())).await;
        }
    }

    async fn stream(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let (requests, sending) = mpsc::channel(SENDING_MAX);
        let send = |request| {
            requests.try_send(request).map_err(|_| Status::aborted("pushes without acknowledgement"))
        };
        send(ExportsRequest { held: self.held.versions(), acknowledged: 0 })?;
        let mut client =
            FederationClient::new(self.channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX);
        let answer = timeout(ACCEPT_WAIT_MAX, client.exports(ReceiverStream::new(sending))).await;
        let answer =
            answer.map_err(|_| Status::deadline_exceeded("the other control plane did not answer"))??;
        let mut responses = answer.into_inner();
        let mut draft = Draft::default();
        while let Some(response) = responses.message().await? {
            let push = response.push;
            if draft.take(response)? {
                let first = !self.held.told;
                let changed = self.held.apply(std::mem::take(&mut draft));
                if first || !changed.is_empty() {
                    self.receiver.imported(&self.held.exports, &changed);
                }
                self.receiver.connected(Ok(()));
                backoff.succeeded();
                send(ExportsRequest { acknowledged: push, ..ExportsRequest::default() })?;
            }
        }
        Ok(())
    }
}

/// What is held of the other cluster.
#[derive(Debug, Default)]
struct Held {
    told: bool,
    versions: BTreeMap<String, Version>,
    exports: BTreeMap<String, Exported>,
}

/// A push while it arrives.
#[derive(Debug, Default)]
struct Draft {
    changes: BTreeMap<String, Option<(Version, Exported)>>,
}

impl Draft {
    /// Takes a response; true if it is the last of its push.
    fn take(&mut self, response: ExportsResponse) -> Result<bool, Status> {
        for export in response.exports {
            match read(&export.name, &export.json) {
                Ok(exported) => {
                    self.changes.insert(export.name, Some((export.version.into(), exported)));
                }
                // It stays as it was: the version held is presented again, and the new one comes again.
                Err(reason) => tracing::warn!(name = export.name, reason, "an export was not understood"),
            }
        }
        self.changes.extend(response.removed.into_iter().map(|name| (name, None)));
        if self.changes.len() > EXPORTS_MAX {
            return Err(Status::resource_exhausted(format!("more than {EXPORTS_MAX} exports")));
        }
        Ok(response.checkpoint)
    }
}

impl Held {
    fn versions(&self) -> BTreeMap<String, String> {
        self.versions.iter().map(|(name, version)| (name.clone(), version.to_string())).collect()
    }

    fn apply(&mut self, draft: Draft) -> BTreeSet<String> {
        self.told = true;
        let mut changed = BTreeSet::new();
        for (name, change) in draft.changes {
            match change {
                Some(_) if self.exports.len() >= EXPORTS_MAX && !self.exports.contains_key(&name) => {
                    tracing::warn!(name, "{EXPORTS_MAX} exports are the most");
                    continue;
                }
                Some((version, exported)) => {
                    self.versions.insert(name.clone(), version);
                    self.exports.insert(name.clone(), exported);
                }
                None => {
                    self.versions.remove(&name);
                    self.exports.remove(&name);
                }
            }
            changed.insert(name);
        }
        changed
    }
}

fn read(name: &str, json: &[u8]) -> Result<Exported, String> {
    if json.len() > EXPORT_BYTES_MAX || name.len() > EXPORT_NAME_BYTES_MAX {
        return Err("it is too large".to_owned());
    }
    let exported: Exported = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let own = exported.name();
    if own == name { Ok(exported) } else { Err(format!("it names itself {own}")) }
}
