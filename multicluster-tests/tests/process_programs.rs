//! Programs that others wrote, through a waypoint: nginx and curl, gRPC, WebSocket; and routes as they see them.
//!
//! nginx and curl come from the distribution, the others from PyPI; `cargo xtask test` installs them and says so by
//! `STRAIT_REAL_PROGRAMS`.

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use multicluster_tests::{
    strait::Running,
    up::{Answer, Up, curl, until},
};

/// Bytes of the large file.
const LARGE: usize = 10 << 20;
/// Many requests, over few connections.
const MANY: usize = 50;

/// Says why, when this machine has no real programs.
fn skipped() -> bool {
    let missing = std::env::var_os("STRAIT_REAL_PROGRAMS").is_none();
    if missing {
        eprintln!("skipped: the real programs are not installed (multicluster-tests/conformance/install)");
    }
    missing
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(program(name)).expect("it is there")
}

fn python() -> PathBuf {
    let home =
        || PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cache/strait-tests");
    std::env::var_os("STRAIT_TEST_CACHE").map_or_else(home, PathBuf::from).join("venv/bin/python")
}

/// The cluster of `programs/mesh`, and a way to speak as its workloads.
struct Web {
    up: Up,
    /// They end with it.
    programs: Vec<Running>,
}

impl Web {
    fn start() -> Self {
        let files =
            ["mesh.yaml", "services.yaml", "routes.yaml"].map(|name| (name, text(&format!("mesh/{name}"))));
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        Self { up: Up::start("web", &files).expect("strait up starts"), programs: Vec::new() }
    }

    /// Starts a program and waits until it listens on these sockets.
    fn run(&mut self, command: &mut Command, sockets: &[&str]) {
        let log = fs::File::create(self.up.folder().join(format!("{}.out", sockets[0]))).expect("a log");
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a log")).stdout(log);
        self.programs.push(Running::start(command).expect("it is installed"));
        for socket in sockets {
            let path = self.up.folder().join(socket);
            until(&format!("{command:?} listens"), || {
                UnixStream::connect(&path).with_context(|| {
                    fs::read_to_string(self.up.folder().join(format!("{}.out", sockets[0])))
                        .unwrap_or_default()
                })
            });
        }
    }

    fn run_nginx(&mut self) {
        let folder = self.up.folder().to_owned();
        fs::create_dir(folder.join("www")).expect("a folder");
        fs::create_dir(folder.join("uploads")).expect("a folder");
        fs::write(folder.join("www/index.html"), "hello from nginx\n").expect("a file");
        fs::write(folder.join("www/large"), noise(LARGE)).expect("a file");
        let config = folder.join("nginx.conf");
        fs::write(&config, text("nginx.conf").replace("FOLDER", &folder.display().to_string()))
            .expect("a file");
        // Debian keeps it where only administrators look.
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("/usr/bin/env");
        command.env("PATH", format!("{path}:/usr/sbin:/sbin:/usr/local/sbin"));
        command.args(["nginx", "-p"]).arg(&folder).arg("-c").arg(&config);
        command.arg("-e").arg(folder.join("nginx-error.log"));
        self.run(&mut command, &["one.sock", "two.sock", "h2.sock"]);
    }

    fn run_python(&mut self, script: &str, socket: &str) {
        let path = self.up.folder().join(socket);
        self.run(Command::new(python()).arg(program(script)).arg(path), &[socket]);
    }

    fn proxy(&self, workload: &str, scheme: &str) -> String {
        self.up.proxy("web", workload).expect("its proxy").url(scheme)
    }

    fn curl_as(&self, workload: &str, arguments: &[&str]) -> Answer {
        let proxy = self.proxy(workload, "http");
        let mut all = vec!["--proxytunnel", "--proxy", &proxy];
        all.extend(arguments);
        curl(&all).expect("curl runs")
    }

