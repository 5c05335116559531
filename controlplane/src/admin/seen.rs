//! The pages of what was seen: spans, decisions and refusals, chosen by who, what and when.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use runtime::{Admin, Answer, Query, trace::TraceId};

use super::Shown;
use crate::{
    decisions,
    reports::{Reports, Wanted},
    spans,
    status::seconds,
};

/// How far back refusals are shown where the question does not say.
const REFUSED_SINCE: Duration = Duration::from_secs(600);
/// How far back decisions are shown where the question does not say.
const DECIDED_SINCE: Duration = Duration::from_secs(decisions::KEPT_FOR);
/// How many spans are shown where the question does not say.
const SPANS_SHOWN: usize = 50;

/// Adds the pages.
pub(super) fn add(admin: Admin, shown: &Shown) -> Admin {
    let page = |show: fn(&Reports, &Query) -> Result<Answer, String>| {
        let reports = shown.reports.clone();
        move |query: Query| {
            show(&reports, &query).unwrap_or_else(|why| Answer::status(StatusCode::BAD_REQUEST, why))
        }
    };
    admin
        .page("/v1/spans", "?trace=ID, or the latest: ?last=COUNT &from= &to= &tool=", page(spans_page))
        .page(
            "/v1/decisions",
            "what was decided, in audit too: ?since=SECONDS &policy= &from= &to=",
            page(decisions_page),
        )
        .page(
            "/v1/refusals",
            "what was refused, in order: ?since=SECONDS &from= &to= &after=ID",
            page(refusals_page),
        )
}

fn spans_page(reports: &Reports, query: &Query) -> Result<Answer, String> {
    if let Some(trace) = query.get("trace") {
        let trace: TraceId = trace.parse().map_err(|_| format!("{trace:?} is no trace id: 32 hex digits"))?;
        return Ok(Answer::json(&reports.trace(trace)));
    }
    let last = match query.get("last") {
        Some(text) => text.parse().map_err(|_| format!("{text:?} is no number of spans"))?,
        None => SPANS_SHOWN,
    };
    let wanted =
        spans::Wanted { from: text(query, "from"), to: text(query, "to"), tool: text(query, "tool") };
    Ok(Answer::json(&reports.spans(&wanted, last)))
}

fn decisions_page(reports: &Reports, query: &Query) -> Result<Answer, String> {
    let wanted = decisions::Wanted {
        since: seconds(since(query, DECIDED_SINCE)?),
        policy: text(query, "policy"),
        from: text(query, "from"),
        to: text(query, "to"),
    };
    Ok(Answer::json(&reports.decisions(&wanted)))
}

fn refusals_page(reports: &Reports, query: &Query) -> Result<Answer, String> {
    let after = query.get("after").map(str::parse).transpose();
    let wanted = Wanted {
        since: Some(since(query, REFUSED_SINCE)?),
        from: text(query, "from"),
        to: text(query, "to"),
        after: after.map_err(|error: wire::report::IdError| error.to_string())?,
    };
    Ok(Answer::json(&reports.refusals(&wanted)))
}

fn text(query: &Query, name: &str) -> Option<String> {
    query.get(name).map(str::to_owned)
}

fn since(query: &Query, default: Duration) -> Result<SystemTime, String> {
    let span = match query.get("since") {
        Some(text) => {
            Duration::from_secs(text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?)
        }
        None => default,
    };
    Ok(SystemTime::now().checked_sub(span).unwrap_or(SystemTime::UNIX_EPOCH))
}
