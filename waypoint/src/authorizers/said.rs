//! What an authorizer said.

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use exchange::Changes;

/// What an authorizer said.
#[derive(Debug)]
pub enum Said {
    /// It may pass, with these changes.
    Yes(Changes),
    /// It may not, and the caller is answered with this.
    No {
        /// The status: never one that lets something through.
        status: StatusCode,
        /// Headers, of which some do not go on.
        headers: HeaderMap,
        /// The body.
        body: Bytes,
    },
}

/// The status of a refusal: none that lets something through.
pub(super) fn refusing(status: u16) -> StatusCode {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    if (300..600).contains(&status.as_u16()) { status } else { StatusCode::FORBIDDEN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_has_a_status_of_a_no() {
        for (status, expected) in
            [(0, 403), (200, 403), (204, 403), (302, 302), (401, 401), (503, 503), (999, 403)]
        {
            assert_eq!(refusing(status).as_u16(), expected, "{status}");
        }
    }
}
