//! One cluster of a rig, as a test speaks to it: by kube-rs, and by kubectl as a person would.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{
    Api, Client, Config,
    api::{ListParams, ObjectMeta, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::io::AsyncWriteExt;

use crate::programs::Programs;

/// A cluster.
#[derive(Clone)]
pub struct Cluster {
    number: u8,
    folder: PathBuf,
    client: Client,
    programs: Programs,
}

/// What a program of the command line answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A namespace of a test, deleted when dropped.
pub struct TestNamespace {
    name: String,
    kubeconfig: PathBuf,
    home: PathBuf,
    kubectl: PathBuf,
}

/// Counts the namespaces of this process, so that their names differ.
static COUNT: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    /// Cluster `number`, whose state is in `folder`.
    pub(crate) async fn at(number: u8, folder: PathBuf, programs: Programs) -> anyhow::Result<Self> {
        let client = client(&folder.join("admin.conf")).await?;
        Ok(Self { number, folder, client, programs })
    }

    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its name, as `c1`.
    pub fn name(&self) -> String {
        format!("c{}", self.number)
    }

    /// The kubeconfig of its administrator, for programs on this machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.conf")
    }

    /// The kubeconfig of its administrator, for programs in the rig's namespaces and pods.
    pub fn kubeconfig_inside(&self) -> PathBuf {
        self.folder.join("inside.conf")
    }

    /// A client with the rights of its administrator.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A client with the rights of a kubeconfig of this cluster, as `n1/podlet.conf`.
    ///
    /// # Errors
    /// When there is no such file.
    pub async fn client_of(&self, kubeconfig: &str) -> anyhow::Result<Client> {
        let outside = read(&self.kubeconfig())?;
        let mut config = read(&self.folder.join(kubeconfig))?;
        // Who it is comes from that file; the way there is the machine's.
        config.clusters = outside.clusters;
        client_from(config).await.with_context(|| format!("cannot make a client of {kubeconfig}"))
    }

    /// Runs kubectl as the administrator.
    ///
    /// # Errors
    /// When it cannot be started; that it fails is an [`Answer`].
    pub async fn kubectl<S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<Answer> {
        run(&mut self.command(self.programs.kubectl(), arguments), None).await
    }

    /// Runs kubectl with this text as its standard input.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub async fn kubectl_with<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        input: &str,
    ) -> anyhow::Result<Answer> {
        run(&mut self.command(self.programs.kubectl(), arguments), Some(input)).await
    }

    /// Runs helm as the administrator.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub async fn helm<S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<Answer> {
        run(&mut self.command(self.programs.helm(), arguments), None).await
    }

    /// A kubectl that is not started yet, for those that go on, as `port-forward`.
    pub fn kubectl_command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> tokio::process::Command {
        self.command(self.programs.kubectl(), arguments)
    }

    /// Applies objects and fails with kubectl's words when one is refused.
    ///
    /// # Errors
    /// When kubectl fails.
    pub async fn apply(&self, namespace: &str, objects: &str) -> anyhow::Result<String> {
        self.kubectl_with(&["-n", namespace, "apply", "-f", "-"], objects).await?.ok()
    }

    /// Makes a namespace whose name begins with `prefix`; it goes when the value is dropped.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn namespace(&self, prefix: &str) -> anyhow::Result<TestNamespace> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{}-{count}", std::process::id());
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let namespaces: Api<Namespace> = Api::all(self.client());
        namespaces
            .create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() })
            .await
            .with_context(|| format!("the API server refused the namespace {name}"))?;
        Ok(TestNamespace {
            name,
            kubeconfig: self.kubeconfig(),
            home: self.folder.clone(),
            kubectl: self.programs.kubectl(),
        })
    }

    /// How many nodes are ready.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn nodes_ready(&self) -> anyhow::Result<usize> {
        let nodes = Api::<Node>::all(self.client()).list(&ListParams::default()).await?;
        Ok(nodes.items.iter().filter(|node| is_ready(node)).count())
    }

    /// Whether so many nodes are ready.
    ///
    /// # Errors
    /// As [`Self::nodes_ready`].
    pub async fn nodes_ready_are(&self, count: usize) -> anyhow::Result<bool> {
        Ok(self.nodes_ready().await? == count)
    }

    fn command<S: AsRef<OsStr>>(&self, program: PathBuf, arguments: &[S]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        command.env("KUBECONFIG", self.kubeconfig());
        // What kubectl and helm remember of a cluster goes with the cluster.
        command.env("HOME", &self.folder).args(arguments).kill_on_drop(true);
        command
    }
}

impl Answer {
    /// The standard output of a program that succeeded.
    ///
    /// # Errors
    /// When it failed, with what it said.
    pub fn ok(self) -> anyhow::Result<String> {
        if self.code == Some(0) {
            return Ok(self.stdout);
        }
        bail!("it failed (code {:?}): {}{}", self.code, self.stdout, self.stderr)
    }
}

impl TestNamespace {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        let mut command = std::process::Command::new(&self.kubectl);
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.home);
        command.args(["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"]);
        // The rig may be gone already, and the namespace with it.
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A client with the rights of a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    // Only one provider is compiled in; that it was installed before is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    client_from(read(kubeconfig)?)
        .await
        .with_context(|| format!("cannot make a client of {}", kubeconfig.display()))
}

fn read(kubeconfig: &Path) -> anyhow::Result<Kubeconfig> {
    Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))
}

async fn client_from(config: Kubeconfig) -> anyhow::Result<Client> {
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

async fn run(command: &mut tokio::process::Command, input: Option<&str>) -> anyhow::Result<Answer> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.as_std().get_program().to_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    if let (Some(mut stdin), Some(text)) = (child.stdin.take(), input) {
        // A program that ends without reading says why itself.
        let _ = stdin.write_all(text.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    Ok(Answer {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
