//! The exchange itself: one request, on whose behalf it came, and what is known of it.

use std::sync::Arc;

use mesh::{
    Denial, Facts,
    facts::Demand,
    names::{ObjectName, ServiceKey, WorkloadUid},
    resource::{self, BackendKind, BackendTarget, Protocol, Traffic},
};

use crate::{Body, Call, Closing, Judge, Known, Ledger, Place, Purpose, Register, Trail, Watches};

/// A request with its body.
pub type Request = http::Request<Body>;
/// A response with its body.
pub type Response = http::Response<Body>;

/// What an exchange was led to by its route.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A port of a service.
    Service {
        /// The service.
        service: ServiceKey,
        /// The port.
        port: u16,
        /// What the port speaks.
        protocol: Protocol,
    },
    /// An AgentBackend.
    Agent(Arc<resource::Backend>),
    /// Nowhere: the rule answers by itself, or cannot be realised.
    Nowhere,
}

impl Backend {
    /// The reference by which [`crate::Upstreams`] finds it.
    pub fn target(&self) -> BackendTarget {
        match self {
            Self::Service { service, port, .. } => {
                BackendTarget::Service { service: service.clone(), port: *port }
            }
            Self::Agent(backend) => BackendTarget::Agent(backend.name.clone()),
            Self::Nowhere => BackendTarget::Broken("the rule leads nowhere".into()),
        }
    }

    /// Everything that it may call, by the places whose guards, quotas and demands on users apply as well.
    fn leads_to(&self) -> Vec<Place> {
        let targets: Vec<BackendTarget> = match self {
            Self::Nowhere => Vec::new(),
            Self::Service { .. } => vec![self.target()],
            Self::Agent(agent) => match &agent.kind {
                BackendKind::Mcp { servers } => servers.iter().map(|server| server.target.clone()).collect(),
                BackendKind::A2a { target, .. } | BackendKind::Host { target, .. } => vec![target.clone()],
                BackendKind::Llm { groups } => {
                    let providers = groups.iter().flat_map(|group| &group.providers);
                    providers.map(|provider| provider.target.clone()).collect()
                }
            },
        };
        targets.iter().filter_map(Place::of).collect()
    }
}

/// A request in flight.
pub struct Exchange {
    /// The request; filters change it, the responder takes its body.
    pub request: Request,
    /// What is known of it, caller included. Gathered before the first filter; filters do not change it.
    pub facts: Arc<Facts>,
    /// What the policies at [`Exchange::places`] want to know.
    pub demand: Demand,
    /// The route that was matched, if one was.
    pub route: Option<ObjectName>,
    /// The path prefix that the route matched, for a rewrite of it.
    pub matched_prefix: Option<Arc<str>>,
    /// Where it was led.
    pub backend: Backend,
    /// Only this endpoint of it: the caller addressed it itself.
    pub pin: Option<WorkloadUid>,
    /// How it is delivered.
    pub traffic: Traffic,
    /// Everything whose policies it must pass before the responder. The chosen endpoint's port comes later, by
    /// [`crate::Upstreams`], into the trail.
    pub places: Vec<Place>,
    /// Who is asked.
    pub judge: Arc<dyn Judge>,
    /// What the control plane told beside policies.
    pub known: Arc<dyn Known>,
    /// Who holds the allowances.
    pub ledger: Arc<dyn Ledger>,
    /// Watches the text of the answer, where a guard wants it.
    pub watches: Option<Watches>,
    /// Who records refusals.
    pub register: Arc<dyn Register>,
    /// Ends it from outside.
    pub closing: Closing,
    /// What became of it so far.
    pub trail: Trail,
}

impl Exchange {
    /// May this happen, at every place that the exchange passed, chosen endpoints included? Facts are those of the
    /// exchange or of one message or entry of it.
    ///
    /// # Errors
    /// The first denial.
    pub fn judge(&self, facts: &Facts, purpose: Purpose) -> Result<(), Denial> {
        let mut places = self.places.iter().cloned().chain(self.trail.places());
        places.try_for_each(|place| self.judge.judge(&place, facts, purpose))
    }

    /// Everything on its way, each once: what it passed, and what its backend leads to. What bounds any of these (a
    /// guard, a quota, a demand for a user) bounds the exchange, whichever of them is called in the end.
    pub fn way(&self) -> Vec<Place> {
        let mut places = self.places.clone();
        for place in self.backend.leads_to() {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// Records a refusal in this exchange and says its id.
    pub fn refused(&self, denial: &Denial) -> Arc<str> {
        self.refused_with(denial, &self.facts)
    }

    /// As [`Exchange::refused`], of a message with facts of its own.
    pub fn refused_with(&self, denial: &Denial, facts: &Facts) -> Arc<str> {
        let id = self.register.refused(denial, facts, &self.trail);
        self.trail.refused(denial, &id);
        id
    }

    /// A call upstream on this exchange's behalf.
    pub fn call(&self, target: BackendTarget, request: Request) -> Call {
        Call {
            target,
            request,
            facts: Arc::clone(&self.facts),
            traffic: self.traffic.clone(),
            pin: self.pin.clone(),
            trail: self.trail.clone(),
            closing: self.closing.clone(),
        }
    }

    /// The request, whole, with an empty one in its place: what a responder that forwards begins with.
    pub fn take_request(&mut self) -> Request {
        std::mem::take(&mut self.request)
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Exchange")
            .field("request", &self.request)
            .field("caller", &self.facts.caller)
            .field("route", &self.route)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
