//! The images there are, and what is in each.
//!
//! Honest names only: what is called `debian` has Debian's programs. `nginx`, `curl` and `python` are the same
//! file system with another command, where the machine has the program.

use std::path::{Path, PathBuf};

use super::Image;
use crate::cache::Cache;
use crate::program::Program;

/// An image before it is laid out.
pub(super) struct Definition {
    /// What pods call it.
    pub(super) name: &'static str,
    /// How it starts.
    pub(super) image: Image,
    /// What is in it beyond empty folders.
    pub(super) files: Vec<(&'static str, Content)>,
}

/// What a file has in it.
pub(super) enum Content {
    /// This text.
    Text(&'static str),
    /// The program at this path.
    Program(PathBuf),
    /// A certificate that signs itself, and its key at the second path.
    Certificate { key: &'static str },
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const ROOT: &str = "0:0";
/// Who the images of the Gateway API's suite run as.
const NOBODY: &str = "65532:65532";

/// Folders that programs of Debian read: themselves, which of two does a name's work, and whom to trust.
const DEBIAN: [&str; 3] = ["/usr", "/etc/alternatives", "/etc/ssl/certs"];

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
    www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
    nonroot:x:65532:65532:nonroot:/home/nonroot:/usr/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\nnonroot:x:65532:\nnogroup:x:65534:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// Serves what Debian's package has for a first page; a ConfigMap over `conf.d` makes it serve anything.
const NGINX: &str = "\
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log /dev/stderr notice;
events { worker_connections 1024; }
http {
    types { text/html html; text/css css; application/javascript js; application/json json; text/plain txt; }
    default_type application/octet-stream;
    access_log /dev/stdout;
    client_body_temp_path /tmp/nginx-body;
    proxy_temp_path /tmp/nginx-proxy;
    fastcgi_temp_path /tmp/nginx-fastcgi;
    uwsgi_temp_path /tmp/nginx-uwsgi;
    scgi_temp_path /tmp/nginx-scgi;
    include /etc/nginx/conf.d/*.conf;
}
";
const NGINX_SITE: &str = "\
server {
    listen 80;
    location / { root /usr/share/nginx/html; index index.html; }
}
";

/// Every image that this machine can have.
pub(super) fn all(cache: &Cache) -> Vec<Definition> {
    let mut all = vec![
        of_debian("debian", &[], &["bash"], Vec::new()),
        of_program("echo-basic", cache.path(Program::EchoBasic), "/echo-basic", NOBODY),
        echo_advanced(cache),
        of_program("coredns", cache.path(Program::CoreDns), "/coredns", ROOT),
        of_program("pause", cache.path(Program::Pause), "/pause", "65535:65535"),
    ];
    if Path::new("/usr/sbin/nginx").exists() {
        let files = vec![
            ("etc/nginx/nginx.conf", Content::Text(NGINX)),
            ("etc/nginx/conf.d/default.conf", Content::Text(NGINX_SITE)),
        ];
        all.push(of_debian("nginx", &["nginx"], &["-g", "daemon off;"], files));
    }
    if Path::new("/usr/bin/curl").exists() {
        all.push(of_debian("curl", &["curl"], &[], Vec::new()));
    }
    if Path::new("/usr/bin/python3").exists() {
        all.push(of_debian("python", &[], &["python3"], Vec::new()));
    }
    all
}

/// The base of every image with Debian's programs.
pub(super) fn of_debian(
    name: &'static str,
    entrypoint: &[&str],
    cmd: &[&str],
    mut files: Vec<(&'static str, Content)>,
) -> Definition {
    files.extend([
        ("etc/passwd", Content::Text(PASSWD)),
        ("etc/group", Content::Text(GROUP)),
        ("etc/nsswitch.conf", Content::Text(NSSWITCH)),
    ]);
    let binds = DEBIAN.iter().filter(|folder| Path::new(folder).is_dir()).map(|folder| (*folder).to_owned());
    let image = Image { cmd: owned(cmd), binds: binds.collect(), ..base(entrypoint, ROOT) };
    Definition { name, image, files }
}

fn of_program(name: &'static str, program: PathBuf, path: &'static str, user: &str) -> Definition {
    let files = vec![
        (path.trim_start_matches('/'), Content::Program(program)),
        ("etc/passwd", Content::Text(PASSWD)),
        ("etc/group", Content::Text(GROUP)),
    ];
    Definition { name, image: base(&[path], user), files }
}

/// The suite runs `client` in it, and starts the server with `--crt=/cert.crt --key=/cert.key`.
fn echo_advanced(cache: &Cache) -> Definition {
    let server = cache.path(Program::EchoServer);
    let mut echo = of_program("echo-advanced", server, "/usr/local/bin/server", "1338:1338");
    echo.files.push(("usr/local/bin/client", Content::Program(cache.path(Program::EchoClient))));
    echo.files.push(("cert.crt", Content::Certificate { key: "cert.key" }));
    echo
}

fn base(entrypoint: &[&str], user: &str) -> Image {
    Image {
        entrypoint: owned(entrypoint),
        env: [("PATH".to_owned(), PATH.to_owned())].into(),
        user: user.to_owned(),
        workdir: "/".to_owned(),
        ..Image::default()
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
