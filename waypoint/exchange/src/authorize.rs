//! What an external authorizer that says yes changes of a request's head.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Changes of a request's head. Whoever makes them has left out what no authorizer may touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Fields that are set; the last says whether the value is added to what is there.
    pub set: Vec<(HeaderName, HeaderValue, bool)>,
    /// Fields that are taken away, before others are set.
    pub remove: Vec<HeaderName>,
}

impl Changes {
    /// Makes them.
    pub fn apply(self, headers: &mut HeaderMap) {
        for name in self.remove {
            headers.remove(name);
        }
        for (name, value, append) in self.set {
            if append {
                headers.append(name, value);
            } else {
                headers.insert(name, value);
            }
        }
    }
}
