//! The pages of questions: why, may this one, who may, what may this one reach, and what would a policy change.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use authority::rotation::Direction;
use bytes::Bytes;
use http::StatusCode;
use mesh::Identity;
use runtime::{Admin, Answer, Query};
use serde_json::json;
use translate::Since;

use super::Shown;
use crate::{
    commands, decisions, explain,
    questions::{self, Published, Question},
    root::Asked,
    status::seconds,
};

/// How far back decisions are tried where the question does not say, in seconds.
const TRIED_SINCE: u64 = 3600;

/// Adds the pages.
pub(super) fn add(admin: Admin, shown: &Shown) -> Admin {
    let page = |answer: fn(&Shown, &Query) -> Result<Answer, String>| {
        let shown = shown.clone();
        move |query: Query| said(answer(&shown, &query))
    };
    let (tried, revoked, rotated) = (shown.clone(), shown.clone(), shown.clone());
    admin
        .page("/v1/explain", "why: ?id=, or ?from= &to= and what is done, as /v1/can", page(explained))
        .page(
            "/v1/can",
            "may ?from= call ?to= &tool= &arg= &method= &path= &message= &skill= &model= &provider= &user= &claim=",
            page(can),
        )
        .page("/v1/who-can", "who may call ?to= and what is done, as /v1/can", page(who_can))
        .page("/v1/reach", "what ?from= may use", page(reach))
        .action_on("/v1/try", "what the objects in the body would change: ?since=SECONDS", move |query, body| {
            let shown = tried.clone();
            async move { said(tried_on(&shown, &query, &body).await) }
        })
        .action("/v1/revoke", "?identity= must stop now; a newer certificate of it is good", move |query| {
            let shown = revoked.clone();
            async move { said(revoke(&shown, &query).await) }
        })
        .action("/v1/root", "the root: ?do=status, rotate, advance or back; &without= names a link", move |query| {
            let shown = rotated.clone();
            async move { said(root(&shown, &query).await) }
        })
}

fn said(answer: Result<Answer, String>) -> Answer {
    answer.unwrap_or_else(|why| Answer::status(StatusCode::BAD_REQUEST, why))
}

/// Taken from the publisher first, so that it does not wait for the answer.
fn published(shown: &Shown) -> Published {
    Published::of(shown.publisher.read(Published::resources))
}

fn explained(shown: &Shown, query: &Query) -> Result<Answer, String> {
    match query.get("id") {
        Some(id) => Ok(Answer::json(&explain::by_id(&shown.reports, id)?)),
        None => can(shown, query),
    }
}

fn can(shown: &Shown, query: &Query) -> Result<Answer, String> {
    let question = Question::read(query, &shown.trust_domain)?;
    Ok(Answer::json(&questions::answer(&published(shown), &question, &shown.trust_domain)?))
}

fn who_can(shown: &Shown, query: &Query) -> Result<Answer, String> {
    Ok(Answer::json(&questions::who_can(&published(shown), query, &shown.trust_domain)?))
}

fn reach(shown: &Shown, query: &Query) -> Result<Answer, String> {
    Ok(Answer::json(&questions::reach(&published(shown), query, &shown.trust_domain)?))
}

async fn tried_on(shown: &Shown, query: &Query, body: &Bytes) -> Result<Answer, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the file is not UTF-8".to_owned())?;
    let objects = commands::read(text, &shown.compiler)?;
    let span = match query.get("since") {
        Some(text) => text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?,
        None => TRIED_SINCE,
    };
    let since = SystemTime::now().checked_sub(Duration::from_secs(span)).unwrap_or(UNIX_EPOCH);
    let wanted = decisions::Wanted { since: seconds(since), ..decisions::Wanted::default() };
    let decided = shown.reports.decisions(&wanted);
    let then = shown.commands.draft(objects).await?;
    let judged: u64 = decided.iter().map(|row| row.count).sum();
    let changes = questions::changes(&published(shown), &then, &decided);
    Ok(Answer::json(&json!({"since_seconds": span, "decisions": judged, "changes": changes})))
}

async fn revoke(shown: &Shown, query: &Query) -> Result<Answer, String> {
    let text = query.get("identity").ok_or("say whom: a SPIFFE identity, or NAMESPACE/SERVICE-ACCOUNT")?;
    let identity: Identity = match text.split_once('/') {
        Some((namespace, account)) if !text.starts_with("spiffe://") => {
            Identity::of_service_account(&shown.trust_domain, namespace, account)
                .map_err(|it| it.to_string())?
        }
        _ => text.parse().map_err(|cause: mesh::identity::IdentityError| cause.to_string())?,
    };
    let issued_before = seconds(SystemTime::now());
    let reason = query.get("reason").unwrap_or("revoked by strait revoke").into();
    shown.commands.revoke(identity.clone(), Since { issued_before, reason }).await?;
    let at = crate::status::time_text(issued_before);
    Ok(Answer::json(&json!({"identity": identity.to_string(), "issued_before": at})))
}

async fn root(shown: &Shown, query: &Query) -> Result<Answer, String> {
    let excused =
        || query.get("without").into_iter().flat_map(|text| text.split(',')).map(str::to_owned).collect();
    let asked = match query.get("do") {
        Some("status") => Asked::Status,
        Some("rotate") => Asked::Rotate,
        Some("advance") => Asked::Step(Direction::Advance, excused()),
        Some("back") => Asked::Step(Direction::Back, excused()),
        _ => return Err("say what to do: status, rotate, advance or back".to_owned()),
    };
    Ok(Answer::json(&shown.commands.root(asked).await?))
}
