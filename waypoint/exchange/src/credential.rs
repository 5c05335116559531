//! What a gateway shows to an upstream in place of its callers' credentials.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use mesh::resource::{AuthScheme, UpstreamAuth};

use crate::{CallError, Known};

/// Headers by which callers show who they are; none of them goes on to a server of an AgentBackend.
const OF_CALLERS: [HeaderName; 2] = [header::AUTHORIZATION, HeaderName::from_static("x-api-key")];

/// Takes the caller's credentials out, and puts the backend's own in, if there are any.
///
/// # Errors
/// When the Secret, or the key in it, is not held or cannot stand in a header.
pub fn apply(
    known: &dyn Known,
    auth: Option<&UpstreamAuth>,
    headers: &mut HeaderMap,
) -> Result<(), CallError> {
    for name in &OF_CALLERS {
        headers.remove(name);
    }
    let Some(auth) = auth else { return Ok(()) };
    let missing = |what: &str| CallError::Unresolved(Arc::from(format!("{} {what}", auth.secret)));
    let secret = known.secret(&auth.secret).ok_or_else(|| missing("is not held"))?;
    let value = secret.data.get(&auth.key).ok_or_else(|| missing(&format!("has no key {}", auth.key)))?;
    let (name, text) = match &auth.scheme {
        AuthScheme::Bearer => (header::AUTHORIZATION, format!("Bearer {}", value.reveal().trim())),
        AuthScheme::Header(name) => {
            let name = HeaderName::from_bytes(name.as_bytes());
            (name.map_err(|_| missing("is for a header that has no name"))?, value.reveal().trim().to_owned())
        }
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| missing("holds what no header may"))?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}
