//! How people name what reports name in full: `shop/planner` for an identity, an object or a service.

/// Whether a full name is what somebody means by a text.
pub(crate) fn names(full: &str, text: &str) -> bool {
    if full == text {
        return true;
    }
    // What is said of an address or port behind it is no part of the name.
    let full = full.split_once(" at ").map_or(full, |(name, _)| name);
    let plain = full.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map(|(name, _)| name);
    let plain = plain.unwrap_or(full);
    if plain == text {
        return true;
    }
    match text.split_once('/') {
        Some((namespace, name)) => {
            let account = format!("/ns/{namespace}/sa/{name}");
            let object = format!("/{namespace}/{name}");
            let host = format!("{name}.{namespace}.");
            full.ends_with(&account) || plain.ends_with(&object) || of_host(plain, &host)
        }
        None => {
            let object = plain.rsplit_once('/').filter(|(_, name)| *name == text);
            object.is_some() && !full.starts_with("spiffe://")
        }
    }
}

/// A host, with or without the namespace of its service before it.
fn of_host(plain: &str, host: &str) -> bool {
    plain.rsplit('/').next().is_some_and(|last| last.starts_with(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_may_say_less_than_the_whole_name() {
        const PLANNER: &str = "spiffe://east.example/ns/shop/sa/planner";
        for (full, text, expected) in [
            (PLANNER, "shop/planner", true),
            (PLANNER, PLANNER, true),
            (PLANNER, "hop/planner", false),
            (PLANNER, "planner", false),
            ("tools.shop.svc.cluster.local:80", "shop/tools", true),
            ("tools.shop.svc.cluster.local:80", "tools.shop.svc.cluster.local", true),
            ("shop/tools.shop.svc.cluster.local:80 at west/a/b", "shop/tools", true),
            ("mytools.shop.svc.cluster.local:80", "shop/tools", false),
            ("AgentBackend/shop/toolbox", "shop/toolbox", true),
            ("AgentBackend/shop/toolbox", "toolbox", true),
            ("AgentBackend/shop/toolbox", "box", false),
            ("east//Pod/shop/tools-1:80", "shop/tools-1", true),
            ("unknown", "unknown", true),
            ("", "", true),
            ("x", "", false),
        ] {
            assert_eq!(names(full, text), expected, "{full} {text}");
        }
    }
}
