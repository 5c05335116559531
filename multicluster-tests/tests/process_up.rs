//! `strait up` as a user runs it: the minimal example, curl in every way a proxy can be named, refusals that explain
//! themselves, edits, private state, a second cluster, and what the command shows.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use multicluster_tests::{
    mesh::PATIENCE,
    strait::strait,
    up::{Answer, Echo, Proxy, Up, connect, curl, rows, until},
};
use serde_json::json;

/// What the minimal example serves.
const FILES: &str = "http://files.shop.svc.cluster.local/hello";
/// The port on which the minimal example expects the user's server.
const MINIMAL_PORT: &str = "9001";
/// How many edits are measured.
const EDITS: usize = 11;
/// Far above what an edit may take on an idle machine (100 ms), for machines that are busy: the median of all edits.
const EDIT_MAX: Duration = Duration::from_secs(1);

fn minimal() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/minimal/shop.yaml");
    fs::read_to_string(file).expect("the minimal example is there")
}

/// The minimal example with a server of ours.
fn minimal_with(server: &Echo) -> Up {
    let text = minimal();
    assert!(text.contains(MINIMAL_PORT), "the example names a port");
    let text = text.replace(MINIMAL_PORT, &server.port().to_string());
    Up::start("minimal", &[("shop.yaml", &text)]).expect("strait up starts")
}

fn through(proxy: &Proxy, how: &[&str]) -> Answer {
    let mut arguments = how.to_vec();
    let url = proxy.url("http");
    arguments.extend(["--proxy", &url, FILES]);
    curl(&arguments).expect("curl runs")
}

#[test]
fn curl_reaches_the_minimal_example_however_its_proxy_is_named() {
    assert!(minimal().lines().count() < 40, "the minimal example is one that can be read at once");
    let server = Echo::listen("files").expect("a server");
    let up = minimal_with(&server);
    let planner = up.proxy("shop", "planner").expect("its proxy");
    let said = |answer: Answer, how: &str| {
        assert_eq!((answer.status, answer.exit), (200, Some(0)), "{how}: {answer:?}");
        let text = answer.text();
        assert!(text.starts_with("files\r\nGET /hello HTTP/1.1\r\n"), "{how}: in origin form: {text}");
        let lower = text.to_lowercase();
        assert!(lower.contains("host: files.shop.svc.cluster.local\r\n"), "{how}: {text}");
        assert!(
            !lower.contains("proxy-") && !lower.contains(&planner.token),
            "{how}: no token leaks: {text}"
        );
    };
    said(through(&planner, &[]), "plain proxy use, in absolute form");
    said(through(&planner, &["--proxytunnel"]), "HTTP CONNECT");
    let socks = planner.url("socks5h");
    said(curl(&["--proxy", &socks, FILES]).expect("curl runs"), "SOCKS5 by name");
    assert_eq!(server.served(), 3);
    let healthy = up.healthy();
    assert!(healthy.out.contains("healthy"), "{healthy:?}");
}

#[test]
fn who_has_no_grant_is_refused_and_the_id_explains_itself() {
    let server = Echo::listen("files").expect("a server");
    let up = minimal_with(&server);
    let files = up.proxy("shop", "files").expect("its proxy");
    for how in [&[][..], &["--proxytunnel"]] {
        let answer = through(&files, how);
        assert_eq!(answer.status.max(answer.connect), 403, "{answer:?}");
        let (id, reason) = answer.denied().expect("it says why");
        assert_eq!(reason, "NoGrant");
        let explained = up.explained(&id);
        assert_eq!(explained["reason"], "NoGrant", "{explained}");
        assert!(explained["policy"].as_str().is_some_and(|it| it.contains("shop/files")), "{explained}");
        assert_eq!(explained["rule"], "planner", "{explained}");
        let people = up.strait(&["explain", &id]).expect("it runs");
        assert!(people.out.contains("NoGrant") && people.out.contains("planner"), "{people:?}");
    }
    let socks = files.url("socks5h");
    let answer = curl(&["--proxy", &socks, FILES]).expect("curl runs");
    assert_ne!(answer.exit, Some(0), "SOCKS5 refuses as well: {answer:?}");
    assert_eq!(server.served(), 0, "nothing came to the server");
    let unknown = up.strait(&["explain", "r-nobody-ever-said-this"]).expect("it runs");
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
}

