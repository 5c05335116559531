//! Variables that tell a container of the services around it, as Docker's links once did. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;

/// The variables of the services that a pod in `namespace` sees: its namespace's if `links`, and
/// always `kubernetes` of the namespace `default`.
pub fn variables<'a>(
    services: impl Iterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for service in services {
        let of = service.metadata.namespace.as_deref().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let api = of == "default" && name == "kubernetes";
        if api || links && of == namespace {
            add(&mut all, name, service);
        }
    }
    all
}

fn add(all: &mut BTreeMap<String, String>, name: &str, service: &Service) {
    let Some(spec) = &service.spec else { return };
    let ip = match spec.cluster_ip.as_deref() {
        None | Some("" | "None") => return,
        Some(ip) => ip,
    };
    let upper = upper(name);
    all.insert(format!("{upper}_SERVICE_HOST"), ip.to_owned());
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    for (at, port) in spec.ports.iter().flatten().enumerate() {
        let number = port.port;
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{number}", protocol.to_lowercase());
        if at == 0 {
            all.insert(format!("{upper}_SERVICE_PORT"), number.to_string());
            all.insert(format!("{upper}_PORT"), url.clone());
        }
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            all.insert(format!("{upper}_SERVICE_PORT_{}", self::upper(port_name)), number.to_string());
        }
        let prefix = format!("{upper}_PORT_{number}_{protocol}");
        all.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
        all.insert(format!("{prefix}_PORT"), number.to_string());
        all.insert(format!("{prefix}_ADDR"), ip.to_owned());
        all.insert(prefix, url);
    }
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_are_told_as_links_were() {
        let service = |namespace: &str, name: &str, ip: &str| -> Service {
            serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name},
                "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80}]}}))
            .unwrap()
        };
        let all = [
            service("default", "kubernetes", "10.1.0.1"),
            service("shop", "my-web", "10.1.0.2"),
            service("shop", "headless", "None"),
            service("other", "db", "10.1.0.3"),
        ];
        let seen = variables(all.iter(), "shop", true);
        for (name, value) in [
            ("KUBERNETES_SERVICE_HOST", "10.1.0.1"),
            ("MY_WEB_SERVICE_HOST", "10.1.0.2"),
            ("MY_WEB_SERVICE_PORT", "80"),
            ("MY_WEB_SERVICE_PORT_HTTP", "80"),
            ("MY_WEB_PORT", "tcp://10.1.0.2:80"),
            ("MY_WEB_PORT_80_TCP", "tcp://10.1.0.2:80"),
            ("MY_WEB_PORT_80_TCP_ADDR", "10.1.0.2"),
        ] {
            assert_eq!(seen.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!seen.keys().any(|name| name.starts_with("HEADLESS") || name.starts_with("DB")));
        let without = variables(all.iter(), "shop", false);
        assert!(without.keys().all(|name| name.starts_with("KUBERNETES_")), "{without:?}");
    }
}
