//! What a port speaks: from `appProtocol`, else from the port's name.

use api::core::ServicePort;
use mesh::resource::Protocol;

/// What a port of a Service says of itself.
pub(crate) fn of(port: &ServicePort) -> Protocol {
    let said = port.app_protocol.as_ref().map(|said| said.as_str());
    of_port(said, port.name.as_ref().map(|name| name.as_str()))
}

fn of_port(app_protocol: Option<&str>, name: Option<&str>) -> Protocol {
    match app_protocol {
        Some(said) => of_app_protocol(said),
        None => name.map_or(Protocol::Tcp, of_name),
    }
}

fn of_app_protocol(said: &str) -> Protocol {
    match said.to_ascii_lowercase().as_str() {
        "strait.dev/mcp" | "kgateway.dev/mcp" | "agentgateway.dev/mcp" | "mcp" => Protocol::Mcp,
        "kubernetes.io/h2c" | "http2" | "h2c" | "grpc" => Protocol::Http2,
        "strait.dev/a2a" | "kgateway.dev/a2a" | "agentgateway.dev/a2a" | "a2a" => Protocol::A2a,
        "strait.dev/llm" | "kgateway.dev/llm" | "agentgateway.dev/llm" | "llm" => Protocol::Llm,
        "http" | "http/1.1" | "kubernetes.io/ws" | "ws" => Protocol::Http,
        // `https`, `kubernetes.io/wss` and whatever we do not know: bytes.
        _ => Protocol::Tcp,
    }
}

/// A name that is a protocol, or begins with one and a dash.
fn of_name(name: &str) -> Protocol {
    match name.split_once('-').map_or(name, |(first, _)| first) {
        "mcp" => Protocol::Mcp,
        "a2a" => Protocol::A2a,
        "llm" => Protocol::Llm,
        "http2" | "h2c" | "grpc" => Protocol::Http2,
        "http" | "ws" => Protocol::Http,
        _ => Protocol::Tcp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_says_what_it_speaks() {
        let cases = [
            (Some("strait.dev/mcp"), None, Protocol::Mcp),
            (Some("agentgateway.dev/mcp"), Some("http"), Protocol::Mcp),
            (Some("strait.dev/a2a"), Some("http"), Protocol::A2a),
            (Some("agentgateway.dev/a2a"), None, Protocol::A2a),
            (Some("kgateway.dev/llm"), None, Protocol::Llm),
            (None, Some("llm-v1"), Protocol::Llm),
            (None, Some("a2a"), Protocol::A2a),
            (Some("kubernetes.io/h2c"), None, Protocol::Http2),
            (Some("kubernetes.io/wss"), Some("http"), Protocol::Tcp),
            (Some("HTTP"), None, Protocol::Http),
            (None, Some("http-admin"), Protocol::Http),
            (None, Some("grpc"), Protocol::Http2),
            (None, Some("https"), Protocol::Tcp),
            (None, None, Protocol::Tcp),
        ];
        for (app_protocol, name, expected) in cases {
            assert_eq!(of_port(app_protocol, name), expected, "{app_protocol:?} {name:?}");
        }
    }
}
