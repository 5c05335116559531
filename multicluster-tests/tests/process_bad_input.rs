//! Bad input to a running mesh: broken YAML in its folder, and malformed bytes on its ports.
//!
//! Each is refused with the right words, only it is refused, it is counted, and afterwards everything still serves.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use http::HeaderMap;
use multicluster_tests::{
    hbone,
    strait::{Running, strait},
    svid::Authority,
    up::{Answer, Echo, Proxy, Up, connect, curl, until},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};

/// How much memory hostile input may leave behind, in KiB.
const GROWTH_MAX_KIB: u64 = 96 << 10;
/// How long a peer that says nothing sensible may keep its connection.
const HOSTILE_MAX: Duration = Duration::from_secs(25);

/// A namespace with a server that is reached directly and an MCP server behind a waypoint.
const MESH: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: web, labels: {strait.dev/mesh: ambient, strait.dev/mtls: strict}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: web}
spec:
  gatewayClassName: strait-waypoint
  addresses: [{type: IPAddress, value: 127.N.2.1}]
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: caller, namespace: web}
spec: {serviceAccount: caller, node: callers, addresses: [127.N.1.1]}
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: site, namespace: web, labels: {app: site}}
spec:
  serviceAccount: site
  node: servers
  addresses: [127.N.1.2]
  delivery: {loopbackPort: SITE}
  ports: [{name: http, port: 80}]
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: tools, namespace: web, labels: {app: tools}}
spec:
  serviceAccount: tools
  node: servers
  addresses: [127.N.1.3]
  delivery: {unix: FOLDER/tools.sock}
  ports: [{name: mcp, port: 80, appProtocol: strait.dev/mcp}]
