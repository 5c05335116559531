//! The gRPC side of the publisher: one stream, all types.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use proto::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
    aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
};
use tonic::{Request, Response, Status, Streaming};

use super::{Link, Publisher};
use crate::{Authenticate, caller::of_call};

/// Most bytes of one request: versions of everything that a proxy holds.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;

/// The delta discovery service, to be added to a tonic router.
pub type DiscoveryServer = AggregatedDiscoveryServiceServer<Discovery>;

/// Serves delta discovery.
pub struct Discovery {
    publisher: Publisher,
    authenticate: Arc<dyn Authenticate>,
}

impl Publisher {
    /// The service, for callers that `authenticate` knows.
    pub fn service(&self, authenticate: Arc<dyn Authenticate>) -> DiscoveryServer {
        AggregatedDiscoveryServiceServer::new(Discovery { publisher: self.clone(), authenticate })
            .max_decoding_message_size(REQUEST_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type DeltaAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let caller = of_call(request.metadata(), &*self.authenticate).await?;
        tracing::debug!(%caller, "subscribed");
        let served = Served {
            link: self.publisher.subscribe(caller),
            incoming: request.into_inner(),
            ready: VecDeque::new(),
            ended: false,
        };
        Ok(Response::new(Box::pin(stream::unfold(served, Served::next))))
    }
}

/// One stream being served. It reads only while it has nothing to send, so a slow reader slows itself alone.
struct Served {
    link: Link,
    incoming: Streaming<DeltaDiscoveryRequest>,
    ready: VecDeque<DeltaDiscoveryResponse>,
    ended: bool,
}

impl Served {
    async fn next(mut self) -> Option<(Result<DeltaDiscoveryResponse, Status>, Self)> {
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

    /// Fills `ready`, or waits for something to happen; false at the end.
    async fn step(&mut self) -> Result<bool, Status> {
        self.ready.extend(self.link.push()?);
        if self.ready.is_empty() {
            tokio::select! {
                request = self.incoming.message() => match request? {
                    Some(request) => self.link.take(request)?,
                    None => return Ok(false),
                },
                () = self.link.woken() => {}
            }
        }
        Ok(true)
    }
}
