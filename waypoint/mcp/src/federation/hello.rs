//! Beginning: with all servers at once, and with one of them again.

use std::sync::Arc;

use aws_lc_rs::{aead::NONCE_LEN, rand};
use bytes::Bytes;
use exchange::{CallError, Response};
use http::{HeaderValue, StatusCode};
use mesh::resource::McpServer;
use serde_json::{Map, Value, json};

use super::{
    Federation,
    sessions::{HELLO_MAX, Sessions, Upstream},
};
use crate::{
    courier::{Parcel, bare, read},
    head::SESSION,
    id::Id,
    message::Message,
    object::base_facts,
    refusal,
    rejection::{METHOD_NOT_FOUND, Rejection, UNSUPPORTED_VERSION},
    revision::{Era, Revision},
    scope::Scope,
    session::UPSTREAM_MAX,
};

/// How long the answer to a greeting may be, in bytes.
const GREETING_MAX: usize = 1 << 20;
/// How long the instructions of all servers together may be, in bytes.
const INSTRUCTIONS_MAX: usize = 16 * 1024;
/// What can be agreed on with a caller that opens a session.
const NEWEST_WITH_SESSIONS: Revision = Revision::V2025_11_25;

impl Federation<'_> {
    /// Opens a session at every server. Those that cannot be reached are opened when they are needed.
    pub(super) async fn initialize(&self, message: &Message, id: &Id) -> Response {
        let wanted = message.param("protocolVersion").and_then(Revision::from_name);
        let revision = wanted.filter(|it| it.era() == Era::Sessions).unwrap_or(NEWEST_WITH_SESSIONS);
        let hello = Hello::of(message, revision);
        let answers =
            self.ask_all(0..self.servers.len(), |at| self.greet(&self.servers[at], &hello, id)).await;
        let mut greeted = Vec::new();
        let mut lost = None;
        for (at, answer) in answers {
            match answer {
                Ok(greeting) => greeted.push((at, greeting)),
                Err(error) => {
                    self.lost(at, &error);
                    lost = Some(error);
                }
            }
        }
        if greeted.is_empty() {
            let error = lost.unwrap_or_else(|| CallError::Unresolved("the backend has no server".into()));
            return self.mcp.no_answer(self.exchange, self.opened, &error);
        }
        let sessions = Sessions {
            principal: Scope::of(self.exchange).principal(),
            place: self.place(),
            hello: hello.kept(),
            revision,
            servers: greeted.iter().map(|(_, greeting)| greeting.session.clone()).collect(),
        };
        let mut nonce = [0; NONCE_LEN];
        let sealed = rand::fill(&mut nonce).ok().and_then(|()| sessions.seal(&self.mcp.sealer, nonce));
        let Some((token, left_out)) = sealed else {
            let text = "the sessions of all servers do not fit in a token";
            return self.mcp.no_answer(self.exchange, self.opened, &CallError::BadAnswer(text.to_owned()));
        };
        if left_out > 0 {
            self.exchange.trail.note("mcp.sessions_later", left_out);
        }
        let results = greeted.iter().map(|(at, greeting)| (&*self.servers[*at].name, &greeting.result));
        let mut result = merged(results);
        result["protocolVersion"] = revision.name().into();
        result["serverInfo"] = self.info();
        let mut response = self.result(id, result);
        if let Ok(token) = HeaderValue::try_from(token) {
            response.headers_mut().insert(SESSION, token);
        }
        response
    }

    /// Says what all servers are together, to callers of the newest revision. If one of them does not speak it, that is
    /// the answer: the caller then begins with `initialize`, which all can.
    pub(super) async fn discover(&self, message: &Message, id: &Id) -> Response {
        let answers = self.ask_all(0..self.servers.len(), |at| {
            let raw = message.raw.clone();
            async move {
                let server = &self.servers[at];
                let facts = self.opened.objects.facts.clone();
                let session = bare(server, self.opened.revision);
                let came = self.courier.send(server, &session, Parcel::post(raw, facts, None)).await?;
                read(came.response, id, GREETING_MAX).await.map_err(CallError::BadAnswer)
            }
        });
        let mut known = Vec::new();
        let mut lost = None;
        for (at, answer) in answers.await {
            match answer {
                Ok(answered) if answered.value.get("result").is_some() => known.push((at, answered.value)),
                Ok(answered) => {
                    let code = answered.value.pointer("/error/code").and_then(Value::as_i64);
                    if matches!(code, Some(METHOD_NOT_FOUND | UNSUPPORTED_VERSION))
                        || answered.status.is_client_error()
                    {
                        let rejection =
                            Rejection::new(StatusCode::NOT_FOUND, METHOD_NOT_FOUND, "Method not found");
                        self.exchange.trail.note("mcp.older", &self.servers[at].name);
                        return refusal::json_response(
                            rejection.status,
                            rejection.of(Some(id.clone())).body(),
                        );
                    }
                    let error = CallError::BadAnswer("the server does not say what it is".to_owned());
                    self.lost(at, &error);
                    lost = Some(error);
                }
                Err(error) => {
                    self.lost(at, &error);
                    lost = Some(error);
                }
            }
        }
        if known.is_empty() {
            let error = lost.unwrap_or_else(|| CallError::Unresolved("the backend has no server".into()));
            return self.mcp.no_answer(self.exchange, self.opened, &error);
        }
        let results =
            known.iter().filter_map(|(at, value)| Some((&*self.servers[*at].name, value.get("result")?)));
        let mut result = merged(results);
        result["supportedVersions"] = json!([self.opened.revision.name()]);
        result["serverInfo"] = self.info();
        result["_meta"] = json!({"io.modelcontextprotocol/serverInfo": self.info()});
        result["ttlMs"] = 0.into();
        result["cacheScope"] = "private".into();
        self.result(id, result)
    }

    /// Opens a session at one server again, for a caller who has one here.
    pub(super) async fn open_again(&self, server: &McpServer) -> Result<Upstream, CallError> {
        let (Some(sessions), Some(token)) = (&self.sessions, self.opened.head.session.as_deref()) else {
            return Err(CallError::BadAnswer("the server knows no such session".to_owned()));
        };
        let hello = Hello::again(&sessions.hello, self.revision());
        let session = self.greet(server, &hello, &Id::Text("strait".into())).await?.session;
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        self.courier.send(server, &session, Parcel::post(ready.into(), base_facts(), None)).await?;
        self.mcp.openings.put(token, session.clone());
        Ok(session)
    }

    async fn greet(&self, server: &McpServer, hello: &Hello, id: &Id) -> Result<Greeting, CallError> {
        let body = json!({"jsonrpc": "2.0", "id": id.value(), "method": "initialize", "params": hello.0});
        let facts = mesh::facts::McpFacts { method: "initialize".into(), ..base_facts() };
        let parcel = Parcel::post(Bytes::from(body.to_string()), facts, None);
        let first = bare(server, hello.revision());
        let came = self.courier.send(server, &first, parcel).await?;
        let upstream = match came.response.headers().get(&SESSION).map(HeaderValue::to_str) {
            None => String::new(),
            Some(Ok(id)) if !id.is_empty() && id.len() <= UPSTREAM_MAX => id.to_owned(),
            Some(_) => return Err(CallError::BadAnswer("the session id is not one".to_owned())),
        };
        let answered = read(came.response, id, GREETING_MAX).await.map_err(CallError::BadAnswer)?;
        let Some(result) = answered.value.get("result").cloned() else {
            return Err(CallError::BadAnswer("the server opens no session".to_owned()));
        };
        let revision = result.get("protocolVersion").and_then(Value::as_str).and_then(Revision::from_name);
        let revision = revision.filter(|revision| revision.era() == Era::Sessions).ok_or_else(|| {
            CallError::BadAnswer("the server agrees on no revision that is known".to_owned())
        })?;
        // A server without sessions can be asked anywhere.
        let endpoint = (!upstream.is_empty()).then_some(came.endpoint);
        let session = Upstream { server: Arc::clone(&server.name), endpoint, id: upstream, revision };
        Ok(Greeting { session, result })
    }

    fn info(&self) -> Value {
        json!({"name": &*self.backend.name, "version": env!("CARGO_PKG_VERSION")})
    }
}

