//! A guard elsewhere: content is posted to it, and it says yes or no. Whatever else it does is a no.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use exchange::{Asking, Body, Errands, Request};
use http::{HeaderValue, Method, StatusCode, header};
use mesh::{Denial, Facts, Reason, facts::Fact, resource::Direction};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::compile::Rules;

/// Bytes of its answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Characters of its reason that are kept.
const REASON_MAX: usize = 256;

/// Asks the guards elsewhere of one exchange.
#[derive(Debug, Clone)]
pub struct External {
    rules: Rules,
    errands: Errands,
    facts: Arc<Facts>,
}

/// What a guard answers.
#[derive(Debug, Deserialize)]
struct Answer {
    allow: bool,
    #[serde(default)]
    reason: Option<String>,
}

impl External {
    /// Asks in the matter of an exchange with these facts.
    pub fn new(rules: Rules, errands: Errands, facts: Arc<Facts>) -> Self {
        Self { rules, errands, facts }
    }

    /// True if somebody is asked in this direction.
    pub fn asks(&self, direction: Direction) -> bool {
        self.rules.guards.iter().any(|guard| guard.asks(direction))
    }

    /// Asks everybody whom content of this direction concerns. Guards in audit are asked too, and never refuse: what
    /// they would have refused is returned.
    ///
    /// # Errors
    /// When one says no, or does not say yes.
    pub async fn ask(&self, direction: Direction, content: &Bytes) -> Result<Vec<Denial>, Denial> {
        let mut shadows = Vec::new();
        for guard in self.rules.guards.iter().filter(|guard| guard.asks(direction)) {
            let Some(external) = &guard.guard.external else { continue };
            let question = self.question(direction, content);
            let said = match question {
                Some(question) => {
                    self.one(&external.target, &external.path, external.timeout.into(), question).await
                }
                None => Err("the content is no text".to_owned()),
            };
            let denial = match said {
                Ok(Answer { allow: true, .. }) => continue,
                Ok(Answer { reason, .. }) => {
                    let reason: String = reason
                        .unwrap_or_default()
                        .chars()
                        .filter(|it| !it.is_control())
                        .take(REASON_MAX)
                        .collect();
                    guard.denial(
                        Reason::GuardRefused,
                        "external",
                        format!("the external guard says no: {reason}"),
                    )
                }
                Err(error) => guard.denial(
                    Reason::GuardFailed,
                    "external",
                    format!("the external guard gives no answer: {error}"),
                ),
            };
            if guard.enforces() {
                return Err(denial);
            }
            shadows.push(denial);
        }
        Ok(shadows)
    }

    async fn one(
        &self,
        target: &mesh::resource::BackendTarget,
        path: &str,
        timeout: Duration,
        question: Value,
    ) -> Result<Answer, String> {
        let mut request = Request::new(Body::held_bytes(question.to_string()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().map_err(|_| format!("{path:?} is no path"))?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.extensions_mut().insert(Asking);
        let answer = self.errands.send(target, request, timeout, ANSWER_BYTES_MAX).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the status is {}", answer.status()));
        }
        serde_json::from_slice(answer.body()).map_err(|_| "the answer is not {\"allow\": …}".to_owned())
    }

    /// What it is told. `None`: the content is no text.
    fn question(&self, direction: Direction, content: &Bytes) -> Option<Value> {
        let text = std::str::from_utf8(content).ok()?;
        let content = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        let (protocol, method) = match &*self.facts {
            Facts { mcp: Fact::Known(mcp), .. } => ("mcp", mcp.method.to_string()),
            Facts { a2a: Fact::Known(a2a), .. } => ("a2a", a2a.method.to_string()),
            Facts { llm: Fact::Known(llm), .. } => ("llm", llm.operation.to_string()),
            facts => ("http", facts.http.known().map(|http| http.method.to_string()).unwrap_or_default()),
        };
        let user = self.facts.user.as_ref();
        Some(json!({
            "direction": if direction == Direction::Request { "request" } else { "response" },
            "protocol": protocol,
            "method": method,
            "caller": {
                "workload": self.facts.caller.workload.verified().map(ToString::to_string),
                "user": user.map(|user| json!({"issuer": user.issuer, "subject": user.subject})),
            },
            "content": content,
        }))
    }
}
