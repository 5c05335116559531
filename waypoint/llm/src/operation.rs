//! Which API a request speaks, and what it asks for.

use http::{HeaderMap, Method};
use mesh::resource::LlmApi;

/// The API in which a caller is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's chat completions (and embeddings and models: they say errors alike).
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/responses`.
    Responses,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `GET /v1/models`, in the shape of this API.
    Models(Dialect),
    /// `GET /v1/models/NAME`.
    Model(Dialect, String),
}

/// The header by which Anthropic's clients say the version of the API.
pub const ANTHROPIC_VERSION: &str = "anthropic-version";

impl Operation {
    /// What this request asks for; `None`: nothing that is served here.
    pub fn of(method: &Method, path: &str, headers: &HeaderMap) -> Option<Self> {
        let path = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let listed = if headers.contains_key(ANTHROPIC_VERSION) { Dialect::Messages } else { Dialect::Chat };
        match (method, path) {
            (&Method::POST, "/chat/completions") => Some(Self::Chat),
            (&Method::POST, "/responses") => Some(Self::Responses),
            (&Method::POST, "/embeddings") => Some(Self::Embeddings),
            (&Method::POST, "/messages") => Some(Self::Messages),
            (&Method::POST, "/messages/count_tokens") => Some(Self::CountTokens),
            (&Method::GET, "/models") => Some(Self::Models(listed)),
            (&Method::GET, _) => {
                let name = path.strip_prefix("/models/").filter(|name| !name.is_empty())?;
                Some(Self::Model(listed, unescape(name)))
            }
            _ => None,
        }
    }

    /// How the caller is told of errors, where a request is none that is served: by its path and headers.
    pub fn dialect_of(path: &str, headers: &HeaderMap) -> Dialect {
        if headers.contains_key(ANTHROPIC_VERSION) || path.contains("/messages") {
            Dialect::Messages
        } else {
            Dialect::Chat
        }
    }

    /// The API in which it is answered.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Chat | Self::Embeddings => Dialect::Chat,
            Self::Responses => Dialect::Responses,
            Self::Messages | Self::CountTokens => Dialect::Messages,
            Self::Models(dialect) | Self::Model(dialect, _) => *dialect,
        }
    }

    /// Its name in facts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Messages | Self::CountTokens => "messages",
            Self::Models(_) | Self::Model(..) => "models",
        }
    }

    /// True if models are only listed.
    pub fn lists(&self) -> bool {
        matches!(self, Self::Models(_) | Self::Model(..))
    }

    /// In which dialect a provider of this API is asked; `None`: it has no form there.
    pub fn upstream(&self, api: LlmApi) -> Option<Dialect> {
        match (self, api) {
            (Self::Responses, LlmApi::OpenAi) => Some(Dialect::Responses),
            (Self::Chat | Self::Messages | Self::Embeddings, LlmApi::OpenAi) => Some(Dialect::Chat),
            (Self::Chat | Self::Messages | Self::Responses | Self::CountTokens, LlmApi::Anthropic) => {
                Some(Dialect::Messages)
            }
            _ => None,
        }
    }

    /// The path at a provider of this dialect, after its prefix.
    pub fn path(&self, upstream: Dialect) -> &'static str {
        match (self, upstream) {
            (Self::Embeddings, _) => "/embeddings",
            (Self::CountTokens, _) => "/messages/count_tokens",
            (_, Dialect::Chat) => "/chat/completions",
            (_, Dialect::Responses) => "/responses",
            (_, Dialect::Messages) => "/messages",
        }
    }
}

/// Names of models hold slashes, which clients may escape; `facts` refuses `%2F` before this, so only the colon and
/// the like remain.
fn unescape(name: &str) -> String {
    let mut out = Vec::with_capacity(name.len());
    let bytes = name.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_is_asked_for() {
        let plain = HeaderMap::new();
        let mut anthropic = HeaderMap::new();
        anthropic.insert(ANTHROPIC_VERSION, http::HeaderValue::from_static("2023-06-01"));
        for (method, path, headers, expected) in [
            (Method::POST, "/v1/chat/completions", &plain, Some(Operation::Chat)),
            (Method::POST, "/chat/completions", &plain, Some(Operation::Chat)),
            (Method::POST, "/v1/responses", &plain, Some(Operation::Responses)),
            (Method::POST, "/v1/embeddings", &plain, Some(Operation::Embeddings)),
            (Method::POST, "/v1/messages", &anthropic, Some(Operation::Messages)),
            (Method::POST, "/v1/messages/count_tokens", &anthropic, Some(Operation::CountTokens)),
            (Method::GET, "/v1/models", &plain, Some(Operation::Models(Dialect::Chat))),
            (Method::GET, "/v1/models", &anthropic, Some(Operation::Models(Dialect::Messages))),
            (Method::GET, "/v1/models/a%3Ab", &plain, Some(Operation::Model(Dialect::Chat, "a:b".into()))),
            (Method::GET, "/v1/models/", &plain, None),
            (Method::GET, "/v1/chat/completions", &plain, None),
            (Method::POST, "/v1/chat/completions/", &plain, None),
            (Method::POST, "/v1chat/completions", &plain, None),
            (Method::GET, "/v1/responses/resp_1", &plain, None),
            (Method::POST, "/v1/audio/speech", &plain, None),
            (Method::DELETE, "/v1/models/x", &plain, None),
        ] {
            assert_eq!(Operation::of(&method, path, headers), expected, "{method} {path}");
        }
    }

    #[test]
    fn what_has_no_form_at_a_provider_is_known() {
        let none = |operation: Operation, api| assert_eq!(operation.upstream(api), None, "{operation:?}");
        none(Operation::Embeddings, LlmApi::Anthropic);
        none(Operation::CountTokens, LlmApi::OpenAi);
        assert_eq!(Operation::Responses.upstream(LlmApi::Anthropic), Some(Dialect::Messages));
        assert_eq!(Operation::Messages.path(Dialect::Chat), "/chat/completions");
    }
}
