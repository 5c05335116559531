//! What a keeper knows: the schedule, what is held, whom to believe. Changed in one place, told by `keeper`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh::{Identity, TrustDomain};
use runtime::backoff;
use transport::{Bundles, Credential, CredentialError, CredentialParts, credential::BuildError};

use super::change::{Change, What};
use crate::{
    answer::{self, Answer},
    report::{Held, Row, seconds},
    request::CertificateRequest,
    schedule::{self, Schedule, Validity},
    store::{Parts, Stored},
};

/// In which time what the root before signed is asked for anew, once another signs.
const RENEWAL_SPREAD: Duration = Duration::from_secs(5);

struct Kept {
    parts: Parts,
    credential: Arc<Credential>,
    validity: Validity,
}

pub(super) struct State {
    schedule: Schedule,
    kept: HashMap<Identity, Kept>,
    failures: HashMap<Identity, String>,
    /// Read from disk and not wanted yet.
    restored: BTreeMap<Identity, Parts>,
    /// The roots that the authority named last.
    named_roots: BTreeMap<TrustDomain, Vec<Vec<u8>>>,
    subscribed: Option<Arc<Bundles>>,
    believed: Arc<Bundles>,
    unwritten: bool,
}

impl State {
    pub(super) fn new(config: schedule::Config, stored: Stored) -> Self {
        Self {
            schedule: Schedule::new(config),
            kept: HashMap::new(),
            failures: HashMap::new(),
            restored: stored.identities,
            believed: Arc::new(stored.roots.clone()),
            named_roots: stored.roots,
            subscribed: None,
            unwritten: false,
        }
    }

    pub(super) fn current(
        &self,
        identity: &Identity,
        now: SystemTime,
    ) -> Result<Arc<Credential>, CredentialError> {
        match self.kept.get(identity) {
            Some(kept) if kept.validity.holds(now) => Ok(Arc::clone(&kept.credential)),
            Some(kept) if now >= kept.validity.until => {
                Err(CredentialError::Expired { identity: identity.clone(), ended: kept.validity.until })
            }
            Some(_) => Err(CredentialError::Pending(identity.clone())),
            None if self.schedule.wants(identity) => Err(CredentialError::Pending(identity.clone())),
            None => Err(CredentialError::Unknown(identity.clone())),
        }
    }

    pub(super) fn subscribed_bundles(&self) -> Option<Arc<Bundles>> {
        self.subscribed.clone()
    }

    pub(super) fn set_wanted(
        &mut self,
        wanted: &BTreeSet<&Identity>,
        now: SystemTime,
        chance: &dyn Fn() -> u64,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let forgotten: Vec<_> =
            self.schedule.wanted().filter(|identity| !wanted.contains(identity)).cloned().collect();
        for identity in forgotten {
            self.schedule.forget(&identity);
            self.failures.remove(&identity);
            if self.kept.remove(&identity).is_some() {
                self.unwritten = true;
            }
            changes.push(Change::Identity { identity, what: What::Forgotten });
        }
        for &identity in wanted {
            if self.schedule.wants(identity) {
                continue;
            }
            self.schedule.want(identity, now);
            if let Some(parts) = self.restored.remove(identity)
                && let Some(kept) = self.restore(identity, parts, now)
            {
                self.schedule.held(identity, kept.validity, chance());
                self.kept.insert(identity.clone(), kept);
                changes.push(Change::Identity { identity: identity.clone(), what: What::Issued });
            }
        }
        changes
    }

    /// A stored certificate, if it still holds against what is believed now.
    fn restore(&self, identity: &Identity, parts: Parts, now: SystemTime) -> Option<Kept> {
        let roots = self.believed.get(identity.trust_domain()).map_or(&[][..], Vec::as_slice);
        let checked = answer::check(&parts.chain_der, identity, roots, now);
        let validity = checked
            .inspect_err(|cause| tracing::info!(%identity, %cause, "a stored certificate is not used"));
        let credential = build(identity, &parts, &self.believed);
        let credential =
            credential.inspect_err(|cause| tracing::warn!(%identity, %cause, "a stored key is not used"));
        let validity = validity.ok().filter(|validity| validity.holds(now))?;
        Some(Kept { parts, validity, credential: Arc::new(credential.ok()?) })
    }

    pub(super) fn set_bundles(
        &mut self,
        bundles: Arc<Bundles>,
        now: SystemTime,
        chance: &dyn Fn() -> u64,
    ) -> Vec<Change> {
        let same = *bundles == *self.believed;
        self.subscribed = Some(Arc::clone(&bundles));
        if same {
            return Vec::new();
        }
        self.renew_what_another_root_signed(&bundles, now, chance);
        self.believe(bundles)
    }

    /// The first root of a bundle is the one that signs. What another one signed is asked for anew, soon and not all
    /// at once, so that the other one can retire.
    fn renew_what_another_root_signed(
        &mut self,
        bundles: &Bundles,
        now: SystemTime,
        chance: &dyn Fn() -> u64,
    ) {
        for (identity, kept) in &self.kept {
            let roots = bundles.get(identity.trust_domain()).map_or(&[][..], Vec::as_slice);
            let [signing, others @ ..] = roots else { continue };
            let by = |roots: &[Vec<u8>]| answer::check(&kept.parts.chain_der, identity, roots, now).is_ok();
            if !others.is_empty() && by(others) && !by(std::slice::from_ref(signing)) {
                self.schedule.renew(identity, now + backoff::part(RENEWAL_SPREAD, chance()));
            }
        }
    }