struct Greeting {
    session: Upstream,
    result: Value,
}

/// What a caller says of itself when it begins: the parameters of `initialize`.
struct Hello(Value);

impl Hello {
    fn of(message: &Message, revision: Revision) -> Self {
        let of = |name: &str| message.params.get(name).filter(|value| value.is_object()).cloned();
        let mut params = Map::new();
        params.insert("protocolVersion".to_owned(), revision.name().into());
        params.insert("capabilities".to_owned(), of("capabilities").unwrap_or_else(|| json!({})));
        let info = of("clientInfo").unwrap_or_else(|| json!({"name": "unknown", "version": "0"}));
        params.insert("clientInfo".to_owned(), info);
        Self(Value::Object(params))
    }

    fn again(kept: &str, revision: Revision) -> Self {
        let mut params: Value = serde_json::from_str(kept).unwrap_or_else(|_| json!({}));
        if !params.is_object() {
            params = json!({});
        }
        params["protocolVersion"] = revision.name().into();
        for (name, otherwise) in
            [("capabilities", json!({})), ("clientInfo", json!({"name": "unknown", "version": "0"}))]
        {
            if params.get(name).is_none() {
                params[name] = otherwise;
            }
        }
        Self(params)
    }

    fn revision(&self) -> Revision {
        let said = self.0.get("protocolVersion").and_then(Value::as_str);
        said.and_then(Revision::from_name).unwrap_or(NEWEST_WITH_SESSIONS)
    }

