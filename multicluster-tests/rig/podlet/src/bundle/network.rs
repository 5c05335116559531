//! The files that tell a container of names: `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`.
//! Pure.

use std::{fmt::Write, net::IpAddr};

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// The longest host name.
const HOSTNAME_MAX: usize = 63;
/// How many name servers a resolver takes.
const SERVERS_MAX: usize = 3;

/// What the cluster says about names.
#[derive(Debug, Clone)]
pub struct Names<'a> {
    /// Addresses of the cluster's DNS.
    pub dns: &'a [IpAddr],
    /// The cluster's domain.
    pub domain: &'a str,
    /// The node's name.
    pub node: &'a str,
    /// The node's own `resolv.conf`.
    pub node_resolv: &'a str,
}

/// The pod's host name.
pub fn hostname(pod: &Pod, names: &Names<'_>) -> String {
    let Some(spec) = &pod.spec else { return String::new() };
    if spec.host_network == Some(true) {
        return names.node.to_owned();
    }
    let own = pod.metadata.name.as_deref().unwrap_or_default();
    let short = spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(own);
    let mut short = short.to_owned();
    short.truncate(HOSTNAME_MAX);
    let short = short.trim_end_matches(['-', '.']).to_owned();
    match (spec.set_hostname_as_fqdn, qualified(pod, &short, names)) {
        (Some(true), Some(full)) => full,
        _ => short,
    }
}

/// The full name of a pod with a subdomain.
fn qualified(pod: &Pod, short: &str, names: &Names<'_>) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref()?;
    Some(format!("{short}.{subdomain}.{namespace}.svc.{}", names.domain))
}

/// `/etc/hosts`.
pub fn hosts(pod: &Pod, ips: &[IpAddr], names: &Names<'_>) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let name = hostname(pod, names);
    let short = name.split('.').next().unwrap_or_default();
    for ip in ips {
        let _ = match qualified(pod, short, names) {
            Some(full) => writeln!(text, "{ip}\t{full}\t{short}"),
            None => writeln!(text, "{ip}\t{name}"),
        };
    }
    for alias in pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten()) {
        let _ = writeln!(
            text,
            "{}\t{}",
            alias.ip,
            alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t")
        );
    }
    text
}

/// `/etc/resolv.conf`.
pub fn resolv(pod: &Pod, names: &Names<'_>) -> String {
    let Some(spec) = &pod.spec else { return String::new() };
    let cluster = match spec.dns_policy.as_deref() {
        Some("Default" | "None") => false,
        Some("ClusterFirstWithHostNet") => true,
        _ => spec.host_network != Some(true),
    };
    let (mut servers, mut search, mut options) = (Vec::new(), Vec::new(), Vec::new());
    if cluster {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        servers.extend(names.dns.iter().map(IpAddr::to_string));
        let domain = names.domain;
        search.extend([format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()]);
        options.push("ndots:5".to_owned());
    } else if spec.dns_policy.as_deref() != Some("None") {
        for line in names.node_resolv.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => servers.extend(words.next()),
                Some("search") => search = words.collect(),
                Some("options") => options.extend(words),
                _ => {}
            }
        }
    }
    configure(spec, &mut servers, &mut search, &mut options);
    let mut text = String::new();
    servers.truncate(SERVERS_MAX);
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (word, list) in [("search", search), ("options", options)] {
        if !list.is_empty() {
            let _ = writeln!(text, "{word} {}", list.join(" "));
        }
    }
    text
}

/// Adds what the pod's `dnsConfig` says.
fn configure(spec: &PodSpec, servers: &mut Vec<String>, search: &mut Vec<String>, options: &mut Vec<String>) {
    let Some(config) = &spec.dns_config else { return };
    servers.extend(config.nameservers.iter().flatten().cloned());
    search.extend(config.searches.iter().flatten().cloned());
    for option in config.options.iter().flatten() {
        let name = option.name.clone().unwrap_or_default();
        options.retain(|old| old.split(':').next() != Some(&name));
        options.push(option.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec}))
            .unwrap()
    }

    fn names() -> Names<'static> {
        const DNS: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(10, 111, 0, 10))];
        Names {
            dns: &DNS,
            domain: "cluster.local",
            node: "c1-n1",
            node_resolv: "nameserver 9.9.9.9\nsearch lan\n",
        }
    }

    #[test]
    fn names_are_resolved_as_the_pod_asks() {
        let cluster = "nameserver 10.111.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";
        let node = "nameserver 9.9.9.9\nsearch lan\n";
        for (spec, expected) in [
            (json!({}), cluster),
            (json!({"dnsPolicy": "ClusterFirst"}), cluster),
            (json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), node),
            (json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}), cluster),
            (json!({"dnsPolicy": "Default"}), node),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
                "nameserver 1.1.1.1\nsearch a\noptions ndots:2 edns0\n",
            ),
            (
                json!({"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}),
                "nameserver 10.111.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:1\n",
            ),
        ] {
            assert_eq!(resolv(&pod(spec.clone()), &names()), expected, "{spec}");
        }
    }

    #[test]
    fn hosts_name_the_pod_and_its_aliases() {
        let ip = ["10.11.1.7".parse().unwrap()];
        let text = hosts(
            &pod(json!({"hostAliases": [{"ip": "10.0.0.9", "hostnames": ["db", "db.lan"]}]})),
            &ip,
            &names(),
        );
        assert!(text.ends_with("10.11.1.7\tweb-0\n10.0.0.9\tdb\tdb.lan\n"), "{text}");
        let text = hosts(&pod(json!({"subdomain": "web"})), &ip, &names());
        assert!(text.ends_with("10.11.1.7\tweb-0.web.shop.svc.cluster.local\tweb-0\n"), "{text}");
        assert_eq!(hostname(&pod(json!({"hostNetwork": true})), &names()), "c1-n1");
        assert_eq!(hostname(&pod(json!({"hostname": "other"})), &names()), "other");
    }
}