    fn believe(&mut self, bundles: Arc<Bundles>) -> Vec<Change> {
        for (identity, kept) in &mut self.kept {
            match build(identity, &kept.parts, &bundles) {
                Ok(credential) => kept.credential = Arc::new(credential),
                // With the old bundles it goes on until its end; a root that cannot be read was never believed.
                Err(cause) => tracing::error!(%identity, %cause, "new bundles are not used"),
            }
        }
        self.believed = bundles;
        vec![Change::Bundles]
    }

    pub(super) fn issued(
        &mut self,
        identity: &Identity,
        request: CertificateRequest,
        answer: Answer,
        chance: u64,
    ) -> Result<Vec<Change>, BuildError> {
        if !self.schedule.wants(identity) {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        let domain = identity.trust_domain();
        if self.named_roots.get(domain) != Some(&answer.roots_der) {
            self.named_roots.insert(domain.clone(), answer.roots_der);
            if self.subscribed.is_none() {
                changes = self.believe(Arc::new(self.named_roots.clone()));
            }
        }
        let parts = Parts { chain_der: answer.chain_der, key_pkcs8_der: request.into_key().to_vec() };
        let credential = Arc::new(build(identity, &parts, &self.believed)?);
        self.kept.insert(identity.clone(), Kept { parts, credential, validity: answer.validity });
        self.schedule.held(identity, answer.validity, chance);
        self.failures.remove(identity);
        self.unwritten = true;
        changes.push(Change::Identity { identity: identity.clone(), what: What::Issued });
        Ok(changes)
    }

    pub(super) fn failed(
        &mut self,
        identity: &Identity,
        why: String,
        now: SystemTime,
        chance: u64,
    ) -> Duration {
        if self.schedule.wants(identity) {
            self.failures.insert(identity.clone(), why);
        }
        self.schedule.failed(identity, now, chance)
    }

    pub(super) fn renew(&mut self, identity: &Identity, now: SystemTime) {
        self.schedule.renew(identity, now);
    }

    pub(super) fn landed(&mut self, identity: &Identity) {
        self.schedule.landed(identity);
    }

    pub(super) fn waiting(&mut self, identity: &Identity, change: isize) {
        self.schedule.waiting(identity, change);
    }

    /// What to ask for now, what ended, and when to look again.
    pub(super) fn step(&mut self, now: SystemTime) -> (Vec<Identity>, Vec<Change>, Option<SystemTime>) {
        let start = self.schedule.start(now);
        let ended = self.schedule.ended(now).into_iter();
        let changes = ended.map(|identity| Change::Identity { identity, what: What::Ended }).collect();
        (start, changes, self.schedule.wake_at())
    }

    /// What is to be written, if it changed since the last time this was asked. What was restored and never wanted
    /// goes.
    pub(super) fn take_unwritten(&mut self) -> Option<Stored> {
        if !std::mem::take(&mut self.unwritten) {
            return None;
        }
        self.restored.clear();
        let identities =
            self.kept.iter().map(|(identity, kept)| (identity.clone(), kept.parts.clone())).collect();
        Some(Stored { identities, roots: self.named_roots.clone() })
    }

    /// How many are wanted, and how many of them valid.
    pub(super) fn counts(&self, now: SystemTime) -> (usize, usize) {
        let valid = self.kept.values().filter(|kept| kept.validity.holds(now)).count();
        (self.schedule.wanted().count(), valid)
    }

    pub(super) fn report(&self, now: SystemTime) -> Vec<Row> {
        let row = |identity: &Identity| {
            let (next, failures) = self.schedule.next(identity)?;
            let held = self.kept.get(identity).map(|kept| Held {
                serial: kept.credential.own().serial.clone(),
                not_before_seconds: seconds(kept.validity.from),
                not_after_seconds: seconds(kept.validity.until),
                valid: kept.validity.holds(now),
            });
            let last_failure = self.failures.get(identity).cloned();
            Some(Row {
                identity: identity.clone(),
                held,
                next_seconds: seconds(next),
                failures,
                last_failure,
            })
        };
        self.schedule.wanted().filter_map(row).collect()
    }
}

/// A trust domain of others whose roots cannot all be read is not believed at all: it must neither keep alive what was
/// believed before, nor keep our own certificates from being used.
fn build(identity: &Identity, parts: &Parts, bundles: &Arc<Bundles>) -> Result<Credential, BuildError> {
    let mut bundles = Arc::clone(bundles);
    loop {
        let built = Credential::new(CredentialParts {
            identity: identity.clone(),
            chain_der: parts.chain_der.clone(),
            key_pkcs8_der: parts.key_pkcs8_der.clone(),
            bundles: Arc::clone(&bundles),
        });
        match built {
            Err(BuildError::Root { trust_domain, cause }) if trust_domain != *identity.trust_domain() => {
                tracing::error!(%trust_domain, cause, "a root cannot be read: its trust domain is not believed");
                if Arc::make_mut(&mut bundles).remove(&trust_domain).is_none() {
                    return Err(BuildError::Root { trust_domain, cause });
                }
            }
            built => return built,
        }
    }
}
