//! Which headers an authorizer is told, and which its answer may touch.

use ::http::{HeaderMap, HeaderName, HeaderValue, header};
use exchange::Changes;
use mesh::resource::{Authorizer, AuthorizerProtocol};

/// Headers of an answer that go on.
pub(super) const HEADERS_MAX: usize = 64;

/// Headers that a question tells: those that are named, or all but those that say who we are.
pub(super) fn told(authorizer: &Authorizer, headers: &HeaderMap) -> Vec<(String, String)> {
    let named =
        |name: &HeaderName| authorizer.headers.iter().any(|one| one.eq_ignore_ascii_case(name.as_str()));
    let all = authorizer.headers.is_empty() && authorizer.protocol == AuthorizerProtocol::Grpc;
    let names =
        headers.keys().filter(|name| (all || named(name)) && **name != header::HOST && !is_ours(name));
    names
        .map(|name| {
            let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
            (name.as_str().to_owned(), values.collect::<Vec<_>>().join(","))
        })
        .collect()
}

/// Headers that say who somebody is, by our word.
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    name == "x-forwarded-client-cert" || name.starts_with("x-strait-")
}

/// Headers that no answer may touch: ours, those that say where a message goes or ends, and those of one connection.
pub(super) fn may_change(name: &HeaderName) -> bool {
    const NEVER: [&str; 14] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "http2-settings",
        "content-encoding",
    ];
    !is_ours(name) && !NEVER.contains(&name.as_str().replace('_', "-").as_str())
}

/// The changes that an answer asks for and may have.
pub(super) fn changes(
    set: impl IntoIterator<Item = (HeaderName, HeaderValue, bool)>,
    remove: impl IntoIterator<Item = HeaderName>,
) -> Changes {
    Changes {
        set: set.into_iter().take(HEADERS_MAX).filter(|(name, ..)| may_change(name)).collect(),
        remove: remove.into_iter().take(HEADERS_MAX).filter(may_change).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_changes_no_header_that_says_who_or_where() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "a".parse().unwrap());
        headers.insert("x-old", "1".parse().unwrap());
        let set = |name: &'static str| (HeaderName::from_static(name), HeaderValue::from_static("x"), false);
        let all = [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "x-forwarded-client-cert",
            "x_forwarded_client_cert",
            "x-strait-origin",
            "upgrade",
            "x-user",
        ];
        let remove = [HeaderName::from_static("host"), HeaderName::from_static("x-old")];
        changes(all.map(set), remove).apply(&mut headers);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "x-user"]);
        assert_eq!(headers["host"], "a");
    }
}
