//! The exporting side.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use mesh::{Identity, TrustDomain, names::Version};
use parking_lot::Mutex;
use proto::strait::v1::{
    Export, ExportsRequest, ExportsResponse,
    federation_server::{Federation, FederationServer},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::{EXPORT_BYTES_MAX, EXPORTS_MAX, Exported};
use crate::encode::version;

/// Exports of one response; a push goes on in another.
const RESPONSE_EXPORTS: usize = 256;
/// Most bytes of one request: versions of everything that a reader holds.
const REQUEST_BYTES_MAX: usize = 8 << 20;

/// Who is at the other end of the connection, as its certificate proves. The program puts it into the extensions
/// of each request (as tonic's connection info).
#[derive(Debug, Clone)]
pub struct Peer(pub Option<Identity>);

/// Says which link a control plane belongs to.
pub trait Links: Send + Sync + 'static {
    /// The trust domain for which this identity may read exports, if there is a link to it.
    fn reader(&self, peer: &Identity) -> Option<TrustDomain>;
}

/// What is exported, by the trust domain that may read it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Exports {
    tables: Arc<Mutex<HashMap<TrustDomain, watch::Sender<Arc<ExportTable>>>>>,
}

type ExportTable = BTreeMap<String, (Version, Bytes)>;

impl Exports {
    /// Nothing yet. Readers wait until there was an update for them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that is exported to a trust domain now. What cannot be sent is named, by the export's name.
    pub fn update(
        &self,
        reader: &TrustDomain,
        exported: impl IntoIterator<Item = Exported>,
    ) -> Vec<(String, String)> {
        let mut refused = Vec::new();
        let mut table = ExportTable::new();
        for export in exported {
            let name = export.name();
            match serde_json::to_vec(&export) {
                Ok(json) if json.len() > EXPORT_BYTES_MAX => {
                    refused.push((
                        name,
                        format!("it has {} bytes, {EXPORT_BYTES_MAX} are the most", json.len()),
                    ));
                }
                Ok(_) if table.len() >= EXPORTS_MAX => {
                    refused.push((name, format!("{EXPORTS_MAX} exports are the most")));
                }
                Ok(json) => drop(table.insert(name, (version(&json), json.into()))),
                Err(error) => refused.push((name, error.to_string())),
            }
        }
        let table = Arc::new(table);
        let mut tables = self.tables.lock();
        match tables.get(reader) {
            Some(sender) => drop(sender.send_if_modified(|held| {
                let changed = *held != table;
                *held = table;
                changed
            })),
            None => drop(tables.insert(reader.clone(), watch::Sender::new(table))),
        }
        refused
    }

    /// Ends the streams of a trust domain: its link is gone.
    pub fn forget(&self, reader: &TrustDomain) {
        self.tables.lock().remove(reader);
    }

    /// The service, to be added to a tonic router.
    pub fn service(&self, links: Arc<dyn Links>) -> FederationServer<FederationService> {
        FederationServer::new(FederationService { exports: self.clone(), links })
            .max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    fn follow(&self, reader: &TrustDomain) -> Option<watch::Receiver<Arc<ExportTable>>> {
        self.tables.lock().get(reader).map(watch::Sender::subscribe)
    }
}

/// Serves exports to the control planes of linked clusters.
pub struct FederationService {
    exports: Exports,
    links: Arc<dyn Links>,
}

#[tonic::async_trait]
impl Federation for FederationService {
    type ExportsStream = Pin<Box<dyn Stream<Item = Result<ExportsResponse, Status>> + Send>>;

    async fn exports(
        &self,
        request: Request<Streaming<ExportsRequest>>,
    ) -> Result<Response<Self::ExportsStream>, Status> {
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0.as_ref());
        let peer = peer.ok_or_else(|| Status::unauthenticated("a client certificate is needed"))?;
        let refused = || Status::permission_denied(format!("there is no link to {peer}"));
        let reader = self.links.reader(peer).ok_or_else(refused)?;
        let table = self.exports.follow(&reader).ok_or_else(refused)?;
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.ok_or_else(|| Status::invalid_argument("no first message"))?;
        if first.held.len() > EXPORTS_MAX {
            return Err(Status::resource_exhausted(format!("more than {EXPORTS_MAX} exports are held")));
        }
        let held = first.held.into_iter().map(|(name, version)| (name, version.into())).collect();
        let served =
            Served { table, incoming, held, ready: VecDeque::new(), push: 0, acknowledged: 0, ended: false };
        Ok(Response::new(Box::pin(stream::unfold(served, Served::next))))
    }
}

/// One stream being served; one push is in flight at a time.
struct Served {
    table: watch::Receiver<Arc<ExportTable>>,
    incoming: Streaming<ExportsRequest>,
    held: BTreeMap<String, Version>,
    ready: VecDeque<ExportsResponse>,
    push: u64,
    acknowledged: u64,
    ended: bool,
}

impl Served {
    async fn next(mut self) -> Option<(Result<ExportsResponse, Status>, Self)> {
        while !self.ended {
            if let Some(response) = self.ready.pop_front() {
                return Some((Ok(response), self));
            }
            match self.step().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(status) => {
                    self.ended = true;
                    return Some((Err(status), self));
                }
            }
        }
        None
    }

    async fn step(&mut self) -> Result<bool, Status> {
        let free = self.acknowledged == self.push;
        if free && (self.push == 0 || self.table.has_changed().unwrap_or(true)) {
            self.fill();
            if !self.ready.is_empty() {
                return Ok(true);
            }
        }
        tokio::select! {
            request = self.incoming.message() => match request? {
                Some(request) => self.acknowledged = self.push.min(request.acknowledged),
                None => return Ok(false),
            },
            changed = self.table.changed(), if free => match changed {
                // Looked at again above.
                Ok(()) => self.table.mark_changed(),
                Err(_) => return Err(Status::permission_denied("the link is gone")),
            },
        }
        Ok(true)
    }

    /// The difference between what is exported and what is held; the first also where there is none.
    fn fill(&mut self) {
        let table = Arc::clone(&self.table.borrow_and_update());
        let new = |(name, (version, _)): &(&String, &(Version, Bytes))| self.held.get(*name) != Some(version);
        let exports: Vec<Export> = table
            .iter()
            .filter(new)
            .map(|(name, (version, json))| Export {
                name: name.clone(),
                version: version.to_string(),
                json: json.clone(),
            })
            .collect();
        let removed: Vec<String> =
            self.held.keys().filter(|name| !table.contains_key(*name)).cloned().collect();
        if exports.is_empty() && removed.is_empty() && self.push > 0 {
            return;
        }
        self.held = table.iter().map(|(name, (version, _))| (name.clone(), version.clone())).collect();
        self.push += 1;
        let push = self.push;
        let parts = exports.chunks(RESPONSE_EXPORTS);
        self.ready.extend(parts.map(|part| ExportsResponse {
            exports: part.to_vec(),
            push,
            ..ExportsResponse::default()
        }));
        self.ready.push_back(ExportsResponse {
            removed,
            push,
            checkpoint: true,
            ..ExportsResponse::default()
        });
    }
}