#[test]
fn without_its_token_or_uid_a_proxy_serves_nobody() {
    let server = Echo::listen("files").expect("a server");
    let own = fs::metadata("/proc/self").expect("procfs").uid();
    let workload = |name: &str, uid: u32| {
        format!(
            "---\napiVersion: strait.dev/v1alpha1\nkind: MeshWorkload\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{serviceAccount: planner, node: laptop, uid: {uid}}}\n"
        )
    };
    let text = minimal().replace(MINIMAL_PORT, &server.port().to_string());
    let text = format!("{text}{}{}", workload("mine", own), workload("theirs", own + 1));
    let up = Up::start("minimal", &[("shop.yaml", &text)]).expect("strait up starts");
    let planner = up.proxy("shop", "planner").expect("its proxy");
    let bare = format!("http://{}", planner.address);
    for how in [&["--proxy", &bare, FILES][..], &["--proxytunnel", "--proxy", &bare, FILES]] {
        let answer = curl(how).expect("curl runs");
        assert_eq!(answer.status.max(answer.connect), 407, "{answer:?}");
        assert!(answer.header("proxy-authenticate").is_some_and(|it| it.starts_with("Basic")), "{answer:?}");
    }
    let wrong = Proxy { token: format!("{}0", planner.token), ..planner.clone() };
    assert_eq!(through(&wrong, &[]).status, 407);
    let others = Proxy { token: up.proxy("shop", "files").expect("its proxy").token, ..planner.clone() };
    assert_eq!(through(&others, &[]).status, 407, "the token of another workload is none");
    for scheme in ["socks5h", "socks4a"] {
        for token in [&wrong.token, ""] {
            let url = Proxy { token: token.to_owned(), ..planner.clone() }.url(scheme);
            let answer = curl(&["--proxy", &url, FILES]).expect("curl runs");
            assert_ne!(answer.exit, Some(0), "{scheme}: {answer:?}");
        }
    }
    assert_eq!(server.served(), 0, "nothing came to the server");

    assert_eq!(through(&up.proxy("shop", "mine").expect("its proxy"), &[]).status, 200);
    let theirs = up.proxy("shop", "theirs").expect("its proxy");
    let answer = through(&theirs, &[]);
    assert_ne!(answer.exit, Some(0), "a process of another uid, with the right token: {answer:?}");
    assert_eq!(server.served(), 1);
    // Nothing that it says is read, so nothing is answered; the log has the id.
    let id = until("the refusal is logged", || {
        let log = up.log();
        let line = log.lines().find(|line| line.contains("reason=WrongUid")).context("no WrongUid")?;
        let id = line.split(' ').find_map(|field| field.strip_prefix("id=")).context("no id")?;
        Ok(id.to_owned())
    });
    let explained = up.explained(&id);
    assert_eq!(explained["reason"], "WrongUid", "{explained}");
    let detail = explained["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(&own.to_string()), "it names who came: {explained}");
}

/// Who may call `files`: planner, and guest if `guest`.
fn grants(guest: bool) -> String {
    let accounts = if guest { "shop/planner, shop/guest" } else { "shop/planner" };
    format!(
        "apiVersion: strait.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{name: files, namespace: shop}}\n\
         spec:\n  targetRefs: [{{group: \"\", kind: Service, name: files}}]\n  action: Allow\n  rules:\n  \
         - name: callers\n    from: [{{serviceAccounts: [{accounts}]}}]\n"
    )
}

#[test]
fn an_edit_is_in_force_at_once_and_cuts_nobody_it_does_not_concern() {
    let server = Echo::listen("files").expect("a server");
    let text = minimal().replace(MINIMAL_PORT, &server.port().to_string());
    let (objects, policy) = text.rsplit_once("---").expect("the policy is the last object");
    assert!(policy.contains("AccessPolicy"), "{policy}");
    let guest = "---\napiVersion: strait.dev/v1alpha1\nkind: MeshWorkload\nmetadata: {name: guest, namespace: shop}\n\
                 spec: {serviceAccount: guest, node: laptop}\n";
    let objects = format!("{objects}{guest}");
    let files = [("objects.yaml", objects.as_str()), ("grants.yaml", &grants(false))];
    let up = Up::start("edits", &files).expect("strait up starts");
    let target = "files.shop.svc.cluster.local:80";
    let guest = up.proxy("shop", "guest").expect("its proxy");
    let planner = up.proxy("shop", "planner").expect("its proxy");
    let mut kept = connect(&planner, target).expect("its proxy answers");
    assert_eq!(kept.status, 200, "{}", kept.head);
    assert_eq!(connect(&guest, target).expect("its proxy answers").status, 403);
    let mut took = Vec::new();
    let mut live: Option<multicluster_tests::up::Tunnelled> = None;
    for edit in 0..EDITS {
        let granted = edit % 2 == 0;
        let wanted = if granted { 200 } else { 403 };
        let start = Instant::now();
        up.write("grants.yaml", &grants(granted)).expect("a file");
        loop {
            let answer = connect(&guest, target).expect("its proxy answers");
            if answer.status == wanted {
                took.push(start.elapsed());
                if granted {
                    live = Some(answer);
                }
                break;
            }
            assert!(start.elapsed() < PATIENCE, "edit {edit} is not in force after {PATIENCE:?}");
        }
        if !granted {
            let mut stream = live.take().expect("it was granted before").stream;
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let ended = std::io::Read::read(&mut stream, &mut [0]);
            let cut = match &ended {
                Ok(count) => *count == 0,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            };
            assert!(cut, "a connection whose grant was withdrawn is closed: {ended:?}");
        }
        // Edits of a person do not come at once; none may be merged with the one before.
        thread::sleep(Duration::from_millis(60));
    }
    took.sort_unstable();
    eprintln!(
        "an edit is in force after {:?} (median of {EDITS}; longest {:?})",
        took[EDITS / 2],
        took[EDITS - 1]
    );
    assert!(took[EDITS / 2] < EDIT_MAX, "an edit is in force after {:?}", took[EDITS / 2]);
    let (head, _) = kept.ask("GET /kept HTTP/1.1\r\nhost: files\r\n\r\n").expect("the connection lives");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn state_belongs_to_one_user() {
    let server = Echo::listen("files").expect("a server");
    let up = minimal_with(&server);
    let mut seen = Vec::new();
    let mut folders = vec![up.state()];
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).expect("it can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                // What is handed to those who join is public.
                let wanted = if path.ends_with("root/root.pem") { 0o644 } else { 0o600 };
                assert_eq!(mode(&path), wanted, "{}", path.display());
                seen.push(path);
            }
        }
    }
    for file in ["root/root", "root/root.pem", "tokens/node-laptop", "tokens/workload-shop-planner"] {
        assert!(seen.contains(&up.state().join(file)), "{file} is in {seen:?}");
    }
    let open = up.folder().join("open");
    fs::create_dir(&open).expect("a folder");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).expect("a mode");
    let refused = strait(&["up", "--file"]).arg(up.folder().join("files")).arg("--state").arg(&open).output();
    let refused = refused.expect("it runs");
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("chmod 700"),
        "the remedy is named: {refused:?}"
    );
}

