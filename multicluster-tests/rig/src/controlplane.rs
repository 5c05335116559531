//! The programs of one control plane: their certificates, their flags, and how to wait for them.
//!
//! Flags are those of Kubernetes 1.37. Controllers elect no leader, because there is one of each.

use std::{fs, net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::Context;
use http::Request;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};

use crate::{
    certs::{Authority, TokenKeys},
    kubeconfig,
    process::{Launch, Process, Processes},
    programs::Programs,
    wait::{until, until_some},
};

/// How long an API server may take to be ready: ten times what it takes on two busy cores.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long the controller manager may take to make the first service account.
const ACCOUNT_TIMEOUT: Duration = Duration::from_secs(60);

/// Where one control plane stands.
#[derive(Clone, Debug)]
pub(crate) struct ControlPlane {
    /// The cluster's name, as `c1`, with which its programs' names begin.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The network namespace of its programs; none for loopback of the machine.
    pub(crate) namespace: Option<String>,
    /// Where the API server listens.
    pub(crate) listen: Ipv4Addr,
    /// The address that the Service `kubernetes` leads to; none when that Service leads nowhere.
    pub(crate) advertised: Option<Ipv4Addr>,
    /// The range of Services' addresses.
    pub(crate) services: String,
    /// The first of them, that of the Service `kubernetes`.
    pub(crate) service: Ipv4Addr,
    /// The ports of the API server, etcd's clients and etcd's peers.
    pub(crate) ports: Ports,
}

/// The ports of a control plane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) api: u16,
    pub(crate) etcd: u16,
    pub(crate) peers: u16,
}

impl Ports {
    /// Those of a control plane that has a namespace to itself.
    pub(crate) const OWN: Self = Self { api: 6443, etcd: 2379, peers: 2380 };
}

impl ControlPlane {
    /// Makes certificates and kubeconfigs; `outside` is where the machine reaches the API server. Returns the
    /// cluster's authority, which signs for the nodes too.
    pub(crate) fn prepare(&self, outside: &str) -> anyhow::Result<Authority> {
        let pki = self.pki();
        fs::create_dir_all(&pki).with_context(|| format!("cannot create {}", pki.display()))?;
        let authority = Authority::new(&format!("{} cluster", self.name))?;
        let front = Authority::new(&format!("{} front proxy", self.name))?;
        authority.own.write(&pki, "ca")?;
        front.own.write(&pki, "front-proxy-ca")?;
        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let mut addresses = vec![Ipv4Addr::LOCALHOST, self.service];
        addresses.extend(self.advertised);
        authority.server("kube-apiserver", &names, &addresses)?.write(&pki, "apiserver")?;
        front.client("front-proxy-client", &[])?.write(&pki, "front-proxy-client")?;
        authority
            .client("kube-apiserver-kubelet-client", &["system:masters"])?
            .write(&pki, "kubelet-client")?;
        TokenKeys::new()?.write(&pki)?;
        let inside = self.inside();
        let users: [(&str, &str, &[&str], &str); 5] = [
            ("admin", "admin", &["system:masters"], outside),
            ("inside", "admin", &["system:masters"], &inside),
            // Its controllers share one identity, which saves forty tokens at start and needs all rights.
            ("controller-manager", "system:kube-controller-manager", &["system:masters"], &inside),
            ("scheduler", "system:kube-scheduler", &[], &inside),
            ("kube-proxy", "system:kube-proxy", &[], &inside),
        ];
        for (file, user, groups, server) in users {
            let pair = authority.client(user, groups)?;
            let path = self.folder.join(format!("{file}.conf"));
            kubeconfig::write(&path, &self.name, server, &authority.own.certificate, &pair)?;
        }
        Ok(authority)
    }

    /// The API server as its own namespace and its nodes reach it.
    pub(crate) fn inside(&self) -> String {
        format!("https://{}:{}", self.advertised.unwrap_or(Ipv4Addr::LOCALHOST), self.ports.api)
    }

    /// Starts etcd and the API server, which waits for etcd by itself.
    pub(crate) fn start_api(
        &self,
        processes: &Processes,
        programs: &Programs,
    ) -> anyhow::Result<Vec<Process>> {
        Ok(vec![processes.start(&self.etcd(programs))?, processes.start(&self.apiserver(programs))?])
    }

    /// Starts the controller manager and the scheduler.
    pub(crate) fn start_controllers(
        &self,
        processes: &Processes,
        programs: &Programs,
    ) -> anyhow::Result<Vec<Process>> {
        Ok(vec![
            processes.start(&self.controller_manager(programs))?,
            processes.start(&self.scheduler(programs))?,
        ])
    }

