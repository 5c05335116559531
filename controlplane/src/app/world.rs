//! The one task that owns the World: whatever happens becomes edits, what follows is published at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use api::{Admitted, Input, Kind, Name, Object};
use arc_swap::ArcSwap;
use identity::Keeper;
use mesh::{Identity, TrustDomain, resource::Resource};
use tokio::sync::{mpsc, watch};
use translate::{Difference, Edit, Translator};
use wire::{
    Caller,
    export::{Exported, Exports},
    publish::{self, Publisher},
};

use super::exporting::{self, Readers};
use crate::{
    commands::Command,
    links::Links,
    past::PastFile,
    questions::Published,
    roll::{Entries, Roll, is_gateway},
    root::{Asked, Everybody, Rotation, Status},
    serving::Serving,
    status::Statuses,
    tokens::{Owner, Tokens},
    trust::{self, Signer},
    watch as files,
};

/// The one task that owns the World.
pub(super) struct World {
    pub(super) inputs: watch::Receiver<Arc<Input>>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Dropped, it would end the watch.
    pub(super) _watching: files::Watch,
    pub(super) translator: Translator,
    pub(super) past_file: PastFile,
    pub(super) trust_domain: TrustDomain,
    pub(super) tokens: Tokens,
    pub(super) roll: Roll,
    pub(super) signer: Arc<Signer>,
    pub(super) rotation: Rotation,
    /// The identity of the control plane itself.
    pub(super) own: Identity,
    pub(super) keeper: Keeper,
    pub(super) publisher: Publisher,
    pub(super) exports: Exports,
    pub(super) readers: Readers,
    pub(super) links: Links,
    /// The roots of linked trust domains, as they were fetched.
    pub(super) linked: BTreeMap<TrustDomain, Vec<Vec<u8>>>,
    pub(super) serving: Serving,
    /// The gateways that serve, as the World knows it.
    pub(super) served: BTreeSet<Identity>,
    pub(super) statuses: Statuses,
    /// What could be laid to no object.
    pub(super) problems: Arc<ArcSwap<Input>>,
    pub(super) write_statuses: watch::Sender<()>,
}

impl World {
    /// The first edit is whole: files, our bundle, and what links told last.
    pub(super) fn begin(&mut self) {
        let input = self.inputs.borrow_and_update().clone();
        let own = translate_own(&self.trust_domain, &self.signer);
        let mut edits = vec![own];
        // Links are followed before anything is published, so that what they told last is in the first update.
        self.links.follow(&specs(&input));
        edits.extend(self.told_by_links());
        edits.extend(self.objects(&input));
        let difference = self.translator.apply(edits);
        self.publish(difference, true);
        self.statuses.keep_only(&self.translator.output().statuses);
        self.follow_links();
    }

    /// Follows the links that count, and believes no trust domain beyond theirs.
    fn follow_links(&mut self) {
        let input = self.problems.load_full();
        let links = self.valid_links(&input);
        self.links.follow(&links);
        let before = self.linked.len();
        self.linked
            .retain(|trust_domain, _| links.values().any(|link| link.trust_domain == *trust_domain.as_str()));
        if self.linked.len() < before {
            self.keeper.set_bundles(trust::believed(&self.signer, &self.trust_domain, &self.linked));
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let edits = tokio::select! {
                changed = self.inputs.changed() => match changed {
                    Ok(()) => {
                        let input = self.inputs.borrow_and_update().clone();
                        self.objects(&input)
                    }
                    Err(_) => return,
                },
                () = self.links.changed() => self.told_by_links(),
                () = self.serving.changed() => self.now_serving(),
                Some(command) = self.commands.recv() => {
                    self.obey(command);
                    continue;
                }
            };
            let difference = self.translator.apply(edits);
            tracing::debug!(computed = difference.computed, set = difference.set.len(), "translated");
            self.publish(difference, false);
            self.follow_links();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Draft(objects, reply) => {
                let mut draft = self.translator.clone();
                draft.apply(objects.into_iter().map(|object| Edit::Object(Box::new(object))));
                drop(reply.send(Published::drafted(draft.output().resources.iter())));
            }
            Command::Revoke(identity, since, reply) => {
                let difference = self.translator.apply([Edit::Revoked(identity, since)]);
                self.publish(difference, false);
                let _ = reply.send(());
            }
            Command::Root(asked, reply) => {
                let _ = reply.send(self.rotate(&asked));
            }
        }
    }

