//! Who answers an exchange once its filters let it pass.

use crate::{BoxFuture, Exchange, Response, Upstreams};

/// Answers exchanges: by forwarding, by a protocol of its own, or by something fixed.
pub trait Responder: Send + Sync {
    /// Answers. It reaches the world only through `upstreams`, zero to many times; errors become responses here
    /// (usually by [`crate::answer`]).
    fn respond<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        upstreams: &'a dyn Upstreams,
    ) -> BoxFuture<'a, Response>;
}
