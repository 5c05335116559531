//! Rewrites host and path of a request (Gateway API `HTTPURLRewriteFilter`).

use std::sync::Arc;

use exchange::{BoxFuture, Exchange, Filter, Step};
use http::{HeaderValue, Uri, header, uri::PathAndQuery};
use mesh::{
    Denial, Reason,
    resource::{self, PathRewrite},
};

use crate::broken::BrokenFilter;

/// A rewrite, compiled.
#[derive(Debug)]
pub struct Rule {
    host: Option<HeaderValue>,
    path: Option<PathRewrite>,
}

impl Rule {
    /// Compiles what a route says.
    ///
    /// # Errors
    /// When something is no host or path.
    pub fn compile(rewrite: &resource::Rewrite) -> Result<Self, BrokenFilter> {
        let host = rewrite.hostname.as_deref().map(check_host).transpose()?;
        if let Some(path) = &rewrite.path {
            check_path(path)?;
        }
        Ok(Self { host, path: rewrite.path.clone() })
    }
}

/// A host that may stand in a header and a URL.
pub(crate) fn check_host(host: &str) -> Result<HeaderValue, BrokenFilter> {
    let legal =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    let value = HeaderValue::from_str(host).ok().filter(|_| !host.is_empty() && host.bytes().all(legal));
    value.ok_or_else(|| BrokenFilter::Host(host.to_owned()))
}

/// A path that may stand in a URL.
pub(crate) fn check_path(path: &PathRewrite) -> Result<(), BrokenFilter> {
    let (PathRewrite::Full(text) | PathRewrite::Prefix(text)) = path;
    let legal = text.is_empty()
        || (text.starts_with('/') && !text.contains(['?', '#']) && text.parse::<PathAndQuery>().is_ok());
    if legal { Ok(()) } else { Err(BrokenFilter::Path(text.to_string())) }
}

/// The path after a rewrite. A prefix is replaced by whole segments, as the table of Gateway API's
/// `HTTPPathModifier` has it; where no prefix was matched, the path stays.
pub(crate) fn rewritten(rewrite: &PathRewrite, path: &str, matched_prefix: Option<&str>) -> String {
    let path = match rewrite {
        PathRewrite::Full(full) => full.to_string(),
        PathRewrite::Prefix(replacement) => {
            let rest = matched_prefix.and_then(|prefix| path.strip_prefix(prefix.trim_end_matches('/')));
            let Some(rest) = rest else { return path.to_owned() };
            format!("{}{rest}", replacement.trim_end_matches('/'))
        }
    };
    if path.is_empty() { "/".to_owned() } else { path }
}

/// The filter of one exchange.
#[derive(Debug)]
pub struct Rewrite(pub Arc<Rule>);

impl Filter for Rewrite {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        if let Some(host) = &self.0.host {
            exchange.request.headers_mut().insert(header::HOST, host.clone());
        }
        let mut step = Step::Continue;
        if let Some(path) = &self.0.path {
            let uri = exchange.request.uri();
            let path = rewritten(path, uri.path(), exchange.matched_prefix.as_deref());
            match with_path(uri, &path) {
                Some(uri) => *exchange.request.uri_mut() = uri,
                None => {
                    step = Step::Refuse(Denial::plain(Reason::Malformed, "the rewritten path is no path"))
                }
            }
        }
        Box::pin(std::future::ready(step))
    }
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(text).ok()?);
    Uri::from_parts(parts).ok()
}