    /// Takes a step of the root's rotation, and tells everybody whom to believe from now on.
    fn rotate(&mut self, asked: &Asked) -> Result<Status, String> {
        let signer = Arc::clone(&self.signer);
        let (publisher, roll, links, own) =
            (self.publisher.clone(), self.roll.clone(), self.links.clone(), self.own.clone());
        let everybody = Everybody {
            publisher: &publisher,
            roll: &roll,
            signer: &signer,
            links: &links,
            own: &own,
            now: SystemTime::now(),
        };
        if self.rotation.step(asked, &everybody)? {
            self.signer.set_roots(self.rotation.roots());
            // Also makes the keeper ask for a certificate of the root that signs.
            self.keeper.set_bundles(trust::believed(&self.signer, &self.trust_domain, &self.linked));
            let difference = self.translator.apply([translate_own(&self.trust_domain, &self.signer)]);
            self.publish(difference, false);
        }
        Ok(self.rotation.status(&everybody))
    }

    /// The objects, and the tokens of workloads, nodes and gateways among them.
    fn objects(&mut self, input: &Arc<Input>) -> Vec<Edit> {
        self.problems.store(Arc::clone(input));
        let mut edits = Vec::new();
        for object in input.objects.iter().filter_map(Admitted::object) {
            let Object::MeshWorkload(workload) = object.as_ref() else { continue };
            let name = object.name();
            let owner = Owner::Workload(name.namespace.clone(), name.name.clone());
            match self.tokens.hash(&owner) {
                Ok(hash) => edits.push(Edit::Token(name, hash.into())),
                // Without a token there is no explicit proxy.
                Err(cause) => tracing::warn!(%cause, "a workload has no token"),
            }
            self.make_token(&Owner::Node(workload.spec.node.as_str().to_owned()));
        }
        edits.push(Edit::Objects(input.objects.clone()));
        edits
    }

    fn make_token(&self, owner: &Owner) {
        // Asked by hash, which is known after the first time.
        if let Err(cause) = self.tokens.hash(owner) {
            tracing::warn!(%cause, "there is no token for {owner}");
        }
    }

    fn told_by_links(&mut self) -> Vec<Edit> {
        let (edits, roots) = self.links.take();
        if !roots.is_empty() {
            self.linked.extend(roots);
            self.keeper.set_bundles(trust::believed(&self.signer, &self.trust_domain, &self.linked));
        }
        edits
    }

    fn now_serving(&mut self) -> Vec<Edit> {
        let now = self.serving.now();
        let name = |identity: &Identity| {
            let (namespace, name) = identity.kubernetes()?;
            Some(Name::new(Kind::Gateway, namespace, name))
        };
        let came = now.difference(&self.served).filter_map(name).map(|name| Edit::Serving(name, true));
        let went = self.served.difference(&now).filter_map(name).map(|name| Edit::Serving(name, false));
        let edits = came.chain(went).collect();
        self.served = now;
        edits
    }