    /// As much of it as a token carries.
    fn kept(&self) -> String {
        let capabilities = self.0.get("capabilities").cloned().unwrap_or_default();
        let info = self.0.get("clientInfo").cloned().unwrap_or_default();
        let whole = json!({"capabilities": capabilities, "clientInfo": info}).to_string();
        if whole.len() <= HELLO_MAX {
            return whole;
        }
        let known = ["elicitation", "sampling", "roots"];
        let few: Map<String, Value> = known
            .iter()
            .filter(|name| capabilities.get(**name).is_some())
            .map(|name| ((*name).to_owned(), json!({})))
            .collect();
        json!({"capabilities": few}).to_string()
    }
}

/// What all servers can together, and what they say of their use. Experiments and tasks are of one server each and have
/// no meaning for several.
fn merged<'r>(results: impl Iterator<Item = (&'r str, &'r Value)>) -> Value {
    let mut capabilities = Map::new();
    let mut instructions = String::new();
    for (server, result) in results {
        let Some(theirs) = result.get("capabilities").and_then(Value::as_object) else { continue };
        for name in ["tools", "prompts", "resources", "logging", "completions"] {
            let Some(capability) = theirs.get(name).and_then(Value::as_object) else { continue };
            let ours = capabilities.entry(name).or_insert_with(|| json!({}));
            for flag in ["listChanged", "subscribe"] {
                if capability.get(flag) == Some(&Value::Bool(true)) {
                    ours[flag] = true.into();
                }
            }
        }
        if let Some(text) = result.get("instructions").and_then(Value::as_str)
            && instructions.len() + text.len() + server.len() + 4 <= INSTRUCTIONS_MAX
        {
            if !instructions.is_empty() {
                instructions.push_str("\n\n");
            }
            instructions.push_str(server);
            instructions.push_str(": ");
            instructions.push_str(text);
        }
    }
    let mut result = json!({"capabilities": capabilities});
    if !instructions.is_empty() {
        result["instructions"] = instructions.into();
    }
    result
}
