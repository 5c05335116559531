//! 8. Order does not matter.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
};

use multicluster_tests::mesh::{Access, Client, Cluster, server::Server};
use serde_json::Value;

use crate::shop::{MESH, SERVICES, WORKLOADS, allow, intern, plan, planner, policy, reaches};

/// How many orders are tried.
const ORDERS: usize = 5;

/// Numbers that look random.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

fn documents() -> Vec<(String, String)> {
    let mut documents: Vec<String> =
        [MESH, WORKLOADS, SERVICES].iter().flat_map(|file| file.split("---")).map(str::to_owned).collect();
    documents.extend([
        allow("plain", "plain", &["planner"]),
        allow("web", "web", &["planner"]),
        allow("tools", "tools", &["planner"]),
        policy(
            "no-web",
            "web",
            "Deny",
            "from: [{serviceAccounts: [shop/intern]}]\n    to: [{http: {paths: [{prefix: /}]}}]",
        ),
    ]);
    documents.into_iter().enumerate().map(|(index, text)| (format!("{index}.yaml"), text)).collect()
}

/// Intern is granted nothing by any part of the files, and nobody may by default.
async fn intern_is_refused(cluster: &Cluster) {
    let Ok(intern) = cluster.client("shop", "intern", (1, 2)) else { return };
    for url in ["http://plain.shop/", "http://web.shop/", "http://tools.shop/"] {
        if let Ok(said) = intern.text(url).await {
            panic!("{url} answered {said}");
        }
    }
}

/// What the control plane says at the end, but for times and addresses.
async fn state(cluster: &Cluster) -> Vec<Value> {
    let mut pages = Vec::new();
    for page in ["/v1/workloads", "/v1/services", "/v1/policies"] {
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

async fn arrives(order: &[usize]) -> Vec<Value> {
    let documents = documents();
    let mut cluster = Cluster::prepare(plan(&[], Access::None)).unwrap();
    cluster.start_control_plane().await.unwrap();
    cluster.start_proxies().unwrap();
    let _servers = ["plain", "web", "tools"].map(|name| Server::web(&cluster.socket(name), name).unwrap());
    for &index in order {
        let (name, text) = &documents[index];
        cluster.write(name, text).unwrap();
        // Under whatever is in force just then.
        intern_is_refused(&cluster).await;
    }
    cluster.ready().await;
    let (planner, intern): (Client, Client) = (planner(&cluster), intern(&cluster));
    reaches(&planner, "http://plain.shop/").await;
    reaches(&planner, "http://web.shop/").await;
    intern_is_refused(&cluster).await;
    for (url, reason) in [("http://plain.shop/", "NoGrant"), ("http://web.shop/", "Denied")] {
        assert_eq!(intern.denied(url).await.unwrap().reason, reason, "{url}");
    }
    state(&cluster).await
}

#[tokio::test]
async fn mesh_invariant_8_any_order_of_files_ends_the_same_and_passes_through_no_open_one() {
    let seed = RandomState::new().build_hasher().finish();
    eprintln!("seed {seed}");
    let mut chance = Chance(seed);
    let count = documents().len();
    let forward: Vec<usize> = (0..count).collect();
    let expected = arrives(&forward).await;
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
        assert_eq!(arrives(&order).await, expected, "order {order:?}");
    }
}
