//! Who answers an exchange once its filters let it pass.

use mesh::Denial;

use crate::{BoxFuture, Convention, Exchange, Response, Upstreams, answer};

/// Answers exchanges: by forwarding, by a protocol of its own, or by something fixed.
pub trait Responder: Send + Sync {
    /// Answers. It reaches the world only through `upstreams`, zero to many times; errors become responses here
    /// (usually by [`crate::answer`]).
    fn respond<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        upstreams: &'a dyn Upstreams,
    ) -> BoxFuture<'a, Response>;

    /// Answers an exchange that a filter refused, in the error shape of its protocol. It records the refusal
    /// ([`Exchange::refused`]).
    fn refuse(&self, exchange: &Exchange, denial: &Denial) -> Response {
        answer::denial(exchange, Convention::of(exchange.request.headers()), denial)
    }
}
