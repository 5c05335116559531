//! A web application that says its name, its version and who called.

use http::StatusCode;
use serde_json::json;
use transport::Address;

use super::http::{answer, caller, serve};

/// Serves until it is stopped.
pub(crate) async fn run(at: &Address, name: String) -> std::io::Result<()> {
    serve(at, move |request| {
        let said = json!({ "app": name, "path": request.uri().path(), "caller": caller(request.headers()) });
        async move { answer(StatusCode::OK, "application/json", format!("{said}\n")) }
    })
    .await
}
