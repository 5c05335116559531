//! A node with one container: runc with the machine's `/usr`, the kubelet's API on loopback, and a
//! client with the API server's certificate.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use podlet::Config;
use podlet::containers::{ContainerId, Running};
use podlet::registry::{ContainerEntry, PodEntry, Pods};
use podlet::runc::Runc;
use podlet::server::{self, Node};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use spdy::{Connection, Headers, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// What is needed to run these tests; says why if it is not there.
pub(crate) fn able() -> bool {
    let able = nix::unistd::geteuid().is_root() && Path::new("/usr/sbin/runc").exists();
    if !able {
        assert!(std::env::var_os("CI").is_none(), "runc and root are required in CI");
        eprintln!("skipped: containers need root and /usr/sbin/runc");
    }
    able
}

pub(crate) struct Kubelet {
    folder: tempfile::TempDir,
    address: SocketAddr,
    pub(crate) log: podlet::log::Writer,
    id: ContainerId,
    runc: Runc,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        let mut command = Command::new(self.runc.program());
        command.arg("--root").arg(self.runc.root()).args(["delete", "--force", self.id.as_str()]);
        let _ = command.status();
    }
}

impl Kubelet {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let id = ContainerId::fresh().unwrap();
        let runc = Runc::new("/usr/sbin/runc", folder.path().join("runc"));
        let pid = container(folder.path(), &runc, &id);
        let logs = folder.path().join("logs");
        std::fs::create_dir_all(logs.join("main")).unwrap();
        let file = logs.join("main/0.log");
        let running = Running {
            id: id.clone(),
            pid,
            folder: folder.path().to_owned(),
            log: file.clone(),
            attempt: 0,
            tty: false,
            stdin: false,
        };
        let entry = PodEntry::new("uid-1".to_owned(), logs, Arc::default());
        entry.update(|state| {
            state.networked = true;
            let container = ContainerEntry { running: Some(running), attempt: Some(0), waiting: None };
            state.containers.insert("main".to_owned(), container);
        });
        let pods = Arc::new(Pods::default());
        pods.put("default", "web", Arc::new(entry));
        let config = certificates(folder.path());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = Node { pods, runc: runc.clone() };
        let tls = server::tls_config(&config).unwrap();
        tokio::spawn(server::serve(listener, tls, node, CancellationToken::new()));
        let log = podlet::log::Writer::open(&file).unwrap();
        Self { folder, address, log, id, runc }
    }

    async fn connect(&self, name: &str) -> TlsStream<TcpStream> {
        let file = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.folder.path().join("ca.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(file("crt")).unwrap()],
                PrivateKeyDer::from_pem_file(file("key")).unwrap(),
            )
            .unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// The whole answer to a GET, head and body.
    pub(crate) async fn get(&self, client: &str, path: &str) -> String {
        let mut stream = self.connect(client).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // The server may close without a goodbye of TLS.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    /// A streaming connection, and the streams of these kinds on it.
    pub(crate) async fn upgrade<const N: usize>(
        &self,
        path: &str,
        protocol: &str,
        kinds: [&str; N],
    ) -> (Connection, [Stream; N]) {
        let mut stream = self.connect(server::API_SERVER).await;
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: node\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\
             x-stream-protocol-version: {protocol}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let (connection, carrier) = spdy::client(stream);
        tokio::spawn(carrier);
        let mut streams = Vec::new();
        for kind in kinds {
            let headers = Headers::new().with("streamType", kind).with("port", "0").with("requestID", "1");
            let stream = connection.open(headers).await.unwrap();
            stream.replied().await.unwrap();
            streams.push(stream);
        }
        (connection, streams.try_into().unwrap())
    }
}

/// Starts a container that sleeps, with the machine's programs; its first process.
fn container(folder: &Path, runc: &Runc, id: &ContainerId) -> i32 {
    let rootfs = folder.join("rootfs");
    std::fs::create_dir_all(rootfs.join("usr")).unwrap();
    for link in ["bin", "lib", "lib64", "sbin"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), rootfs.join(link)).unwrap();
    }
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sleep", "1000"],
            "env": ["PATH=/usr/bin:/bin", "TERM=xterm"],
            "cwd": "/",
        },
        "root": {"path": "rootfs", "readonly": false},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]},
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let pid_file = folder.join("pid");
    let started = Command::new(runc.program())
        .arg("--root")
        .arg(runc.root())
        .args(["run", "--detach", "--bundle"])
        .arg(folder)
        .arg("--pid-file")
        .arg(&pid_file)
        .arg(id.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(started.success());
    std::fs::read_to_string(pid_file).unwrap().parse().unwrap()
}

/// A CA, the server's certificate, and those of two clients: the API server and another.
fn certificates(folder: &Path) -> Config {
    let write = |name: &str, content: String| std::fs::write(folder.join(name), content).unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "ca");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    write("ca.crt", ca.pem());
    let leaf = |name: &str, usage: ExtendedKeyUsagePurpose| {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, name);
        leaf.extended_key_usages = vec![usage];
        let certificate = leaf.signed_by(&key, &ca).unwrap();
        write(&format!("{name}.crt"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    };
    leaf("node", ExtendedKeyUsagePurpose::ServerAuth);
    leaf(server::API_SERVER, ExtendedKeyUsagePurpose::ClientAuth);
    leaf("somebody", ExtendedKeyUsagePurpose::ClientAuth);
    let path = |name: &str| folder.join(name);
    serde_json::from_value(json!({
        "nodeName": "n1", "nodeAddress": "127.0.0.1", "kubeconfig": "/nowhere",
        "nodeRoot": folder, "images": folder, "clusterDns": [],
        "serverCert": path("node.crt"), "serverKey": path("node.key"), "clientCa": path("ca.crt"),
    }))
    .unwrap()
}