fn mode(path: &PathBuf) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// A namespace with a gateway to other clusters.
const EAST_WEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: strait-system, labels: {strait.dev/mesh: ambient}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: east-west, namespace: strait-system}
spec:
  gatewayClassName: strait-east-west
  addresses: [{type: IPAddress, value: 127.N.2.2}]
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
";

/// The `ClusterLink` with which another cluster knows `up`.
fn link(up: &Up, name: &str, import: &str, export: &str) -> String {
    let root = fs::read_to_string(up.state().join("root/root.pem")).expect("its root");
    let der: String = root.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, der).expect("it is PEM");
    let pin = authority::spki_pin(&der).expect("it is a certificate");
    let (control, gateway) = (up.at(0, 1, 15012), up.ip(2, 2));
    let own = format!("spiffe://{name}.test/ns/strait-system/sa");
    format!(
        "apiVersion: strait.dev/v1alpha1\nkind: ClusterLink\nmetadata: {{name: {name}}}\nspec:\n  \
         trustDomain: {name}.test\n  bundle: {{endpoint: \"https://{control}/bundle\", pin: \"{pin}\"}}\n  \
         controlPlane: {{address: \"{control}\", identity: \"{own}/controlplane\"}}\n  \
         gateways: [{{address: {gateway}, port: 15008, identity: \"{own}/east-west\"}}]\n  \
         import: {{namespaces: [{import}]}}\n  export: {{namespaces: [{export}]}}\n"
    )
}