    fn etcd(&self, programs: &Programs) -> Launch {
        let client = format!("http://127.0.0.1:{}", self.ports.etcd);
        let peer = format!("http://127.0.0.1:{}", self.ports.peers);
        self.launch("etcd", programs.etcd()).arguments([
            "--data-dir".to_owned(),
            self.folder.join("etcd").display().to_string(),
            "--unsafe-no-fsync".to_owned(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // One member elects itself; there is nobody to wait for.
            "--heartbeat-interval=20".to_owned(),
            "--election-timeout=100".to_owned(),
            "--log-level=warn".to_owned(),
        ])
    }

    fn apiserver(&self, programs: &Programs) -> Launch {
        let file = |name: &str| self.pki().join(name).display().to_string();
        let audience = "https://kubernetes.default.svc.cluster.local";
        let mut launch = self.launch("apiserver", programs.apiserver()).arguments([
            format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd),
            format!("--bind-address={}", self.listen),
            format!("--secure-port={}", self.ports.api),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--service-cluster-ip-range={}", self.services),
            format!("--service-account-issuer={audience}"),
            format!("--api-audiences={audience}"),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            format!("--kubelet-client-certificate={}", file("kubelet-client.crt")),
            format!("--kubelet-client-key={}", file("kubelet-client.key")),
            format!("--kubelet-certificate-authority={}", file("ca.crt")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--requestheader-client-ca-file={}", file("front-proxy-ca.crt")),
            "--requestheader-allowed-names=front-proxy-client".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            format!("--proxy-client-cert-file={}", file("front-proxy-client.crt")),
            format!("--proxy-client-key-file={}", file("front-proxy-client.key")),
            "--enable-aggregator-routing=true".to_owned(),
            "--enable-priority-and-fairness=false".to_owned(),
            "--profiling=false".to_owned(),
            "--event-ttl=15m".to_owned(),
        ]);
        launch = match self.advertised {
            Some(address) => launch.arguments([
                format!("--advertise-address={address}"),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
            ]),
            // Alone it has no controller that makes service accounts, and no address to give out.
            None => launch.arguments([
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                "--disable-admission-plugins=ServiceAccount",
            ]),
        };
        launch.variable("GOMEMLIMIT", "450MiB")
    }

    fn controller_manager(&self, programs: &Programs) -> Launch {
        let file = |name: &str| self.pki().join(name).display().to_string();
        self.launch("controller-manager", programs.controller_manager()).arguments([
            format!("--kubeconfig={}", self.folder.join("controller-manager.conf").display()),
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials=false".to_owned(),
            format!("--service-account-private-key-file={}", file("sa.key")),
            format!("--root-ca-file={}", file("ca.crt")),
            format!("--cluster-signing-cert-file={}", file("ca.crt")),
            format!("--cluster-signing-key-file={}", file("ca.key")),
            "--bind-address=127.0.0.1".to_owned(),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
            "--profiling=false".to_owned(),
        ])
    }

    fn scheduler(&self, programs: &Programs) -> Launch {
        self.launch("scheduler", programs.scheduler()).arguments([
            format!("--kubeconfig={}", self.folder.join("scheduler.conf").display()),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
            "--profiling=false".to_owned(),
        ])
    }

    fn launch(&self, component: &str, program: PathBuf) -> Launch {
        Launch::new(format!("{}-{component}", self.name), self.namespace.as_deref(), program)
    }

    fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }
}

/// Waits until the API server says that it is ready. A program that has ended is an error at once.
pub(crate) async fn ready(client: &Client, processes: &Processes, started: &[Process]) -> anyhow::Result<()> {
    let answered = until_some("a ready API server", READY_TIMEOUT, || async {
        if let Err(dead) = processes.check(started) {
            return Ok(Some(Err(dead)));
        }
        let request = Request::get("/readyz").body(Vec::new()).context("the request of /readyz")?;
        client.request_text(request).await?;
        anyhow::Ok(Some(Ok(())))
    });
    answered.await?
}

/// Waits until the controller manager has made the account without which no pod is admitted.
pub(crate) async fn first_account(client: &Client) -> anyhow::Result<()> {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    until("the service account `default`", ACCOUNT_TIMEOUT, || async {
        accounts.get_opt("default").await.map(|found| found.is_some())
    })
    .await
}
