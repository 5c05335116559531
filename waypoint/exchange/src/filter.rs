//! Filters: what meets a request on its way in and its response on the way out, in reverse.
//!
//! A filter is made for one exchange and may keep what it needs between the two sides. Its end is told exactly once,
//! also when the caller leaves before there is a response.

use std::sync::Arc;

use mesh::Denial;

use crate::{BodyError, BoxFuture, Exchange, Response, Trail};

/// What a filter says to a request.
#[derive(Debug)]
pub enum Step {
    /// Go on.
    Continue,
    /// Refuse.
    Refuse(Denial),
    /// Answer in the responder's place.
    Answer(Response),
}

/// How an exchange ended.
#[derive(Debug, Clone)]
pub enum End {
    /// The response was sent to its end.
    Complete,
    /// The caller left before.
    CallerLeft,
    /// The response broke off.
    Broken(BodyError),
    /// It was closed from outside.
    Closed(Arc<Denial>),
}

/// One filter in one exchange.
pub trait Filter: Send {
    /// Its name, for logs.
    fn name(&self) -> &'static str;

    /// Meets the request.
    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        let _ = exchange;
        Box::pin(std::future::ready(Step::Continue))
    }

    /// Meets the response.
    fn response<'a>(
        &'a mut self,
        exchange: &'a mut Exchange,
        response: &'a mut Response,
    ) -> BoxFuture<'a, ()> {
        let _ = (exchange, response);
        Box::pin(std::future::ready(()))
    }

    /// The exchange ended. Called once, if the filter met the request.
    fn on_end(&mut self, trail: &Trail, end: &End) {
        let _ = (trail, end);
    }
}

/// The filters of one exchange, in order. When it is dropped without [`Chain::end`], the caller has left.
pub struct Chain {
    filters: Vec<Box<dyn Filter>>,
    // How many have met the request.
    met: usize,
    trail: Trail,
    ended: bool,
}

impl Chain {
    /// These filters, in this order.
    pub fn new(filters: Vec<Box<dyn Filter>>, trail: Trail) -> Self {
        Self { filters, met: 0, trail, ended: false }
    }

    /// Leads the request through the filters until one does not let it go on.
    pub async fn request(&mut self, exchange: &mut Exchange) -> Step {
        for filter in &mut self.filters {
            self.met += 1;
            match filter.request(exchange).await {
                Step::Continue => {}
                stop => return stop,
            }
        }
        Step::Continue
    }

    /// Leads the response back through the filters that met the request.
    pub async fn response(&mut self, exchange: &mut Exchange, response: &mut Response) {
        for filter in self.filters.iter_mut().take(self.met).rev() {
            filter.response(exchange, response).await;
        }
    }

    /// Tells the filters that met the request how it ended. Only the first call counts.
    pub fn end(&mut self, end: &End) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        for filter in self.filters.iter_mut().take(self.met).rev() {
            filter.on_end(&self.trail, end);
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.end(&End::CallerLeft);
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.filters.iter().map(|filter| filter.name())).finish()
    }
}