/// A server behind this port that is exported, and that planner of the other cluster may call.
fn exported(port: u16) -> String {
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: tools, labels: {{strait.dev/mesh: ambient, strait.dev/mtls: strict}}}}
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {{name: echo, namespace: tools, labels: {{app: echo}}}}
spec:
  serviceAccount: echo
  node: two
  delivery: {{loopbackPort: {}}}
  ports: [{{name: http, port: 80}}]
---
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: tools}}
spec: {{selector: {{app: echo}}, ports: [{{name: http, port: 80, targetPort: http}}]}}
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {{name: echo, namespace: tools}}
---
apiVersion: strait.dev/v1alpha1
kind: AccessPolicy
metadata: {{name: echo, namespace: tools}}
spec:
  targetRefs: [{{group: \"\", kind: Service, name: echo}}]
  action: Allow
  rules:
  - name: planner
    from: [{{trustDomain: east.test, serviceAccounts: [agents/planner]}}]
",
        port
    )
}

#[test]
fn two_clusters_are_linked_by_yaml() {
    let server = Echo::listen("echo").expect("a server");
    let agents = "
apiVersion: v1
kind: Namespace
metadata: {name: agents, labels: {strait.dev/mesh: ambient}}
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: planner, namespace: agents}
spec: {serviceAccount: planner, node: one}
---
apiVersion: strait.dev/v1alpha1
kind: MeshWorkload
metadata: {name: intern, namespace: agents}
spec: {serviceAccount: intern, node: one}
";
    let tools = exported(server.port());
    let east = Up::start("east", &[("agents.yaml", agents), ("mesh.yaml", EAST_WEST)]).expect("east starts");
    let west = Up::start("west", &[("tools.yaml", &tools), ("mesh.yaml", EAST_WEST)]).expect("west starts");
    let url = "http://echo.tools.svc.clusterset.local/over";
    let planner = east.proxy("agents", "planner").expect("its proxy");
    let (http, socks) = (planner.url("http"), planner.url("socks5h"));
    assert_ne!(curl(&["--proxy", &http, url]).expect("curl runs").status, 200, "not linked yet");

    east.write("link.yaml", &link(&west, "west", "{remote: tools, local: tools}", "")).expect("a file");
    west.write("link.yaml", &link(&east, "east", "", "tools")).expect("a file");
    until("planner reaches the other cluster", || {
        let answer = curl(&["--proxy", &http, url])?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
        anyhow::ensure!(answer.text().starts_with("echo\r\nGET /over"), "{answer:?}");
        Ok(())
    });
    for how in [&["--proxytunnel", "--proxy", &http, url][..], &["--proxy", &socks, url]] {
        let answer = curl(how).expect("curl runs");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let intern = east.proxy("agents", "intern").expect("its proxy").url("http");
    let answer = curl(&["--proxy", &intern, url]).expect("curl runs");
    assert_eq!(answer.status, 403, "{answer:?}");
    let (id, reason) = answer.denied().expect("it says why");
    assert_eq!(reason, "NoGrant");
    let explained = west.explained(&id);
    assert_eq!(explained["policy"], "AccessPolicy/tools/echo", "{explained}");
    for (up, other) in [(&east, "west"), (&west, "east")] {
        let links = up.get("links").expect("links");
        assert!(rows(&links).any(|row| row["name"] == other), "{links}");
        up.healthy();
    }
    // Unlinking is an edit as well.
    west.remove("link.yaml").expect("a file");
    until("the link is gone", || {
        anyhow::ensure!(curl(&["--proxy", &http, url])?.status != 200, "it still answers");
        Ok(())
    });
}

#[test]
fn the_command_shows_what_is_and_scripts_can_read_it() {
    let server = Echo::listen("files").expect("a server");
    let up = minimal_with(&server);
    let planner = up.proxy("shop", "planner").expect("its proxy");
    assert_eq!(through(&planner, &[]).status, 200);
    let lists =
        ["workloads", "services", "routes", "policies", "certificates", "connections", "proxies", "links"];
    for list in lists {
        let people = up.strait(&["get", list]).expect("it runs");
        assert_eq!(people.code, Some(0), "{people:?}");
        let json = up.get(list).expect("JSON");
        assert!(json.is_array(), "{list}: {json}");
        let yaml = up.strait(&["get", list, "--output", "yaml"]).expect("it runs");
        assert_eq!(yaml.code, Some(0), "{yaml:?}");
        assert!(
            serde_json::from_str::<serde_json::Value>(&yaml.out).is_err() || json == json!([]),
            "{yaml:?}"
        );
        for row in rows(&json) {
            let first = row.as_object().and_then(|row| row.keys().next()).expect("a column");
            assert!(people.out.contains(&first.to_uppercase().replace('_', "-")), "{people:?}");
            assert!(yaml.out.contains(&format!("{first}:")), "{yaml:?}");
        }
    }
    let workloads = up.get("workloads").expect("JSON");
    let names: Vec<&str> = rows(&workloads).filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["files", "planner"]);
    for row in rows(&workloads) {
        let identity =
            format!("spiffe://minimal.test/ns/shop/sa/{}", row["name"].as_str().unwrap_or_default());
        assert_eq!(row["identity"], identity, "{row}");
    }
    assert_eq!(rows(&up.get("certificates").expect("JSON")).filter(|row| row["valid"] == true).count(), 3);

    // By question: what would be.
    let asked = |from: &str| {
        let said = up.strait(&["explain", "--from", from, "--to", "shop/files:80", "--output", "json"]);
        said.expect("it runs").json().expect("JSON")["verdict"].clone()
    };
    assert_eq!(asked("shop/planner"), "granted");
    assert_eq!(asked("shop/files"), "refused");

    // A problem is an exit status of 1, with a cause and a remedy.
    up.write(
        "broken.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: shop}\nspec: {ports: 7}\n",
    )
    .expect("a file");
    until("the problem is found", || {
        let said = up.strait(&["check"])?;
        anyhow::ensure!(said.code == Some(1), "{said:?}");
        anyhow::ensure!(said.out.contains("cause:") && said.out.contains("remedy:"), "{said:?}");
        Ok(())
    });
    up.remove("broken.yaml").expect("a file");
    up.healthy();
    let nowhere = strait(&["check", "--state", "/nonexistent"]).output().expect("it runs");
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("--state"), "{nowhere:?}");
}

