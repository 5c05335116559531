//! Chooses an endpoint: by nearness and health in `mesh`, by how busy each is here.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use exchange::{Body, BodyError};
use http_body::Frame;
use mesh::{
    Denial, balance,
    hop::{self, At, Avoid, Departure, Destination, Hop},
    names::{ServiceKey, WorkloadUid},
    resource::{Balance, Workload},
    snapshot::Snapshot,
};
use parking_lot::Mutex;

/// What is wished for.
#[derive(Debug)]
pub struct Wish<'a> {
    /// The service.
    pub service: &'a ServiceKey,
    /// Its port.
    pub port: u16,
    /// Only this endpoint.
    pub pin: Option<&'a WorkloadUid>,
    /// How to choose.
    pub balance: Option<Balance>,
}

/// How busy each endpoint is, and whose turn it is.
#[derive(Debug, Default)]
pub struct Choosing {
    busy: Mutex<HashMap<WorkloadUid, Arc<AtomicUsize>>>,
    turn: AtomicUsize,
}

impl Choosing {
    /// Chooses an endpoint and the way to it: none of `avoid`, and of `wary` only if nobody else is there.
    ///
    /// # Errors
    /// When there is none.
    pub fn choose(
        &self,
        snapshot: &Snapshot,
        own: &WorkloadUid,
        wish: &Wish<'_>,
        avoid: &Avoid,
        wary: &[WorkloadUid],
        chance: fn() -> u64,
    ) -> Result<Hop, Denial> {
        let to = |to| Departure { source: own.clone(), to };
        let endpoint = |workload: &WorkloadUid| Destination::Endpoint {
            service: wish.service.clone(),
            port: wish.port,
            workload: workload.clone(),
        };
        if let Some(pin) = wish.pin {
            return hop::decide(snapshot, &to(endpoint(pin)), avoid, chance());
        }
        let departure = to(Destination::Service { service: wish.service.clone(), port: wish.port });
        let mut more = avoid.clone();
        more.workloads.extend_from_slice(wary);
        // Whom we would rather not ask is better than nobody.
        let avoid = if hop::decide(snapshot, &departure, &more, 0).is_ok() { &more } else { avoid };
        let hop = hop::decide(snapshot, &departure, avoid, chance())?;
        let ports = matches!(&hop, Hop::Tunnel { chosen, .. } if matches!(chosen.at, At::Port(..)));
        if !ports {
            // Waypoints and other clusters balance by themselves.
            return Ok(hop);
        }
        let candidates = hop::candidates(snapshot, &departure, avoid)?;
        match self.best(&candidates, wish.balance.unwrap_or(Balance::LeastRequests), chance) {
            Some(workload) => hop::decide(snapshot, &to(endpoint(&workload.uid)), avoid, chance()),
            None => Ok(hop),
        }
    }

    fn best<'a>(
        &self,
        among: &'a [Arc<Workload>],
        by: Balance,
        chance: fn() -> u64,
    ) -> Option<&'a Arc<Workload>> {
        let weights = among.iter().map(|workload| workload.capacity.max(1));
        match by {
            Balance::Random => among.get(balance::pick(weights, chance())?),
            Balance::RoundRobin => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                among.get(turn.checked_rem(among.len())?)
            }
            Balance::LeastRequests => {
                let one = among.get(balance::pick(weights.clone(), chance())?)?;
                let two = among.get(balance::pick(weights, chance())?)?;
                let load = |workload: &Workload| self.load(workload);
                Some(if load(two) < load(one) { two } else { one })
            }
        }
    }

    // Requests for each unit of capacity, in thousandths.
    fn load(&self, workload: &Workload) -> usize {
        let busy = self.busy.lock().get(&workload.uid).map_or(0, |count| count.load(Ordering::Relaxed));
        busy.saturating_mul(1000) / usize::try_from(workload.capacity.max(1)).unwrap_or(1)
    }

    /// Counts one more request at an endpoint, until the value is dropped.
    pub fn busy(&self, endpoint: &WorkloadUid) -> Busy {
        let mut busy = self.busy.lock();
        // Endpoints that are gone and idle leave no trace.
        if busy.len() > 1024 {
            busy.retain(|_, count| Arc::strong_count(count) > 1);
        }
        let count = Arc::clone(busy.entry(endpoint.clone()).or_default());
        count.fetch_add(1, Ordering::Relaxed);
        Busy(count)
    }
}

/// One request at an endpoint.
#[derive(Debug)]
pub struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Busy {
    /// The request lasts until its answer has ended.
    pub fn until_end(self, body: Body) -> Body {
        if body.held().is_some() {
            return body;
        }
        Body::piped(Counted { body, busy: Some(self) })
    }
}

struct Counted {
    body: Body,
    busy: Option<Busy>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.busy = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