    /// The links that count: those of which something is exported, be it nothing.
    fn valid_links<'i>(&self, input: &'i Input) -> BTreeMap<String, &'i api::link::ClusterLinkSpec> {
        let mut links = specs(input);
        let valid = &self.translator.output().exports;
        links.retain(|name, _| valid.contains_key(name.as_str()));
        links
    }

    fn publish(&mut self, difference: Difference, first: bool) {
        let now = SystemTime::now();
        // Remembered before it is in force: a crash in between must not forget a binding that was told.
        self.past_file.keep(self.translator.world().past());
        let workloads_changed = first || difference.touches_workloads();
        if workloads_changed {
            self.enroll();
        }
        let edits: Vec<publish::Edit> = match first {
            // What followed from the past alone is part of no difference.
            true => self.translator.output().resources.values().cloned().map(publish::Edit::Set).collect(),
            false => {
                let removed = difference.removed.iter().cloned().map(publish::Edit::Remove);
                difference.set.into_iter().map(publish::Edit::Set).chain(removed).collect()
            }
        };
        let revocations = edits.iter().any(|edit| edit.key().kind == mesh::resource::Kind::Revocation);
        // Before anybody hears of it and asks for another certificate.
        self.note_revocations(&edits);
        if first || !edits.is_empty() {
            for rejected in self.publisher.update(edits, None) {
                tracing::error!(key = %rejected.key, reason = rejected.reason, "a resource cannot be published");
            }
        }
        if first || revocations || !difference.exports.is_empty() {
            self.export(&difference.exports);
        }
        if first || !difference.statuses.is_empty() {
            self.statuses.update(&difference.statuses, now);
            self.write_statuses.send_replace(());
        }
    }

    /// Tells the authority, so that the next certificate of a revoked identity is not revoked as well.
    fn note_revocations(&self, edits: &[publish::Edit]) {
        for edit in edits {
            if let publish::Edit::Set(Resource::Revocation(revocation)) = edit {
                let issued_before = UNIX_EPOCH + Duration::from_secs(revocation.issued_before);
                self.signer.revoked(&revocation.identity, issued_before);
            }
        }
    }

    /// Says who exists now. A gateway that is gone loses its streams.
    fn enroll(&self) {
        let resources = self.translator.output().resources.values();
        let workloads = resources.filter_map(|resource| match resource {
            Resource::Workload(workload) => Some(workload.as_ref()),
            _ => None,
        });
        let workloads: Vec<_> = workloads.collect();
        // Also waypoints that nobody wrote have a token.
        for gateway in workloads.iter().filter(|workload| is_gateway(workload)) {
            self.make_token(&Owner::Gateway(gateway.namespace.to_string(), gateway.name.to_string()));
        }
        for gone in self.roll.replace(Entries::of(workloads.into_iter(), &self.trust_domain)) {
            self.publisher.disconnect(&Caller::Gateway { identity: gone });
        }
    }

    fn export(&self, changed: &[(Arc<str>, Option<translate::Exports>)]) {
        let output = self.translator.output();
        let readers: BTreeMap<Identity, TrustDomain> = output
            .exports
            .values()
            .map(|exports| (exports.reader.clone(), exports.reader.trust_domain().clone()))
            .collect();
        let before = self.readers.by_identity.swap(Arc::new(readers));
        let now = self.readers.by_identity.load();
        let still: BTreeSet<&TrustDomain> = now.values().collect();
        for gone in before.values().filter(|trust_domain| !still.contains(trust_domain)) {
            self.exports.forget(gone);
        }
        tracing::debug!(links = changed.len(), "exports changed");
        let own = output.resources.values().filter_map(|resource| match resource {
            Resource::Revocation(revocation) if *revocation.identity.trust_domain() == self.trust_domain => {
                Some(Exported::Revocation(revocation.as_ref().clone()))
            }
            _ => None,
        });
        let revocations: Vec<Exported> = own.collect();
        for exports in output.exports.values() {
            let services = exports.services.iter().cloned().map(exporting::exported);
            let all = services.chain(revocations.iter().cloned());
            for (name, reason) in self.exports.update(exports.reader.trust_domain(), all) {
                tracing::error!(name, reason, "a service cannot be exported");
            }
        }
    }
}

fn translate_own(trust_domain: &TrustDomain, signer: &Signer) -> Edit {
    Edit::Bundle(trust_domain.clone(), Some(trust::own_bundle(signer)))
}

fn specs(input: &Input) -> BTreeMap<String, &api::link::ClusterLinkSpec> {
    let objects = input.objects.iter().filter_map(Admitted::object);
    objects
        .filter_map(|object| match object.as_ref() {
            Object::ClusterLink(link) => Some((link.metadata.name.clone(), &link.spec)),
            _ => None,
        })
        .collect()
}
