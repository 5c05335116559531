//! Volumes of files: gathers what they hold, and keeps them current.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::select_all;
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;

use super::{
    VolumeError,
    atomic::{self, File},
    plan::{FieldOf, Piece},
};
use crate::{
    fields::{self, Facts},
    objects::{Held, ObjectRef, Objects},
};

/// How long the API server may take for a token.
const TOKEN_MAX: Duration = Duration::from_secs(10);
/// When a refresh failed, the next try.
const RETRY: Duration = Duration::from_secs(5);

/// A volume of files of one pod.
pub struct Keeper {
    name: String,
    folder: PathBuf,
    pieces: Vec<Piece>,
    group: Option<u32>,
    facts: Facts,
    client: Client,
    held: BTreeMap<ObjectRef, Held>,
    tokens: BTreeMap<String, Token>,
}

struct Token {
    text: String,
    /// At 80 % of its life.
    renew: Instant,
}

/// What a keeper needs beside its pieces.
#[derive(Clone)]
pub struct Around {
    /// For tokens.
    pub client: Client,
    /// For ConfigMaps and Secrets.
    pub objects: Objects,
    /// For fields.
    pub facts: Facts,
    /// The pod's `fsGroup`.
    pub group: Option<u32>,
}

impl Keeper {
    /// Of the volume `name` in `folder`.
    pub fn new(name: &str, folder: &Path, pieces: Vec<Piece>, around: &Around) -> Self {
        let objects = pieces.iter().filter_map(|piece| match piece {
            Piece::Object { object, .. } => Some((object.clone(), around.objects.hold(object))),
            _ => None,
        });
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            group: around.group,
            facts: around.facts.clone(),
            client: around.client.clone(),
            held: objects.collect(),
            tokens: BTreeMap::new(),
            pieces,
        }
    }

    /// Writes the volume as it should be now.
    ///
    /// # Errors
    /// When something it is made of is missing, or cannot be written.
    pub async fn write(&mut self, pod: &Pod) -> Result<(), VolumeError> {
        let mut files = BTreeMap::new();
        for piece in self.pieces.clone() {
            self.gather(pod, &piece, &mut files).await?;
        }
        let (folder, group) = (self.folder.clone(), self.group);
        let written = tokio::task::spawn_blocking(move || atomic::write(&folder, &files, group)).await;
        written.map_err(|cause| self.failed(&cause))?.map_err(|cause| self.failed(&cause))
    }

    async fn gather(
        &mut self,
        pod: &Pod,
        piece: &Piece,
        files: &mut BTreeMap<String, File>,
    ) -> Result<(), VolumeError> {
        match piece {
            Piece::Object { object, items, optional, mode } => {
                let Some(held) = self.held.get_mut(object) else { return Ok(()) };
                let data = held.get(object).await;
                let Some(data) = data.map_err(|cause| self.failed(&cause))? else {
                    let (volume, object) = (self.name.clone(), object.clone());
                    return if *optional { Ok(()) } else { Err(VolumeError::NoObject { volume, object }) };
                };
                if items.is_empty() {
                    let all = data
                        .iter()
                        .map(|(key, content)| (key.clone(), File { content: content.clone(), mode: *mode }));
                    files.extend(all);
                }
                for item in items {
                    match data.get(&item.key) {
                        Some(content) => {
                            let file = File { content: content.clone(), mode: item.mode.unwrap_or(*mode) };
                            files.insert(item.path.clone(), file);
                        }
                        None if *optional => {}
                        None => return Err(self.failed(&format!("{object} has no key {:?}", item.key))),
                    }
                }
            }
            Piece::Token { audience, lasts, path, mode } => {
                let content = self.token(pod, audience.as_deref(), *lasts, path).await?.into_bytes();
                files.insert(path.clone(), File { content, mode: *mode });
            }
            Piece::Field { of, path, mode } => {
                let value = match of {
                    FieldOf::Pod(field) => fields::field(pod, &self.facts, &field.field_path),
                    FieldOf::Container(field) => fields::resource(pod, None, &self.facts, field),
                };
                let content = value.map_err(|cause| self.failed(&cause))?.into_bytes();
                files.insert(path.clone(), File { content, mode: *mode });
            }
        }
        Ok(())
    }

    async fn token(
        &mut self,
        pod: &Pod,
        audience: Option<&str>,
        lasts: Duration,
        path: &str,
    ) -> Result<String, VolumeError> {
        if let Some(token) = self.tokens.get(path)
            && token.renew > Instant::now()
        {
            return Ok(token.text.clone());
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.map(str::to_owned).into_iter().collect(),
                expiration_seconds: i64::try_from(lasts.as_secs()).ok(),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let asked = Instant::now();
        let params = PostParams::default();
        let answer = tokio::time::timeout(TOKEN_MAX, api.create_token_request(account, &params, &request));
        let answer = answer.await.map_err(|_| self.failed(&"the API server gives no token"))?;
        let status = answer.map_err(|cause| self.failed(&cause))?.status;
        let status = status.ok_or_else(|| self.failed(&"the API server's answer has no token"))?;
        let left = status.expiration_timestamp.0.duration_since(jiff::Timestamp::now());
        let left = Duration::try_from(left).unwrap_or(lasts);
        let token = Token { text: status.token, renew: asked + left.mul_f64(0.8) };
        let text = token.text.clone();
        self.tokens.insert(path.to_owned(), token);
        Ok(text)
    }

    /// Keeps the volume current for as long as it is polled: when an object changes, when the pod
    /// does (labels), when a token gets old.
    pub async fn keep(mut self, mut pod: watch::Receiver<Arc<Pod>>) {
        loop {
            let oldest = self.tokens.values().map(|token| token.renew).min();
            let objects = self.held.values_mut().map(|held| Box::pin(held.changed()));
            let objects: Vec<_> = objects.collect();
            let object = async {
                if objects.is_empty() { std::future::pending().await } else { select_all(objects).await.0 }
            };
            let renew = async {
                match oldest {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = object => {}
                () = renew => {}
                changed = pod.changed() => if changed.is_err() { return },
            }
            let now = pod.borrow_and_update().clone();
            while let Err(error) = self.write(&now).await {
                tracing::debug!(volume = self.name, %error, "a volume stays as it was");
                // What is missing shows up as a change; the time is for what does not.
                if matches!(error, VolumeError::NoObject { .. }) {
                    break;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> VolumeError {
        VolumeError::Failed { volume: self.name.clone(), why: why.to_string() }
    }
}
