//! Refuses what was decided before the filters ran, at the place where it may be told.

use exchange::{BoxFuture, Exchange, Filter, Step};
use mesh::Denial;

/// Refuses, once.
#[derive(Debug)]
pub struct Refused {
    name: &'static str,
    denial: Option<Denial>,
}

impl Refused {
    /// Refuses with this denial, under this name.
    pub fn new(name: &'static str, denial: Denial) -> Self {
        Self { name, denial: Some(denial) }
    }
}

impl Filter for Refused {
    fn name(&self) -> &'static str {
        self.name
    }

    fn request<'a>(&'a mut self, _: &'a mut Exchange) -> BoxFuture<'a, Step> {
        let step = self.denial.take().map_or(Step::Continue, Step::Refuse);
        Box::pin(std::future::ready(step))
    }
}