";
const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: site, namespace: web}
spec: {selector: {app: site}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: tools, namespace: web, labels: {strait.dev/use-waypoint: waypoint}}
spec: {selector: {app: tools}, ports: [{name: mcp, port: 80, targetPort: mcp, appProtocol: strait.dev/mcp}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: web, labels: {strait.dev/use-waypoint: waypoint}}
spec: {selector: {app: site}, ports: [{name: http, port: 8080, targetPort: http, appProtocol: http}]}
---
apiVersion: strait.dev/v1alpha1
kind: AccessPolicy
metadata: {name: caller, namespace: web}
spec:
  targetRefs: [{group: \"\", kind: Namespace, name: web}]
  action: Allow
  rules:
  - name: caller
    from: [{serviceAccounts: [web/caller]}]
";

struct Mesh {
    site: Echo,
    up: Up,
    _tools: Running,
}

impl Mesh {
    fn start() -> Self {
        let site = Echo::listen("site").expect("a server");
        let mesh = MESH.replace("SITE", &site.port().to_string());
        let up =
            Up::start("bad", &[("mesh.yaml", &mesh), ("services.yaml", SERVICES)]).expect("strait up starts");
        let socket = format!("unix:{}", up.folder().join("tools.sock").display());
        let tools =
            Running::start(&mut strait(&["run", "app", "tools", "--listen", &socket])).expect("a server");
        let mesh = Self { site, up, _tools: tools };
        until("the mesh serves", || mesh.serves());
        mesh
    }

    fn caller(&self) -> Proxy {
        self.up.proxy("web", "caller").expect("its proxy")
    }

    /// Directly, through the waypoint, and by MCP.
    fn serves(&self) -> anyhow::Result<()> {
        let proxy = self.up.proxy("web", "caller")?.url("http");
        for url in ["http://site.web.svc.cluster.local/", "http://web.web.svc.cluster.local:8080/"] {
            let answer = curl(&["--proxy", &proxy, url])?;
            ensure!(answer.status == 200 && answer.text().starts_with("site\r\n"), "{answer:?}");
        }
        let answer = self.mcp(&[], LIST)?;
        ensure!(answer.status == 200 && answer.text().contains("read_file"), "{answer:?}");
        Ok(())
    }

    /// Posts a body to the MCP server.
    fn mcp(&self, arguments: &[&str], body: &str) -> anyhow::Result<Answer> {
        let file = self.up.folder().join(format!("body-{:?}", thread::current().id()));
        fs::write(&file, body)?;
        let (proxy, data) = (self.up.proxy("web", "caller")?.url("http"), format!("@{}", file.display()));
        let mut all = vec!["--proxytunnel", "--proxy", &proxy, "--data-binary", &data];
        if !arguments.iter().any(|argument| argument.starts_with("content-type")) {
            all.extend(["--header", "content-type: application/json"]);
        }
        all.extend(["--header", "accept: application/json, text/event-stream"]);
        all.extend(["--header", "mcp-protocol-version: 2025-11-25"]);
        all.extend(arguments);
        all.push("http://tools.web.svc.cluster.local/mcp");
        curl(&all)
    }

    /// How many refusals of a reason a program counted: `callers`, `servers` or the waypoint.
    fn refused(&self, program: Program, reason: &str) -> anyhow::Result<u64> {
        let url = format!("http://{}/metrics", self.up.at(0, program as u8, 15020));
        let answer = curl(&[&url])?;
        ensure!(answer.status == 200, "{answer:?}");
        let (refused, reason) = ("verdict=\"refused\"", format!("reason=\"{reason}\""));
        let text = answer.text();
        let lines = text.lines().filter(|line| line.starts_with("strait_decisions_total{"));
        let lines = lines.filter(|line| line.contains(refused) && line.contains(&reason));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// Waits until at least so many more refusals are counted than before.
    #[track_caller]
    fn counted(&self, program: Program, reason: &str, before: u64, more: usize) {
        until(&format!("{program:?} counts {more} of {reason}"), || {
            let now = self.refused(program, reason)?;
            ensure!(now >= before + more as u64, "{now}, {before} before");
            Ok(())
        });
    }
}

/// The last number of a program's own address.
#[derive(Debug, Clone, Copy)]
enum Program {
    Callers = 11,
    Servers = 12,
    Waypoint = 13,
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;

/// Broken YAML, and what must be said of it: its line (0: of the file as a whole), its object, its field, its cause.
type Broken<'a> = (&'a str, &'a str, u32, &'a str, &'a str, &'a str);

const POLICY: &str = "apiVersion: strait.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: NAME, namespace: other}\n\
                      spec:\n  targetRefs: [{group: \"\", kind: Service, name: other}]\n  action: Deny\n";
const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: NAME, namespace: web}\n\
                     spec:\n  parentRefs: [{group: \"\", kind: Service, name: web}]\n  rules:\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: NAME, namespace: web}\nspec:\n";

const BROKEN: &[Broken<'_>] = &[
    ("syntax", "SERVICE  ports: [{name: http, port: 80}\n  selector: {app: x}\n", 6, "", "", "is not YAML"),
    ("no-object", "hello\n", 1, "", "", "is not an object"),
    (
        "kind",
        "apiVersion: strait.dev/v1alpha1\nkind: AccesPolicy\nmetadata: {name: kind}\n",
        2,
        "",
        "",
        "AccesPolicy",
    ),
    (
        "nameless",
        "apiVersion: v1\nkind: Service\nmetadata: {namespace: web}\n",
        3,
        "",
        "metadata.name",
        "missing",
    ),
    (
        "unknown",
        "POLICY  rulez: []\n  rules: [{name: a, from: [{anyone: true}]}]\n",
        7,
        "AccessPolicy other/unknown",
        "spec.rulez",
        "unknown field",
    ),
    (
        "type",
        "SERVICE  ports:\n  - {name: http, port: eighty}\n",
        6,
        "Service web/type",
        "spec.ports[0].port",
        "eighty",
    ),
    (
        "enum",
        "POLICY  mode: Loudly\n  rules: [{name: a, from: [{anyone: true}]}]\n",
        7,
        "AccessPolicy other/enum",
        "spec.mode",
        "Loudly",
    ),
    ("empty", "POLICY  rules: []\n", 7, "AccessPolicy other/empty", "spec.rules", "empty"),
    (
        "key",
        "SERVICE  selector: {app: x}\n  selector: {app: y}\n  ports: [{port: 80}]\n",
        6,
        "Service web/key",
        "selector",
        "twice",
    ),
    (
        "port",
        "SERVICE  ports:\n  - {name: http, port: 65536}\n",
        6,
        "Service web/port",
        "spec.ports[0].port",
        "65535",
    ),
    (
        "zero",
        "SERVICE  ports:\n  - {name: http, port: 0}\n",
        6,
        "Service web/zero",
        "spec.ports[0].port",
        "0",
    ),
    (
        "regex",
        "ROUTE  - matches: [{path: {type: RegularExpression, value: \"/a(b\"}}]\n",
        7,
        "HTTPRoute web/regex",
        "spec.rules[0].matches[0].path.value",
        "regular expression",
    ),
    (
        "cel",
        "POLICY  rules:\n  - name: a\n    from: [{anyone: true}]\n    when: \"request.path == (\"\n",
        10,
        "AccessPolicy other/cel",
        "spec.rules[0].when",
        "CEL",
    ),
    (
        "conflict",
        "ROUTE  - filters: [{type: RequestRedirect, requestRedirect: {hostname: a.example}}]\n    backendRefs: [{name: web, port: 8080}]\n",
        8,
        "HTTPRoute web/conflict",
        "spec.rules[0].backendRefs",
        "exclude each other",
    ),
    (
        "cycle",
        "apiVersion: v1\nkind: Service\nmetadata: &a\n  name: cycle\n  namespace: web\n  labels: *a\n",
        6,
        "Service web/cycle",
        "",
        "recursive",
    ),
    (
        "bomb",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
        6,
        "",
        "",
        "beyond what a document may hold",
    ),
    (
        "identity",
        "apiVersion: strait.dev/v1alpha1\nkind: Revocation\nmetadata: {name: identity}\nspec: {identity: \"http://x\", issuedBefore: \"2026-01-01T00:00:00Z\"}\n",
        4,
        "Revocation identity",
        "spec.identity",
        "spiffe",
    ),
    (
        "later",
        "apiVersion: strait.dev/v1alpha1\nkind: AgentBackend\nmetadata: {name: later, namespace: other}\nspec:\n  hostnames: [later.other.mesh]\n  allowDirect: true\n  host: {host: api.example.com}\n",
        6,
        "AgentBackend other/later",
        "spec.allowDirect",
        "not built",
    ),
];

fn spelled(name: &str, text: &str) -> String {
    let text = text.replace("SERVICE", SERVICE).replace("POLICY", POLICY).replace("ROUTE", ROUTE);
    text.replace("NAME", name)
}

fn finding<'a>(found: &'a [serde_json::Value], part: &str) -> anyhow::Result<&'a serde_json::Value> {
    let named =
        |finding: &&serde_json::Value| finding["what"].as_str().is_some_and(|what| what.contains(part));
    found.iter().find(named).with_context(|| format!("nothing of {part} in {found:#?}"))
}

#[test]
fn broken_yaml_is_named_by_file_line_object_field_and_remedy_and_the_rest_applies() {
    let mut mesh = Mesh::start();
    let before = mesh.up.memory_kib().expect("memory");
    for (name, text, ..) in BROKEN {
        mesh.up.write(&format!("bad-{name}.yaml"), &spelled(name, text)).expect("a file");
    }
    let deep = format!("{}  selector: {}\n", SERVICE.replace("NAME", "deep"), "[".repeat(100_000));
    mesh.up.write("bad-deep.yaml", &deep).expect("a file");
    mesh.up.write("bad-huge.yaml", &format!("# {}\n", "x".repeat(10_000_000))).expect("a file");
    fs::write(mesh.up.folder().join("files/bad-bytes.yaml"), b"apiVersion: v1\nkind: \xff\xfe\n")
        .expect("a file");
    let good =
        SERVICE.replace("NAME", "added") + "  selector: {app: site}\n  ports: [{name: http, port: 80}]\n";
    mesh.up.write("good.yaml", &good).expect("a file");
    until("every broken file is named", || {
        let found = mesh.up.check()?;
        for (name, _, line, ..) in BROKEN {
            let place =
                if *line == 0 { format!("bad-{name}.yaml") } else { format!("bad-{name}.yaml:{line})") };
            finding(&found, &place)?;
        }
        for name in ["deep", "huge", "bytes"] {
            finding(&found, &format!("bad-{name}.yaml"))?;
        }
        Ok(())
    });
    let found = mesh.up.check().expect("findings");
    for (name, _, _, object, field, cause) in BROKEN {
        let finding = finding(&found, &format!("bad-{name}.yaml")).expect("a finding");
        assert_eq!(finding["level"], "ERROR", "{name}: {finding}");
        for (key, part) in [("what", object), ("cause", field), ("cause", cause)] {
            assert!(
                finding[key].as_str().is_some_and(|text| text.contains(part)),
                "{name}: {part:?} in {finding}"
            );
        }
        assert!(finding["remedy"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {finding}");
    }
    for (name, cause) in [("deep", "is not YAML"), ("huge", "8 MiB"), ("bytes", "UTF-8")] {
        let finding = finding(&found, &format!("bad-{name}.yaml")).expect("a finding");
        assert!(finding["cause"].as_str().is_some_and(|text| text.contains(cause)), "{name}: {finding}");
    }
    assert_eq!(mesh.up.strait(&["check"]).expect("it runs").code, Some(1));
    mesh.serves().expect("the rest is as it was");
    let proxy = mesh.caller().url("http");
    let answer = curl(&["--proxy", &proxy, "http://added.web.svc.cluster.local/"]).expect("curl runs");
    assert_eq!(answer.status, 200, "what is good among it applies: {answer:?}");
    // Taken out, everything is forgotten.
    for entry in fs::read_dir(mesh.up.folder().join("files")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("bad-")) {
            fs::remove_file(path).expect("it can be removed");
        }
    }
    until("all is well again", || {
        let said = mesh.up.strait(&["check"])?;
        ensure!(said.code == Some(0), "{said:?}");
        Ok(())
    });
    unharmed(&mut mesh, before);
}

#[test]
fn references_that_lead_nowhere_and_claims_of_two_are_said_of_their_objects() {
    let mesh = Mesh::start();
    let route = |name: &str, rest: &str| format!("{}{rest}", ROUTE.replace("NAME", name));
    let files = [
        ("a-duplicate.yaml", SERVICES.replace("app: site", "app: nobody")),
        ("z-duplicate.yaml", SERVICES.replace("app: tools", "app: nobody")),
        ("dangling-backend.yaml", route("dangling", "  - matches: [{path: {value: /dangling}}]\n    backendRefs: [{name: nobody, port: 80}]\n  - backendRefs: [{name: web, port: 8080}]\n")),
        (
            "dangling-target.yaml",
            POLICY.replace("NAME", "lost").replace("namespace: other", "namespace: web").replace("name: other", "name: nobody")
                + "  rules: [{name: a, from: [{anyone: true}]}]\n",
        ),
        (
            "dangling-waypoint.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: unbound, namespace: web, labels: {strait.dev/use-waypoint: nowhere}}\n\
             spec: {selector: {app: site}, ports: [{name: http, port: 80}]}\n".to_owned(),
        ),
        (
            "conflict.yaml",
            "apiVersion: strait.dev/v1alpha1\nkind: MeshWorkload\nmetadata: {name: thief, namespace: web}\n\
             spec: {serviceAccount: thief, node: callers, addresses: [127.N.1.2]}\n".to_owned(),
        ),
    ];
    for (name, text) in &files {
        mesh.up.write(name, text).expect("a file");
    }
    let expected = [
        ("HTTPRoute web/dangling is not ResolvedRefs", "BackendNotFound", "Service web/nobody"),
        ("AccessPolicy web/lost is not Accepted", "TargetNotFound", "Service web/nobody"),
        ("Service web/unbound has no waypoint", "WaypointNotFound", "Gateway web/nowhere"),
        ("MeshWorkload web/thief is not Accepted", "AddressConflict", "MeshWorkload web/site"),
        ("Service web/site (a-duplicate.yaml:2)", "second time", "take one of them out"),
        ("Service web/tools (z-duplicate.yaml:7)", "second time", "take one of them out"),
    ];
    until("each is said", || {
        let found = mesh.up.check()?;
        for (what, cause, remedy) in expected {
            let finding = finding(&found, what)?;
            let has = |key: &str, part: &str| finding[key].as_str().is_some_and(|text| text.contains(part));
            ensure!(has("cause", cause) && has("remedy", remedy), "{finding} lacks {cause:?} or {remedy:?}");
        }
        Ok(())
    });
    mesh.serves().expect("nobody else is concerned");
    let proxy = mesh.caller().url("http");
    let answer =
        curl(&["--proxy", &proxy, "http://web.web.svc.cluster.local:8080/dangling"]).expect("curl runs");
    assert_eq!(answer.status, 500, "a route that leads nowhere: {answer:?}");
}

#[test]
fn a_bad_edit_of_what_was_good_changes_nothing() {
    let mesh = Mesh::start();
    let edits = [
        ("syntax", SERVICES.replace("spec: {selector: {app: tools}", "spec: {selector: {app: tools")),
        ("field", SERVICES.replace("  action: Allow", "  action: Allow\n  acton: Deny")),
        ("value", SERVICES.replace("  action: Allow", "  action: Alow")),
        ("type", SERVICES.replace("port: 8080", "port: x8080")),
        ("half of it", SERVICES[..SERVICES.len() / 2].to_owned()),
        ("reference", SERVICES.replace("serviceAccounts: [web/caller]", "serviceAccounts: [caller]")),
    ];
    for (name, text) in edits {
        assert_ne!(text, SERVICES, "{name}");
        mesh.up.write("services.yaml", &text).expect("a file");
        until(&format!("{name} is named"), || finding(&mesh.up.check()?, "(services.yaml").cloned());
        mesh.serves().unwrap_or_else(|error| panic!("{name}: the last good stays: {error:#}"));
        mesh.up.write("services.yaml", SERVICES).expect("a file");
        until(&format!("{name} is mended"), || {
            let found = mesh.up.check()?;
            ensure!(found.iter().all(|finding| finding["level"] != "ERROR"), "{found:#?}");
            Ok(())
        });
    }
}

/// Sends bytes and reads until the other end closes; empty when it closes without a word.
fn say(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(HOSTILE_MAX)).expect("a timeout");
    // It may have closed already.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => {
            panic!("{to} keeps {:?}: {error}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]))
        }
    }
    assert!(start.elapsed() < HOSTILE_MAX, "{to} takes too long");
    answer
}

fn unharmed(mesh: &mut Mesh, before: u64) {
    assert!(mesh.up.alive().expect("it can be asked"), "it died:\n{}", mesh.up.log());
    mesh.serves().expect("it still serves");
    let log = mesh.up.log();
    assert!(!log.contains("panicked") && !log.contains("a program ended"), "{log}");
    let after = mesh.up.memory_kib().expect("memory");
    eprintln!("resident memory: {before} KiB before, {after} KiB after");
    assert!(after < before + GROWTH_MAX_KIB, "it grew from {before} to {after} KiB");
}

/// Bytes of no protocol.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn an_explicit_proxy_refuses_what_is_no_request() {
    let mut mesh = Mesh::start();
    let caller = mesh.caller();
    let before = (
        mesh.up.memory_kib().expect("memory"),
        mesh.refused(Program::Callers, "Malformed").expect("metrics"),
    );
    let pair = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("workload:{}", caller.token),
    );
    let with_token =
        |rest: &str| rest.replace("TOKEN", &format!("proxy-authorization: Basic {pair}\r\n")).into_bytes();
    let site = "site.web.svc.cluster.local";
    let requests: Vec<(&str, Vec<u8>, &str)> = vec![
        ("words", b"hello there\r\n\r\n".to_vec(), "400"),
        ("noise", [&b"G"[..], &noise(4096), b"\r\n\r\n"].concat(), "400"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), "400"),
        ("TLS", [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &noise(500), b"\r\n\r\n"].concat(), "400"),
        ("no name", with_token("CONNECT :80 HTTP/1.1\r\nTOKEN\r\n"), "400"),
        ("no port", with_token(&format!("CONNECT {site} HTTP/1.1\r\nTOKEN\r\n")), "400"),
        ("a port that is none", with_token(&format!("CONNECT {site}:65536 HTTP/1.1\r\nTOKEN\r\n")), "400"),
        ("origin form", with_token("GET / HTTP/1.1\r\nhost: x\r\nTOKEN\r\n"), "400"),
        ("another scheme", with_token(&format!("GET ftp://{site}/ HTTP/1.1\r\nTOKEN\r\n")), "400"),
        (
            "two lengths",
            with_token(&format!(
                "POST http://{site}/ HTTP/1.1\r\nTOKENcontent-length: 1\r\ncontent-length: 2\r\n\r\nab"
            )),
            "400",
        ),
        (
            "length and chunks",
            with_token(&format!(
                "POST http://{site}/ HTTP/1.1\r\nTOKENcontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            )),
            "400",
        ),
        (
            "a length that is none",
            with_token(&format!("POST http://{site}/ HTTP/1.1\r\nTOKENcontent-length: -1\r\n\r\n")),
            "400",
        ),
        (
            "a folded header",
            with_token(&format!("GET http://{site}/ HTTP/1.1\r\nTOKENx: a\r\n b\r\n\r\n")),
            "400",
        ),
        (
            "a space before the colon",
            with_token(&format!("GET http://{site}/ HTTP/1.1\r\nTOKENhost : x\r\n\r\n")),
            "400",
        ),
    ];
    for (name, bytes, status) in &requests {
        let answer = String::from_utf8_lossy(&say(caller.address, bytes)).into_owned();
        let said = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(said, *status, "{name}: {answer:?}");
    }
    mesh.counted(Program::Callers, "Malformed", before.1, requests.len());

    // What never ends is ended.
    let before_much = mesh.refused(Program::Callers, "TooMuch").expect("metrics");
    let endless = [b"GET http://x/ HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 4 << 20]].concat();
    let answer = say(caller.address, &endless);
    // It is told so, unless it is still sending when it is cut.
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    mesh.counted(Program::Callers, "TooMuch", before_much, 1);

    // SOCKS: a password too long to be one, a command that there is not, an address of no kind, half a greeting.
    let token = caller.token.as_bytes();
    let login = [&[5, 1, 2, 1, 8][..], b"workload", &[token.len() as u8], token].concat();
    for (name, rest, reply) in [
        ("BIND", &[5, 2, 0, 1, 127, 0, 0, 1, 0, 80][..], 7),
        ("UDP", &[5, 3, 0, 1, 127, 0, 0, 1, 0, 80], 7),
        ("an address of no kind", &[5, 1, 0, 9, 127, 0, 0, 1, 0, 80], 8),
    ] {
        let answer = say(caller.address, &[&login[..], rest].concat());
        assert_eq!(answer.get(..5), Some(&[5, 2, 1, 0, 5][..]), "{name}: {answer:?}");
        assert_eq!(answer.get(5), Some(&reply), "{name}: {answer:?}");
    }
    assert!(
        !say(caller.address, &[4, 1, 0, 80, 127, 0, 0, 1, 0]).starts_with(&[0, 90]),
        "SOCKS4 has no password"
    );

    // Who is silent does not stay.
    let mut silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(caller.address).expect("it listens")).collect();
    mesh.serves().expect("others are served meanwhile");
    for stream in &mut silent {
        stream.set_read_timeout(Some(HOSTILE_MAX)).expect("a timeout");
        let ended = stream.read(&mut [0]);
        assert!(
            ended.as_ref().is_ok_and(|count| *count == 0)
                || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
            "it is closed"
        );
    }
    unharmed(&mut mesh, before.0);
}

/// Believes every server: what is tried here is what the server believes.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A TLS handshake and one request after it, as somebody who verifies nothing; what was answered, or the failure.
fn tls(to: SocketAddr, alpn: &[&[u8]], bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.dangerous().set_certificate_verifier(Arc::new(AnyServer(provider)));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::IpAddress(to.ip().into());
    let mut session = rustls::ClientConnection::new(Arc::new(config), name)?;
    let mut socket = TcpStream::connect(to)?;
    socket.set_read_timeout(Some(HOSTILE_MAX))?;
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    stream.write_all(bytes)?;
    let mut answer = vec![0; 4096];
    let count = stream.read(&mut answer)?;
    answer.truncate(count);
    Ok(answer)
}

#[test]
fn tunnel_ports_refuse_who_does_not_speak_hbone_as_somebody_they_know() {
    let mut mesh = Mesh::start();
    let before = mesh.up.memory_kib().expect("memory");
    let root = CertificateDer::from_pem_file(mesh.up.state().join("root/root.pem")).expect("its root");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stranger = Authority::new("bad.test").expect("an authority");
    for (program, address) in
        [(Program::Servers, mesh.up.at(1, 2, 15008)), (Program::Waypoint, mesh.up.at(2, 1, 15008))]
    {
        let counted = mesh.refused(program, "HandshakeFailed").expect("metrics");
        let plain: [&[u8]; 5] = [
            b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"CONNECT 127.0.0.1:80 HTTP/1.1\r\n\r\n",
            &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3],
            &noise(4096),
        ];
        for bytes in plain {
            // A TLS alert, or nothing: never an answer.
            let answer = say(address, bytes);
            assert!(answer.is_empty() || answer.starts_with(&[21, 3]), "{address}: {answer:?}");
        }
        let connect = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        for alpn in [&[&b"http/1.1"[..]][..], &[], &[b"h3", b"spdy/3"], &[b"h2"]] {
            // The last one agrees, and has no certificate.
            let answer = tls(address, alpn, connect);
            assert!(answer.as_ref().map_or(true, Vec::is_empty), "{address} {alpn:?}: {answer:?}");
        }
        // A certificate of the right name from another root.
        let name = "spiffe://bad.test/ns/web/sa/caller";
        let forged = stranger.sign(&[name], Duration::from_secs(600)).expect("a certificate");
        let authority = format!("{}:80", mesh.up.ip(1, 2));
        let answer = runtime.block_on(hbone::connect(
            address,
            &forged,
            std::slice::from_ref(&root),
            &authority,
            HeaderMap::new(),
        ));
        assert!(answer.is_err(), "{address} believes {answer:?}");
        mesh.counted(program, "HandshakeFailed", counted, plain.len() + 5);
    }
    unharmed(&mut mesh, before);
}

