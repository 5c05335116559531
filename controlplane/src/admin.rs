//! The admin pages of a control plane: what is, as JSON for the command and for people.

mod asked;
mod rows;
mod seen;
mod shown;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use runtime::{Admin, Answer, DrainWatch};
use serde_json::{Value, json};
use transport::Listener;

pub(crate) use shown::Shown;

/// How far back refusals are shown where the question does not say, in seconds.
const SINCE_DEFAULT: u64 = 600;

/// The token that changes need, in the state directory.
const TOKEN_FILE: &str = "admin-token";

/// A page of rows: where it is, what it shows, and how it is made.
type Table = (&'static str, &'static str, fn(&Shown) -> Value);

/// Serves the pages until the drain begins.
pub(crate) async fn serve(listener: Listener, pages: Arc<Admin>, mut drain: DrainWatch) {
    loop {
        let socket = tokio::select! {
            socket = listener.accept() => socket,
            () = drain.draining() => return,
        };
        match socket {
            Ok(socket) => drop(tokio::spawn(Arc::clone(&pages).serve(socket, drain.clone()))),
            Err(cause) => tracing::warn!(%cause, "the admin page cannot accept"),
        }
    }
}

/// The pages.
pub(crate) fn pages(shown: Shown) -> Admin {
    let mut admin = Admin::new();
    let tables: [Table; 12] = [
        ("/v1/workloads", "what runs where, under which identity", rows::workloads),
        ("/v1/services", "names, addresses, endpoints, waypoints", rows::services),
        ("/v1/routes", "where requests are led", rows::routes),
        ("/v1/policies", "who may do what, and how far each policy came", rows::policies),
        ("/v1/certificates", "the certificates that were issued last", rows::certificates),
        ("/v1/connections", "who reached for what lately, and what was decided", rows::connections),
        ("/v1/proxies", "who is subscribed, and what it refused", rows::proxies),
        ("/v1/links", "other clusters", rows::links),
        ("/v1/problems", "objects and files that are not accepted", rows::problems),
        ("/v1/objects", "every object as it was admitted", rows::objects),
        ("/v1/statuses", "the statuses of objects", |shown| shown.statuses.all(&shown.publisher)),
        ("/v1/cluster", "this cluster and its control plane", cluster),
    ];
    for (path, help, table) in tables {
        let shown = shown.clone();
        admin = admin.page(path, help, move |_| Answer::json(&table(&shown)));
    }
    let (resources, denied) = (shown.clone(), shown.clone());
    asked::add(seen::add(admin, &shown), &shown)
        .page("/v1/resources", "everything that is published; ?kind= chooses", move |query| {
            Answer::json(&rows::resources(&resources, query.get("kind")))
        })
        .page("/v1/denied", "what was refused; ?since= seconds", move |query| {
            let since = query.get("since").and_then(|text| text.parse().ok()).unwrap_or(SINCE_DEFAULT);
            let from =
                SystemTime::now().checked_sub(Duration::from_secs(since)).unwrap_or(SystemTime::UNIX_EPOCH);
            Answer::json(&denied.reports.since(from))
        })
}

/// Makes the token that changes need, in the state directory, where only its owner reads it.
pub(crate) fn make_token(state: &std::path::Path, random: [u8; 32]) -> std::io::Result<Arc<str>> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(state.join(TOKEN_FILE))?;
    file.write_all(token.as_bytes())?;
    Ok(token.into())
}

fn cluster(shown: &Shown) -> Value {
    let (plaintext, kept) = (shown.reports.plaintext(), shown.reports.standing());
    json!({
        "cluster": shown.cluster,
        "trust_domain": shown.trust_domain,
        "generation": shown.publisher.generation(),
        "resources": shown.publisher.read(wire::publish::Table::len),
        "certificate": shown.keeper.report(),
        "reports_lost": kept.reports_lost,
        "reports": kept,
        "plaintext_seen": plaintext.iter().map(|seen| json!({
            "at": crate::status::time_text(seen.at),
            "source": seen.source,
            "destination": seen.destination,
            "port": seen.port,
        })).collect::<Vec<_>>(),
    })
}
