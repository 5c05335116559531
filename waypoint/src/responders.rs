//! The responders that know no protocol of agents: one forwards, one answers by itself.

use exchange::{
    Backend, BoxFuture, Convention, Exchange, Responder, Response, Upstreams, answer, credential,
};
use mesh::{Denial, resource::BackendKind};

/// Sends the request on and the answer back.
#[derive(Debug, Default)]
pub struct Forward;

impl Responder for Forward {
    fn respond<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        upstreams: &'a dyn Upstreams,
    ) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let convention = Convention::of(exchange.request.headers());
            let mut request = exchange.take_request();
            let target = match &exchange.backend {
                Backend::Agent(agent) => match &agent.kind {
                    BackendKind::Host { target, auth } => {
                        // What the caller shows us is not for others.
                        let applied =
                            credential::apply(&*exchange.known, auth.as_ref(), request.headers_mut());
                        if let Err(error) = applied {
                            return answer::failure(exchange, convention, &error);
                        }
                        target.clone()
                    }
                    _ => exchange.backend.target(),
                },
                backend => backend.target(),
            };
            let call = exchange.call(target, request);
            match upstreams.call(call).await {
                Ok(reply) => reply.response,
                Err(error) => answer::failure(exchange, convention, &error),
            }
        })
    }
}

/// Answers with a refusal that is known beforehand: a route that leads nowhere, a backend that cannot be realised.
#[derive(Debug)]
pub struct Fixed(pub Denial);

impl Responder for Fixed {
    fn respond<'a>(&'a self, exchange: &'a mut Exchange, _: &'a dyn Upstreams) -> BoxFuture<'a, Response> {
        let response = self.refuse(exchange, &self.0);
        Box::pin(std::future::ready(response))
    }
}

/// Answers that what is spoken is not built.
#[derive(Debug, Clone, Copy)]
pub struct NotBuilt(pub &'static str);

impl Responder for NotBuilt {
    fn respond<'a>(&'a self, exchange: &'a mut Exchange, _: &'a dyn Upstreams) -> BoxFuture<'a, Response> {
        let denial = Denial::plain(mesh::Reason::NotBuilt, format!("{} is not built", self.0));
        Box::pin(std::future::ready(self.refuse(exchange, &denial)))
    }
}