#[test]
fn the_control_plane_answers_nobody_whom_it_does_not_know() {
    let mut mesh = Mesh::start();
    let before = mesh.up.memory_kib().expect("memory");
    let address = mesh.up.at(0, 1, 15012);
    for bytes in
        [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &noise(4096)]
    {
        let answer = say(address, bytes);
        assert!(answer.is_empty() || answer.starts_with(&[21, 3]), "{answer:?}");
    }
    assert!(tls(address, &[b"h3"], b"x").is_err(), "a protocol that it does not speak");
    let at = |path: &str| format!("https://{address}{path}");
    for path in [
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        "/istio.v1.auth.IstioCertificateService/CreateCertificate",
    ] {
        let token = fs::read_to_string(mesh.up.state().join("tokens/workload-web-caller")).expect("a token");
        let workload = format!("authorization: Bearer {}", token.trim());
        for header in ["x: none", "authorization: Bearer nonsense", "authorization: Basic eDp5", &workload] {
            let file = mesh.up.folder().join("empty");
            fs::write(&file, [0, 0, 0, 0, 0]).expect("a file");
            let (data, url) = (format!("@{}", file.display()), at(path));
            let common = [
                "--insecure",
                "--http2",
                "--header",
                "content-type: application/grpc",
                "--header",
                "te: trailers",
            ];
            let arguments =
                [&common[..], &["--header", header, "--data-binary", &data, "--max-time", "5", &url]]
                    .concat();
            // Debian's curl loses an answer whose stream is reset before it has sent its body; then it asks again.
            let status = until(&format!("{path} {header}: an answer"), || {
                let answer = curl(&arguments)?;
                answer.header("grpc-status").map(str::to_owned).with_context(|| format!("{answer:?}"))
            });
            assert!(matches!(&*status, "16" | "7"), "{path} {header}: {status}");
        }
    }
    let nothing = curl(&["--insecure", &at("/nothing")]).expect("curl runs");
    assert_eq!(nothing.header("grpc-status"), Some("12"), "{nothing:?}");
    let bundle = curl(&["--insecure", &at("/bundle")]).expect("curl runs");
    assert!(bundle.status == 200 && bundle.text().contains("x509-svid"), "{bundle:?}");
    assert!(!bundle.text().contains("\"d\""), "no private key");
    unharmed(&mut mesh, before);
}