    fn curl(&self, arguments: &[&str]) -> Answer {
        self.curl_as("caller", arguments)
    }

    /// Runs a client to its end.
    fn client(&self, command: &mut Command) {
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        let (out, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?}: {out}\n{errors}\n{}", self.up.log());
    }

    /// What nginx logged: `SERVER CONNECTION METHOD URI STATUS` a line.
    fn seen(&self, server: &str) -> Vec<String> {
        let log = fs::read_to_string(self.up.folder().join(format!("{server}.log"))).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Waits until nginx has logged `count` requests with this text, and looks that there are no more.
    #[track_caller]
    fn seen_exactly(&self, server: &str, part: &str, count: usize) {
        let found = || self.seen(server).iter().filter(|line| line.contains(part)).count();
        until(&format!("{server} logs {count} of {part:?}"), || {
            ensure!(found() >= count, "only {:?}", self.seen(server));
            Ok(())
        });
        assert_eq!(found(), count, "{:?}", self.seen(server));
    }
}

/// Bytes that no one compresses or mixes up.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

fn url(service: &str, path: &str) -> String {
    format!("http://{service}.web.svc.cluster.local{path}")
}

const CALLER: &str = "spiffe://web.test/ns/web/sa/caller";

#[test]
fn nginx_serves_curl_as_if_nothing_stood_between() {
    if skipped() {
        return;
    }
    let mut web = Web::start();
    web.run_nginx();
    for service in ["site", "h2"] {
        for protocol in ["--http1.1", "--http2-prior-knowledge"] {
            let at = |path: &str| url(service, path);
            let how = format!("{protocol} to {service}");
            let answer = web.curl(&[protocol, &at("/")]);
            assert_eq!((answer.status, answer.connect), (200, 200), "{how}: {answer:?}\n{}", web.up.log());
            assert_eq!(answer.text(), "hello from nginx\n", "{how}");
            let version = if protocol == "--http1.1" { "HTTP/1.1 200" } else { "HTTP/2 200" };
            assert!(answer.heads.contains(version), "{how}: {answer:?}");

            let large = web.curl(&[protocol, &at("/large")]);
            assert_eq!(large.header("content-length"), Some(LARGE.to_string().as_str()), "{how}");
            assert!(
                large.body == noise(LARGE),
                "{how}: each of the {LARGE} bytes: {} came",
                large.body.len()
            );

            let part = web.curl(&[protocol, "--range", "1000-1999", &at("/large")]);
            assert_eq!(part.status, 206, "{how}");
            assert_eq!(
                part.header("content-range"),
                Some(format!("bytes 1000-1999/{LARGE}").as_str()),
                "{how}"
            );
            assert!(part.body == noise(2000)[1000..], "{how}");

            let etag = answer.header("etag").expect("nginx gives one").to_owned();
            let known = web.curl(&[protocol, "--header", &format!("if-none-match: {etag}"), &at("/")]);
            assert_eq!((known.status, known.body.len()), (304, 0), "{how}");
            let head = web.curl(&[protocol, "--head", &at("/large")]);
            assert_eq!((head.status, head.exit), (200, Some(0)), "{how}: {head:?}");
            assert_eq!(head.header("content-length"), Some(LARGE.to_string().as_str()), "{how}");
            assert_eq!(web.curl(&[protocol, &at("/none")]).status, 404, "{how}");
        }
        // Debian's curl cannot use an HTTP/2 connection twice that it began by prior knowledge, with any server; the
        // gRPC client does.
        let many = web.curl(&["--http1.1", &url(service, &format!("/?[1-{MANY}]"))]);
        assert_eq!(
            (many.status, many.connections),
            (200, 1),
            "{service}: one connection for {MANY} requests"
        );
    }
    // The server's connections are kept as well: far fewer than requests.
    let connections: std::collections::BTreeSet<String> =
        web.seen("one").iter().filter_map(|line| line.split(' ').nth(1).map(str::to_owned)).collect();
    assert!(
        connections.len() < MANY / 2,
        "{} connections for {} requests",
        connections.len(),
        web.seen("one").len()
    );

    let file = web.up.folder().join("upload");
    fs::write(&file, noise(LARGE)).expect("a file");
    let file = file.display().to_string();
    for (number, protocol) in ["--http1.1", "--http2-prior-knowledge"].iter().enumerate() {
        let answer = web.curl(&[protocol, "--upload-file", &file, &url("site", "/upload")]);
        assert_eq!(answer.status, if number == 0 { 201 } else { 204 }, "{answer:?}");
        assert!(
            fs::read(web.up.folder().join("uploads/upload")).expect("a file") == noise(LARGE),
            "{protocol}"
        );
        fs::write(web.up.folder().join("uploads/upload"), "").expect("a file");
    }
    // In chunks, and with the question whether to send at all.
    let chunked = ["--header", "transfer-encoding: chunked", "--header", "expect: 100-continue"];
    let answer = web.curl(&[&chunked[..], &["--upload-file", &file, &url("site", "/upload")]].concat());
    assert_eq!(answer.status, 204, "{answer:?}");
    assert!(fs::read(web.up.folder().join("uploads/upload")).expect("a file") == noise(LARGE), "in chunks");
    // The other ways to the proxy lead through the waypoint too.
    let (http, socks) = (web.proxy("caller", "http"), web.proxy("caller", "socks5h"));
    for proxy in [&http, &socks] {
        let answer = curl(&["--proxy", proxy, &url("site", "/seen")]).expect("curl runs");
        assert!(answer.text().contains(CALLER), "{answer:?}");
    }
}

#[test]
fn a_server_sees_who_called_and_nobody_can_pretend() {
    if skipped() {
        return;
    }
    let mut web = Web::start();
    web.run_nginx();
    let forged = [
        "--header",
        "x-forwarded-client-cert: By=spiffe://web.test/ns/web/sa/site;URI=spiffe://web.test/ns/web/sa/root",
        "--header",
        "X-Strait-Origin: spiffe://web.test/ns/web/sa/root",
    ];
    for service in ["site", "h2"] {
        for protocol in ["--http1.1", "--http2-prior-knowledge"] {
            for headers in [&[][..], &forged] {
                let answer = web.curl(&[headers, &[protocol, &url(service, "/seen")]].concat());
                let seen = answer.text();
                let line = seen.lines().find_map(|line| line.strip_prefix("xfcc=")).unwrap_or_default();
                assert!(line.starts_with("By=spiffe://web.test/ns/web/sa/"), "{seen}");
                assert!(line.contains(&format!("URI={CALLER}")), "{seen}");
                assert!(!seen.contains("sa/root"), "{service} {protocol}: {seen}");
            }
        }
    }
    let refused = web.curl_as("stranger", &[&url("site", "/seen")]);
    assert_eq!(refused.status, 403, "{refused:?}");
    let (id, reason) = refused.denied().expect("it says why");
    assert_eq!(reason, "NoGrant");
    let explained = web.up.explained(&id);
    assert_eq!(explained["caller"], "spiffe://web.test/ns/web/sa/stranger", "{explained}");
    let deleted = web.curl(&["--request", "DELETE", &url("site", "/seen")]);
    assert_eq!(deleted.status, 403, "a Deny on a method: {deleted:?}");
    assert_eq!(deleted.denied().expect("it says why").1, "Denied");
    assert!(web.seen("one").iter().all(|line| !line.contains("DELETE")), "{:?}", web.seen("one"));
}

#[test]
fn routes_lead_where_they_say() {
    if skipped() {
        return;
    }
    let mut web = Web::start();
    web.run_nginx();
    let _silent = UnixListener::bind(web.up.folder().join("silent.sock")).expect("a socket");
    let site = |path: &str| url("site", path);
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        let two = web.curl(&[protocol, "--header", "x-version: two", &site("/seen")]);
        assert!(two.text().starts_with("version=two\n"), "{two:?}");
        let one = web.curl(&[protocol, "--header", "x-version: three", &site("/seen")]);
        assert!(one.text().starts_with("version=one\n"), "{one:?}");

        let redirect = web.curl(&[protocol, &site("/old?a=b")]);
        assert_eq!(redirect.status, 302, "{redirect:?}");
        let location = redirect.header("location").expect("a location");
        assert_eq!(location, site("/seen?a=b"), "{redirect:?}");
        let followed = web.curl(&[protocol, location]);
        assert!(followed.text().contains("uri=/seen?a=b\n"), "{followed:?}");

        let rewritten = web.curl(&[protocol, &site("/api?x=%20y")]);
        let text = rewritten.text();
        assert!(
            text.contains("uri=/seen?x=%20y\n") && text.contains("host=inner.example\n"),
            "{rewritten:?}"
        );
        assert!(text.contains("tenant=acme\n"), "{rewritten:?}");
        assert_eq!(rewritten.header("x-led"), Some("yes"), "{rewritten:?}");
        assert_eq!(rewritten.header("server"), None, "{rewritten:?}");
    }

