//! Who is asked whether something is allowed, and who gives refusals their ids.

use std::sync::Arc;

use mesh::{
    Denial, Facts,
    names::{ObjectName, ServiceKey, WorkloadUid},
    resource::{Authorizer, BackendTarget},
};

use crate::{BoxFuture, Trail};

/// Something that policies protect. It names the thing and not its policy set, because what is judged again later
/// must be judged by the set that the thing has then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// A listener of a Gateway.
    Listener {
        /// The Gateway.
        gateway: ObjectName,
        /// The listener.
        listener: Arc<str>,
    },
    /// A route.
    Route(ObjectName),
    /// A port of a service, as it was addressed.
    Service {
        /// The service.
        service: ServiceKey,
        /// The port.
        port: u16,
    },
    /// An AgentBackend.
    Agent(ObjectName),
    /// A port of the workload that was chosen.
    Workload {
        /// The workload.
        workload: WorkloadUid,
        /// The port.
        port: u16,
    },
}

impl Place {
    /// The place of what a call goes to, if policies protect it.
    pub fn of(target: &BackendTarget) -> Option<Self> {
        match target {
            BackendTarget::Service { service, port } => {
                Some(Self::Service { service: service.clone(), port: *port })
            }
            BackendTarget::Agent(name) => Some(Self::Agent(name.clone())),
            BackendTarget::Host(_) | BackendTarget::Broken(_) => None,
        }
    }
}

/// Why it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To let something happen. Counted, and reported where a policy in audit would have refused.
    Decide,
    /// To know whether to show it. Neither counted nor reported.
    List,
    /// To know whether what runs may go on. A place that is gone does not speak.
    Again,
}

/// Judges under the current snapshot.
pub trait Judge: Send + Sync {
    /// May this happen at this place?
    ///
    /// # Errors
    /// The denial, when it may not.
    fn judge(&self, place: &Place, facts: &Facts, purpose: Purpose) -> Result<(), Denial>;

    /// The external authorizers that must say yes as well, where [`Judge::judge`] lets it happen. Whoever acts on a
    /// judgement with [`Purpose::Decide`] of a whole exchange asks them.
    ///
    /// # Errors
    /// When it may not happen any more, or the place is gone: then nobody need be asked, and nothing passes.
    fn authorizers(&self, place: &Place, facts: &Facts) -> Result<Vec<Arc<Authorizer>>, Denial>;

    /// Counts the snapshots that were current; grows with every swap.
    fn generation(&self) -> u64;

    /// Waits until [`Judge::generation`] is no longer `seen`.
    fn changed(&self, seen: u64) -> BoxFuture<'static, ()>;
}

/// Gives refusals their ids and keeps them, so that they can be explained.
pub trait Register: Send + Sync {
    /// Records a refusal and says its id.
    fn refused(&self, denial: &Denial, facts: &Facts, trail: &Trail) -> Arc<str>;

    /// Counts what a policy in audit that is no access policy would have decided of an exchange: `refusal`, or to let it
    /// pass.
    fn audited(&self, policy: &ObjectName, refusal: Option<&Denial>, facts: &Facts, trail: &Trail) {
        let _ = (policy, refusal, facts, trail);
    }
}