#[test]
fn a_waypoint_refuses_mcp_that_is_none() {
    let mut mesh = Mesh::start();
    let before = mesh.up.memory_kib().expect("memory");
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"search","arguments":{arguments}}}}}"#
        )
    };
    let nested = |depth: usize| call(&format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth)));
    let kind = &["--header", "content-type: text/plain"][..];
    let none: &[&str] = &[];
    let bad: Vec<(&str, &[&str], String, u16, &str)> = vec![
        ("nothing", none, String::new(), 400, "Malformed"),
        ("words", none, "hello".into(), 400, "Malformed"),
        ("half", none, LIST[..LIST.len() - 3].into(), 400, "Malformed"),
        ("more than one", none, format!("{LIST}{LIST}"), 400, "Malformed"),
        ("a batch", none, format!("[{LIST},{LIST}]"), 400, "Malformed"),
        ("an empty batch", none, "[]".into(), 400, "Malformed"),
        ("not JSON-RPC", none, r#"{"hello":"world"}"#.into(), 400, "Malformed"),
        ("another version", none, LIST.replace("2.0", "1.0"), 400, "Malformed"),
        ("a method that is no text", none, LIST.replace("\"tools/list\"", "7"), 400, "Malformed"),
        ("an id of no kind", none, LIST.replace("\"id\":1", "\"id\":{}"), 400, "Malformed"),
        (
            "a key twice",
            none,
            LIST.replace("\"id\":1", "\"id\":1,\"method\":\"tools/call\""),
            400,
            "Malformed",
        ),
        ("an argument twice", none, call(r#"{"repo":"docs","repo":"web"}"#), 400, "Malformed"),
        ("a key twice by escapes", none, call(r#"{"repo":"docs","\u0072epo":"web"}"#), 400, "Malformed"),
        ("nested deeply", none, nested(100), 400, "Malformed"),
        ("nested very deeply", none, nested(200_000), 400, "Malformed"),
        ("another content type", kind, LIST.into(), 415, "Malformed"),
        ("much", none, call(&format!("{{\"q\":\"{}\"}}", "x".repeat(100 << 20))), 413, "TooMuch"),
    ];
    for (name, arguments, body, status, reason) in &bad {
        let counted = mesh.refused(Program::Waypoint, reason).expect("metrics");
        let served = mesh.site.served();
        let answer = mesh.mcp(arguments, body).expect("curl runs");
        assert_eq!(answer.status, *status, "{name}: {} {} {}", answer.heads, answer.text(), answer.errors);
        let (id, said) = answer.denied().unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(said, *reason, "{name}");
        mesh.counted(Program::Waypoint, reason, counted, 1);
        assert_eq!(mesh.site.served(), served, "{name}");
        until("the refusal is known", || {
            let explained = mesh.up.strait(&["explain", &id, "--output", "json"])?.json()?;
            ensure!(explained["reason"] == *reason, "{explained}");
            Ok(())
        });
    }
    // Bytes that are no HTTP, inside a tunnel that is.
    let caller = mesh.caller();
    for service in ["tools.web.svc.cluster.local:80", "web.web.svc.cluster.local:8080"] {
        for bytes in [&b"hello\r\n\r\n"[..], &noise(4096), &[0x16, 3, 1, 2, 0, 1], b"GET / HTTP/9.9\r\n\r\n"]
        {
            let mut tunnel = connect(&caller, service).expect("it is carried");
            assert_eq!(tunnel.status, 200, "{}", tunnel.head);
            tunnel.stream.write_all(bytes).expect("it is taken");
            tunnel.stream.shutdown(std::net::Shutdown::Write).expect("it can be ended");
            let mut answer = Vec::new();
            // A reset is an end as well.
            let _ = tunnel.stream.read_to_end(&mut answer);
            let text = String::from_utf8_lossy(&answer);
            assert!(text.is_empty() || text.starts_with("HTTP/1.1 400"), "{service}: {text}");
        }
    }
    unharmed(&mut mesh, before);
}
