//! Hooks of a container's life: postStart and preStop.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, LifecycleHandler},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{containers::Running, process, runc::Runc};

/// How much of an answer is read.
const ANSWER_MAX: u64 = 4096;

/// Runs a hook to its end.
///
/// # Errors
/// What went wrong, for the event.
pub(super) async fn run(
    hook: &LifecycleHandler,
    container: &Container,
    running: &Running,
    address: Option<IpAddr>,
    runc: &Runc,
    timeout: Duration,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let argv = exec.command.clone().unwrap_or_default();
        let done = process::output(runc, running, &argv, timeout).await.map_err(|error| error.to_string())?;
        return match done.code {
            0 => Ok(()),
            code => Err(format!("command {argv:?} exited with {code}: {}", done.output.trim())),
        };
    }
    if let Some(get) = &hook.http_get {
        let answered = tokio::time::timeout(timeout, http(get, container, address)).await;
        return answered.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")));
    }
    if let Some(sleep) = &hook.sleep {
        let asked = Duration::from_secs(sleep.seconds.unsigned_abs());
        tokio::time::sleep(asked.min(timeout)).await;
    }
    Ok(())
}

async fn http(get: &HTTPGetAction, container: &Container, address: Option<IpAddr>) -> Result<(), String> {
    let named = |name: &str| {
        let ports = container.ports.iter().flatten();
        ports.clone().find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
    };
    let port = match &get.port {
        IntOrString::Int(port) => Some(*port),
        IntOrString::String(name) => named(name).or_else(|| name.parse().ok()),
    };
    let port = port.and_then(|port| u16::try_from(port).ok()).ok_or("the hook names no port")?;
    let host = match (&get.host, address) {
        (Some(host), _) if !host.is_empty() => host.clone(),
        (_, Some(address)) => address.to_string(),
        _ => return Err("the pod has no address".to_owned()),
    };
    let ask = async {
        let mut stream = TcpStream::connect((host.as_str(), port)).await?;
        let path = get.path.as_deref().unwrap_or("/");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: kube-lifecycle\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = ask.await.map_err(|error| format!("GET to {host}:{port} failed: {error}"))?;
    let line = String::from_utf8_lossy(&answer);
    let code = line.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).unwrap_or(0);
    if (200..400).contains(&code) {
        Ok(())
    } else {
        Err(format!("GET to {host}:{port} was answered with {code}"))
    }
}
