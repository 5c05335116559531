//! Errors with everything that caused them.

use std::error::Error;

use exchange::BodyError;

/// An error with everything that caused it.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A body error inside what hyper says of a failed request.
pub(crate) fn body_error(error: &(dyn Error + 'static)) -> Option<BodyError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<BodyError>() {
            return Some(error.clone());
        }
        next = error.source();
    }
    None
}