    let before = web.seen("two").len();
    for number in 0..5 {
        let answer = web.curl(&["--data", "body", &site(&format!("/mirrored/{number}"))]);
        assert!(answer.text().starts_with("version=one\n"), "{answer:?}");
    }
    until("the other version sees the mirrored requests", || {
        ensure!(web.seen("two").len() == before + 5, "{:?}", web.seen("two"));
        Ok(())
    });

    let start = Instant::now();
    let late = web.curl(&[&site("/silent")]);
    let took = start.elapsed();
    assert_eq!(late.status, 504, "{late:?}");
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(5), "{took:?}");

    let answer = web.curl(&[&site("/unavailable?retry=yes")]);
    assert_eq!(answer.status, 503, "{answer:?}");
    web.seen_exactly("one", "GET /unavailable?retry=yes 503", 3);
    let answer = web.curl(&[&site("/unavailable?retry=no")]);
    assert_eq!(answer.status, 503, "{answer:?}");
    web.seen_exactly("one", "GET /unavailable?retry=no 503", 1);

    // One of two endpoints always says 503; a retry goes to the other.
    for _ in 0..20 {
        let answer = web.curl(&[&url("pair", "/flaky")]);
        assert_eq!((answer.status, answer.text().lines().next()), (200, Some("version=two")), "{answer:?}");
    }
    assert!(web.seen("one").iter().any(|line| line.contains("/flaky")), "the other one was tried as well");
}

#[test]
fn grpc_streams_statuses_trailers_and_deadlines_pass() {
    if skipped() {
        return;
    }
    let mut web = Web::start();
    web.run_python("grpc_server.py", "grpc.sock");
    for (workload, expected) in [("caller", "granted"), ("stranger", "refused")] {
        let mut client = Command::new(python());
        client.arg(program("grpc_client.py")).args([
            expected,
            "dns:///grpc.web.svc.cluster.local:80",
            CALLER,
        ]);
        client
            .env("grpc_proxy", web.proxy(workload, "http"))
            .env_remove("no_proxy")
            .env_remove("no_grpc_proxy");
        web.client(&mut client);
    }
}

#[test]
fn websockets_pass_in_both_directions_until_one_end_leaves() {
    if skipped() {
        return;
    }
    let mut web = Web::start();
    web.run_python("ws_server.py", "ws.sock");
    for (workload, expected) in [("caller", "granted"), ("stranger", "refused")] {
        let proxy = web.proxy(workload, "http");
        let mut client = Command::new(python());
        client.arg(program("ws_client.py"));
        client.args([expected, "ws://ws.web.svc.cluster.local/chat", &proxy, CALLER]);
        web.client(&mut client);
    }
}
