//! The parts of a match besides the path: method, headers, query.

use std::sync::Arc;

use mesh::{
    facts::HttpFacts,
    matching::{MatchError, Named},
    resource::{NamedMatch, RouteMatch},
};

use crate::query;

/// Method, headers and query of one match.
#[derive(Debug)]
pub(crate) struct Conditions {
    method: Option<Arc<str>>,
    headers: Vec<Named>,
    query: Vec<Named>,
}

impl Conditions {
    pub(crate) fn compile(of: &RouteMatch) -> Result<Self, MatchError> {
        let named = |terms: &[NamedMatch]| terms.iter().map(Named::new).collect::<Result<Vec<_>, _>>();
        Ok(Self { method: of.method.clone(), headers: named(&of.headers)?, query: named(&of.query)? })
    }

    pub(crate) fn hold(&self, http: &HttpFacts, query: Option<&str>) -> bool {
        self.method.as_ref().is_none_or(|method| *method == http.method)
            && self
                .headers
                .iter()
                .all(|term| term.matches(http.headers.get(&term.name).map(|value| &**value)))
            && self
                .query
                .iter()
                .all(|term| term.matches(query.and_then(|query| query::first(query, &term.name)).as_deref()))
    }
}
