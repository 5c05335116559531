//! `strait revoke`: an identity stops now.

use crate::{args::Revoke, client::Running, output};

pub(crate) async fn run(arguments: &Revoke) -> anyhow::Result<()> {
    let running = Running::find(&arguments.at.state)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("identity", &arguments.identity);
    if let Some(reason) = &arguments.reason {
        query.append_pair("reason", reason);
    }
    let page = format!("/v1/revoke?{}", query.finish());
    let answer = running.post(&arguments.at.state, &page, String::new()).await?;
    let of = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let people = format!(
        "{} is revoked: certificates issued before {} are refused here and in every linked cluster",
        of("identity"),
        of("issued_before")
    );
    output::one(arguments.at.output, &answer, &people)
}
