//! Which origins may call (RFC 6454, RFC 9110): against pages in a browser that reach what they should not, by a name
//! that was bound to another address.

use http::{HeaderMap, header};
use mesh::{Denial, Reason, resource::Direction};

use crate::compile::Rules;

/// A web origin as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads `scheme://host[:port]` and nothing more. `null` is none.
    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let (host, port) = host_and_port(rest)?;
        Some(Self { scheme, host, port: port.unwrap_or(default) })
    }
}

/// Reads `host[:port]`, in lower case and without a final dot.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.rfind(']') {
        Some(end) if text.starts_with('[') => {
            let (host, rest) = text.split_at(end + 1);
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return None,
            }
        }
        Some(_) => return None,
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => None,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match inner {
        // One address has one form.
        Some(six) => six.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
        None => {
            let sound = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '.' | '_');
            let host = host.strip_suffix('.').unwrap_or(host);
            if host.is_empty() || !host.chars().all(sound) {
                return None;
            }
            host.to_ascii_lowercase()
        }
    };
    Some((host, port))
}

impl Rules {
    /// Refuses a request from an origin that may not call. One that names none passes: it is not from a page. What guards
    /// in audit would have refused is returned.
    ///
    /// # Errors
    /// When a guard does not list it; where a guard lists none, when it is not the host that was called.
    pub(crate) fn origin(&self, headers: &HeaderMap) -> Result<Vec<Denial>, Denial> {
        let mut shadows = Vec::new();
        let mut said = headers.get_all(header::ORIGIN).iter();
        let Some(first) = said.next() else { return Ok(shadows) };
        let one = said.next().is_none().then(|| first.to_str().ok()).flatten();
        let origin = one.and_then(Origin::read);
        let called = headers.get(header::HOST).and_then(|host| host_and_port(host.to_str().ok()?));
        for guard in self.guards.iter() {
            let allowed = match (&origin, &guard.guard.origins) {
                (None, _) => false,
                (Some(origin), Some(list)) => {
                    list.iter().any(|one| Origin::read(one).as_ref() == Some(origin))
                }
                (Some(origin), None) => called.as_ref().is_some_and(|(host, port)| {
                    let default = if origin.scheme == "https" { 443 } else { 80 };
                    *host == origin.host && port.unwrap_or(default) == origin.port
                }),
            };
            if !allowed {
                let detail = "the origin is not one that may call";
                let denial = guard.denial(Reason::OriginNotAllowed, "origins", detail);
                if guard.enforces() {
                    return Err(denial);
                }
                shadows.push(denial);
            }
        }
        Ok(shadows)
    }

    /// True if nothing at all is wanted in this direction.
    pub(crate) fn is_idle(&self, direction: Direction) -> bool {
        !self.reads(direction)
            && self.broken().is_none()
            && self.guards.iter().all(|it| match direction {
                Direction::Request => it.guard.sizes.request.is_none(),
                _ => it.guard.sizes.response.is_none(),
            })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mesh::resource::{Guard, GuardSizes, Mode};

    use super::*;
    use crate::Guards;

    #[track_caller]
    fn check(list: Option<&[&str]>, host: &str, origins: &[&str], passes: bool) {
        let guard = Guard {
            name: "GuardPolicy/shop/web".parse().unwrap(),
            mode: Mode::Enforce,
            broken: None,
            patterns: Vec::new(),
            sizes: GuardSizes::default(),
            origins: list.map(|list| list.iter().map(|one| Arc::from(*one)).collect()),
            external: None,
        };
        let rules = Guards::default().rules(&[Arc::new(guard)]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        for origin in origins {
            headers.append(header::ORIGIN, origin.parse().unwrap());
        }
        assert_eq!(rules.origin(&headers).is_ok(), passes, "{origins:?} to {host} by {list:?}");
    }

    /// Anchors 3.2, "DNS rebinding, Origin".
    #[test]
    fn attack_dns_rebinding_only_the_host_that_was_called_by_default() {
        for (host, origins, passes) in [
            ("tools.example", &[][..], true),
            ("tools.example", &["https://tools.example"], true),
            ("tools.example", &["http://tools.example"], true),
            ("tools.example", &["https://TOOLS.example."], true),
            ("tools.example:8443", &["https://tools.example:8443"], true),
            ("tools.example:8443", &["https://tools.example"], false),
            ("tools.example", &["https://tools.example:8443"], false),
            ("tools.example", &["https://tools.example:443"], true),
            ("tools.example", &["null"], false),
            ("tools.example", &[""], false),
            ("tools.example", &["https://evil.example"], false),
            ("tools.example", &["https://tools.example.evil.example"], false),
            ("tools.example", &["https://eviltools.example"], false),
            ("tools.example", &["https://tools.example@evil.example"], false),
            ("tools.example", &["https://tools.example/"], false),
            ("tools.example", &["https://tools.example "], false),
            ("tools.example", &["https://tools.example, https://evil.example"], false),
            ("tools.example", &["https://tools.example", "https://evil.example"], false),
            ("tools.example", &["https://tools.example", "https://tools.example"], false),
            ("tools.example", &["file://tools.example"], false),
            ("tools.example", &["chrome-extension://tools.example"], false),
            ("tools.example", &["tools.example"], false),
            ("[::1]:80", &["http://[::1]"], true),
            ("[::1]:80", &["http://[0:0::1]:80"], true),
            ("[::1]:80", &["http://[::2]"], false),
            ("[::1]:80", &["http://[::1"], false),
            ("[::1]:80", &["http://[::1]x"], false),
            ("127.0.0.1:80", &["http://127.0.0.1"], true),
            ("127.0.0.1:80", &["http://localhost"], false),
            ("127.0.0.1:80", &["http://127.0.0.1:99999"], false),
            ("127.0.0.1:80", &["http://127.0.0.1:"], false),
        ] {
            check(None, host, origins, passes);
        }
    }

    #[test]
    fn a_list_of_origins_is_exact() {
        let list = Some(&["https://app.example", "http://[::1]:3000"][..]);
        for (origin, passes) in [
            ("https://app.example", true),
            ("https://app.example:443", true),
            ("http://app.example", false),
            ("https://app.example:444", false),
            ("https://x.app.example", false),
            ("http://[::1]:3000", true),
            ("http://[::1]", false),
            // The host that was called is not among them.
            ("https://tools.example", false),
            ("null", false),
        ] {
            check(list, "tools.example", &[origin], passes);
        }
        check(list, "tools.example", &[], true);
        check(Some(&[]), "tools.example", &["https://tools.example"], false);
        check(Some(&["null", "*"]), "tools.example", &["null"], false);
    }
}
