//! A podlet from its start to its end.

use std::{future::Future, sync::Arc};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt, reflector, watcher},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    cni::Chain,
    config::Config,
    events::Events,
    node,
    objects::Objects,
    paths::Paths,
    pods::{self, Context, context::STARTING_MAX},
    registry::Pods,
    runc::Runc,
    server,
};

/// Runs the node until `shutdown`. Its pods go on running: the next podlet takes them over.
///
/// # Errors
/// When the node's root, the API server's address or the kubelet's port cannot be used.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let paths = Paths::new(std::fs::canonicalize(&config.node_root)?);
    let runc = Runc::new(&config.runc, paths.runc());
    let chain = Chain { config: paths.cni_config(), bin: paths.cni_bin() };
    pods::prepare(&paths)?;
    let found = pods::find(&paths, &chain, &runc, &config.cgroup).await?;
    let client = client(&config).await?;
    let config = Arc::new(config);
    let registry = Arc::new(Pods::default());
    let (services, writer) = reflector::store();
    let seen = watcher(Api::<Service>::all(client.clone()), watcher::Config::default());
    let following = reflector(writer, seen.default_backoff()).for_each(|_| std::future::ready(()));
    let own_resolv = paths.root().join("etc/resolv.conf");
    let resolv = std::fs::read_to_string(own_resolv).or_else(|_| std::fs::read_to_string("/etc/resolv.conf"));
    let context = Arc::new(Context {
        runc: runc.clone(),
        objects: Objects::new(client.clone()),
        services: services.clone(),
        events: Events::new(client.clone(), config.node_name.clone()),
        registry: registry.clone(),
        chain: chain.clone(),
        starting: Semaphore::new(STARTING_MAX),
        node_resolv: resolv.unwrap_or_default(),
        client: client.clone(),
        config: config.clone(),
        paths,
    });
    let leading = async {
        // A container must not start without knowing the services around it.
        let _ = services.wait_until_ready().await;
        pods::lead(context, found).await;
    };
    let listener = TcpListener::bind(config.listen()).await?;
    let served = server::Node { pods: registry, runc };
    let serving = server::serve(listener, server::tls_config(&config)?, served, CancellationToken::new());
    tokio::select! {
        () = node::live(client, config.clone(), chain) => {}
        () = following => {}
        () = leading => {}
        () = serving => {}
        () = shutdown => tracing::info!("leaving; the pods go on"),
    }
    Ok(())
}

async fn client(config: &Config) -> anyhow::Result<Client> {
    let file = Kubeconfig::read_from(&config.kubeconfig)?;
    let api = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(api)?)
}