#[test]
fn before_it_runs_a_folder_can_be_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let pre = || strait(&["check", "--pre"]).arg(folder.path()).output().expect("it runs");
    fs::write(folder.path().join("shop.yaml"), minimal()).expect("a file");
    let good = pre();
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    fs::write(folder.path().join("shop.yaml"), minimal().replace("action: Allow", "action: Alow"))
        .expect("a file");
    let bad = pre();
    let said = String::from_utf8_lossy(&bad.stdout).into_owned();
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    assert!(said.contains("shop.yaml:") && said.contains("spec.action") && said.contains("Allow"), "{said}");
}

#[test]
fn every_verb_teaches_and_shells_complete() {
    let run = |arguments: &[&str]| {
        let output = strait(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let help = run(&["--help"]);
    for verb in ["demo", "up", "check", "get", "explain", "token", "proxy", "link", "run", "completion"] {
        assert!(help.contains(verb), "{verb} is in {help}");
        let own = run(&[verb, "--help"]);
        assert!(own.contains("Usage: strait") && own.len() > 200, "{verb}: {own}");
    }
    for program in ["controlplane", "ztunnel", "waypoint"] {
        assert!(run(&["run", program, "--help"]).contains("--state"), "{program}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completion", shell]);
        assert!(script.contains("strait") && script.contains("explain"), "{shell}");
    }
    for wrong in
        [&["gte"][..], &["get", "nothing"], &["up"], &["explain"], &["get", "workloads", "--output", "xml"]]
    {
        let output = strait(wrong).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{wrong:?} is told what is wrong");
    }
}
