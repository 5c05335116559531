//! What every connection of a node needs, in one value.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use identity::Keeper;
use mesh::{Denial, Identity, Reason};
use runtime::DrainWatch;
use tokio::time::timeout;
use transport::{Credential, Pool, drain::Tunnels, relay::Relayed};
use wire::subscribe::OnDemand;

use crate::{
    connections::{Connections, Guard},
    explicit::config::Config as ExplicitConfig,
    inbound::config::Config as InboundConfig,
    outbound::config::Config as OutboundConfig,
    report::{Outcome, Record, Report},
    world::World,
};

/// One node proxy, while it serves.
pub(crate) struct Node {
    pub(crate) outbound: OutboundConfig,
    pub(crate) inbound: InboundConfig,
    pub(crate) explicit: ExplicitConfig,
    pub(crate) world: World,
    pub(crate) connections: Connections,
    pub(crate) keeper: Keeper,
    /// How long a connection waits for a first certificate.
    pub(crate) certificate_timeout: Duration,
    pub(crate) pool: Pool,
    pub(crate) tunnels: Tunnels,
    pub(crate) on_demand: OnDemand,
    pub(crate) report: Report,
    pub(crate) drain: DrainWatch,
    pub(crate) chance: fn() -> u64,
    pub(crate) now: fn() -> SystemTime,
}

impl Node {
    /// The credential of an identity of this node; one that is on its way is waited for, bounded.
    pub(crate) async fn credential(&self, identity: &Identity) -> Result<Arc<Credential>, Denial> {
        let none = |why: String| Denial::plain(Reason::NoCertificate, why);
        match timeout(self.certificate_timeout, self.keeper.wait(identity)).await {
            Ok(credential) => credential.map_err(|error| none(error.to_string())),
            Err(_) => {
                Err(none(format!("no certificate of {identity} came within {:?}", self.certificate_timeout)))
            }
        }
    }

    /// Reports how a relay ended.
    pub(crate) fn finish(&self, guard: &Guard, record: Record, relayed: &Relayed) {
        match guard.why() {
            Some(why) => {
                let refusal = self.report.refuse(&record, no_longer(why));
                self.report.ended(record, &Outcome::Withdrawn(relayed, &refusal));
            }
            None => self.report.ended(record, &Outcome::Relayed(relayed)),
        }
    }
}

/// A connection was open, and this now refuses it.
fn no_longer(why: Denial) -> Denial {
    match why.reason {
        Reason::CertificateEnded | Reason::Revoked | Reason::Draining => why,
        reason => {
            let detail = why.detail.as_deref().unwrap_or_default();
            let detail = Some(format!("{reason}: {detail}").into());
            Denial { reason: Reason::NoLongerAllowed, detail, ..why }
        }
    }
}
