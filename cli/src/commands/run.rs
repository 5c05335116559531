//! `strait run`: one program by itself, until it is told to end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use mesh::{Identity, TrustDomain};
use runtime::{Drain, drain::Phase, logging};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    apps,
    args::{App, ControlPlane, Gateway, Join, Node, Run},
    client,
    settings::Settings,
};

/// How long what runs may take to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How long it may then take to close.
const CLOSING: Duration = Duration::from_secs(2);

pub(crate) async fn run(program: Run) -> anyhow::Result<()> {
    if let Run::App(app) = program {
        return application(app).await;
    }
    logging::init(&logging::Config::default())?;
    let drain = Drain::new();
    let ending = tokio::spawn(end_on_signal(drain.clone()));
    match program {
        Run::Controlplane(arguments) => {
            let config = control_plane(&arguments)?;
            controlplane::run(config, drain.watch()).await?;
        }
        Run::Ztunnel(arguments) => ztunnel::run(node(&arguments)?, drain.clone()).await?,
        Run::Waypoint(arguments) => waypoint::run(gateway(&arguments)?, drain.clone()).await?,
        Run::App(_) => {}
    }
    // A program that ended by itself has nothing left to drain.
    if drain.phase() != Phase::Serving {
        ending.await?;
    }
    Ok(())
}

/// Begins the drain at SIGTERM or SIGINT; a second signal skips the grace.
pub(crate) async fn end_on_signal(drain: Drain) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be caught: there will be no orderly end");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let finished = drain.finish(GRACE, CLOSING);
    tokio::pin!(finished);
    loop {
        tokio::select! {
            _ = &mut finished => break,
            _ = terminate.recv() => drain.advance(Phase::Closing),
            _ = interrupt.recv() => drain.advance(Phase::Closing),
        }
    }
    drain.advance(Phase::Closing);
}

/// What a control plane on this machine is told.
pub(crate) fn control_plane(arguments: &ControlPlane) -> anyhow::Result<controlplane::Config> {
    let settings = Settings::decide(&arguments.state, &arguments.files, &arguments.cluster, rand::random())?;
    Ok(controlplane::Config::on_one_machine(
        vec![arguments.files.clone()],
        arguments.state.clone(),
        settings.cluster,
        settings.trust_domain,
        vec![settings.ranges],
    )?)
}

/// What a node proxy is told.
pub(crate) fn node(arguments: &Node) -> anyhow::Result<ztunnel::Config> {
    let join = &arguments.join;
    let trust_domain: TrustDomain = join.trust_domain.parse().context("--trust-domain")?;
    let roots = CertificateDer::pem_file_iter(&join.root)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| {
            format!("cannot read the cluster's root certificates from {}", join.root.display())
        })?;
    let control_plane = ztunnel::ControlPlane {
        address: join.control_plane,
        identity: Identity::of_service_account(&trust_domain, "strait-system", "controlplane")?,
        bundles: Arc::new([(trust_domain, roots.iter().map(|root| root.to_vec()).collect())].into()),
    };
    let mut config = ztunnel::Config::new(
        arguments.node.as_str().into(),
        arguments.cluster.as_str().into(),
        control_plane,
        join.token_file.clone(),
    );
    client::tell_admin(&join.state, SocketAddr::new(join.address, 15000))?;
    config.state_directory = Some(join.state.clone());
    config.hbone_bind_port = Some(join.hbone_bind_port);
    config.otlp = otlp(join);
    config.admin = Some(SocketAddr::new(join.address, 15000));
    config.metrics = Some(SocketAddr::new(join.address, 15020));
    config.ready = Some(SocketAddr::new(join.address, 15021));
    config.drain_grace = GRACE;
    config.drain_closing = CLOSING;
    Ok(config)
}

/// Where spans are exported to. An empty variable is none.
fn otlp(join: &Join) -> Option<runtime::otlp::Config> {
    join.otlp_endpoint.as_ref().filter(|endpoint| !endpoint.is_empty()).map(runtime::otlp::Config::new)
}

/// What a waypoint or gateway is told.
pub(crate) fn gateway(arguments: &Gateway) -> anyhow::Result<waypoint::Config> {
    let join = &arguments.join;
    let (namespace, name) = arguments
        .gateway
        .split_once('/')
        .with_context(|| format!("--gateway {:?} is not NAMESPACE/NAME", arguments.gateway))?;
    let mut config = waypoint::Config::new(
        (namespace, name),
        join.trust_domain.parse().context("--trust-domain")?,
        join.control_plane,
        join.root.clone(),
        join.token_file.clone(),
        join.state.clone(),
        join.address,
    );
    config.hbone_bind_port = join.hbone_bind_port;
    config.edge.port_offset = arguments.edge_port_offset;
    config.otlp = otlp(join);
    client::tell_admin(&join.state, SocketAddr::new(join.address, 15000))?;
    Ok(config)
}

async fn application(app: App) -> anyhow::Result<()> {
    match app {
        App::Agent(options) => apps::agent(options).await,
        App::Tools { listen, offer } => Ok(apps::tools(&listen.0, offer).await?),
        App::Model { listen, name, key_file } => Ok(apps::model(&listen.0, name, &key_file).await?),
        App::Researcher { listen, name } => Ok(apps::researcher(&listen.0, name).await?),
        App::Web { listen, name } => Ok(apps::web(&listen.0, name).await?),
    }
}
