//! An API server alone: etcd and kube-apiserver on loopback, ready in seconds, for what needs no nodes.
//!
//! CRDs with CEL, status, RBAC, leases and watches are the API server's own; there are no controllers and no
//! service accounts. Everything ends when the value is dropped, and what a crash left is swept by the next.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
};

use kube::Client;

use crate::{
    Cluster, Progress,
    controlplane::{ControlPlane, Ports, ready},
    free_ports,
    process::Identity,
    programs::Programs,
    state::{Home, Record},
    sweep,
};

/// An API server of one's own.
pub struct Small {
    home: Home,
    cluster: Cluster,
}

/// Counts those of this process, so that their ids differ.
static COUNT: AtomicU32 = AtomicU32::new(0);

impl Small {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When a program is missing or ends, with the last it said.
    pub async fn up() -> anyhow::Result<Self> {
        let programs = Programs::of_small(&Progress::silent()).await?;
        sweep::abandoned()?;
        let owner = Identity::own()?;
        let id = format!("s{}x{}", owner.pid, COUNT.fetch_add(1, Ordering::Relaxed));
        let home = Home::of(&id);
        home.create()?;
        let record = Record {
            id,
            clusters: 1,
            nodes: 0,
            reach: rig_network::plan::Reach::Flat,
            owner: Some(owner),
            ports: Vec::new(),
            ready: false,
        };
        home.write(&record)?;
        // From here on the folder and whatever was started go with the error.
        match start(&home, &programs).await {
            Ok(cluster) => Ok(Self { home, cluster }),
            Err(error) => {
                sweep::remove(&home)?;
                Err(error)
            }
        }
    }

    /// A client with all rights.
    pub fn client(&self) -> Client {
        self.cluster.client()
    }

    /// The same as a cluster, for kubectl.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = sweep::remove(&self.home) {
            eprintln!("the small rig {} could not be removed: {error:#}", self.home.id());
        }
    }
}

async fn start(home: &Home, programs: &Programs) -> anyhow::Result<Cluster> {
    let [api, etcd, peers] = free_ports()?;
    let plane = ControlPlane {
        name: "c1".to_owned(),
        folder: home.cluster(1),
        namespace: None,
        listen: Ipv4Addr::LOCALHOST,
        advertised: None,
        services: "10.111.0.0/16".to_owned(),
        service: Ipv4Addr::new(10, 111, 0, 1),
        ports: Ports { api, etcd, peers },
    };
    plane.prepare(&plane.inside())?;
    let processes = home.processes();
    let started = plane.start_api(&processes, programs)?;
    let cluster = Cluster::at(1, home.cluster(1), programs.clone()).await?;
    ready(&cluster.client(), &processes, &started).await?;
    Ok(cluster)
}
