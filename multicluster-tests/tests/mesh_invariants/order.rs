//! 8. Order does not matter.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
};

use multicluster_tests::mesh::{Access, Client, Cluster, Plan, server::Server, until_some};
use serde_json::Value;

use crate::shop::{MESH, SERVICES, WORKLOADS, allow, plan, policy, reaches};

/// How many orders are tried, beside the one in which a person would write.
const ORDERS: usize = 4;

/// Numbers that look random.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// What is written, one document a file, and what must come of it. Nobody may do anything by default.
struct Case {
    plan: Plan<'static>,
    documents: Vec<String>,
    /// What listens.
    servers: &'static [&'static str],
    /// Who calls: namespace, workload, address.
    caller: (&'static str, &'static str, (u8, u8)),
    /// What the caller reaches in the end, and what is answered.
    reached: &'static [(&'static str, &'static str)],
    /// Another who calls, and may reach these at no time, whatever is there of the files; why not, in the end.
    other: (&'static str, &'static str, (u8, u8)),
    never: &'static [(&'static str, &'static str)],
}

fn documents(files: &[&str]) -> Vec<String> {
    files.iter().flat_map(|file| file.split("\n---")).map(str::to_owned).collect()
}

async fn is_refused(client: &Client, urls: &[(&str, &str)]) {
    for (url, _) in urls {
        if let Ok(said) = client.text(url).await {
            panic!("{url} answered {said}");
        }
    }
}

/// What the control plane says at the end, but for times and addresses.
async fn state(cluster: &Cluster) -> Vec<Value> {
    let mut pages = Vec::new();
    for page in ["/v1/workloads", "/v1/services", "/v1/policies", "/v1/routes"] {
        let text = cluster.page(page).await.unwrap().to_string();
        let text = text
            .replace(&format!("127.{}.", cluster.number().get()), "127.N.")
            .replace(&cluster.folder().display().to_string(), "FOLDER");
        let mut rows: Value = serde_json::from_str(&text).unwrap();
        if let Some(rows) = rows.as_array_mut() {
            rows.sort_by_key(Value::to_string);
        }
        pages.push(rows);
    }
    pages
}

/// Everything runs before the first file comes.
async fn arrives(case: &Case, order: &[usize]) -> Vec<Value> {
    let mut cluster = Cluster::prepare(case.plan).unwrap();
    cluster.start_control_plane().await.unwrap();
    cluster.start_proxies().unwrap();
    let servers = case.servers.iter().map(|name| Server::web(&cluster.socket(name), name).unwrap());
    let _servers: Vec<Server> = servers.collect();
    let client = |(namespace, name, at)| cluster.client(namespace, name, at);
    for &index in order {
        cluster.write(&format!("{index}.yaml"), &case.documents[index]).unwrap();
        // Under whatever is in force just then; nobody has a token before he is written.
        if let Ok(other) = client(case.other) {
            is_refused(&other, case.never).await;
        }
    }
    cluster.ready().await;
    let (caller, other) = (client(case.caller).unwrap(), client(case.other).unwrap());
    for (url, answer) in case.reached {
        let said = reaches(&caller, url).await;
        assert!(said.starts_with(answer), "{url}: {said}");
    }
    for (url, reason) in case.never {
        until_some(format!("{url} is refused for {reason}"), async || {
            let denied = other.denied(url).await?;
            anyhow::ensure!(denied.reason == *reason, "{denied}");
            Ok(())
        })
        .await;
    }
    // How many proxies acknowledged is told a moment later.
    let settled = async || {
        let now = state(&cluster).await;
        anyhow::ensure!(!now[2].to_string().contains("\"programmed\":false"), "{}", now[2]);
        Ok(now)
    };
    until_some("every policy is in force", settled).await
}

async fn in_any_order(case: &Case) {
    let seed = RandomState::new().build_hasher().finish();
    eprintln!("seed {seed}");
    let mut chance = Chance(seed);
    let count = case.documents.len();
    let forward: Vec<usize> = (0..count).collect();
    let expected = arrives(case, &forward).await;
    let mut orders = vec![forward.iter().rev().copied().collect::<Vec<_>>()];
    for _ in 1..ORDERS {
        let mut order = forward.clone();
        for last in (1..count).rev() {
            order.swap(last, chance.below(last + 1));
        }
        orders.push(order);
    }
    for order in orders {
        eprintln!("order {order:?}");
        assert_eq!(arrives(case, &order).await, expected, "order {order:?}");
    }
}

#[tokio::test]
async fn mesh_invariant_8_any_order_of_files_ends_the_same_and_passes_through_no_open_one() {
    let mut documents = documents(&[MESH, WORKLOADS, SERVICES]);
    let deny = "from: [{serviceAccounts: [shop/intern]}]\n    to: [{http: {paths: [{prefix: /}]}}]";
    documents.extend([
        allow("plain", "plain", &["planner"]),
        allow("web", "web", &["planner"]),
        allow("tools", "tools", &["planner"]),
        policy("no-web", "web", "Deny", deny),
    ]);
    let case = Case {
        plan: plan(&[], Access::None),
        documents,
        servers: &["plain", "web", "tools"],
        caller: ("shop", "planner", (1, 1)),
        reached: &[("http://plain.shop/", "plain /"), ("http://web.shop/", "web /")],
        other: ("shop", "intern", (1, 2)),
        never: &[
            ("http://plain.shop/", "NoGrant"),
            ("http://web.shop/", "Denied"),
            ("http://tools.shop/", "NoGrant"),
        ],
    };
    in_any_order(&case).await;
}

#[tokio::test]
async fn mesh_invariant_8_the_files_of_the_demo_come_in_any_order() {
    let files = [
        include_str!("../../../examples/demo/east/mesh.yaml"),
        include_str!("../../../examples/demo/east/workloads.yaml"),
        include_str!("../../../examples/demo/east/services.yaml"),
        include_str!("../../../examples/demo/east/routes.yaml"),
        include_str!("../../../examples/demo/east/policies.yaml"),
    ];
    let here = |text: String| text.replace("127.10.", "127.N.").replace("/tmp/strait-demo/east", "FOLDER");
    let case = Case {
        plan: Plan {
            name: "east",
            files: &[],
            nodes: &["east-1", "east-2"],
            gateways: &[("agents", "waypoint"), ("strait-system", "east-west")],
            default_access: Access::None,
        },
        documents: documents(&files).into_iter().map(here).collect(),
        servers: &["web-v1", "web-v2", "echo-east"],
        caller: ("agents", "planner", (1, 1)),
        reached: &[("http://web.agents/", "web-v")],
        other: ("agents", "intern", (1, 2)),
        // Nobody is granted these by any of the files.
        never: &[("http://echo.tools/", "NoGrant"), ("http://web-v2.agents/", "NoGrant")],
    };
    in_any_order(&case).await;
}
