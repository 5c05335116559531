//! 5. What is listed equals what is callable.

use multicluster_tests::mesh::{Client, mcp, until, until_some};
use serde_json::json;

use crate::pair::{TOOLS, intern, pair, planner};

const ALL: &[&str] = &["search", "read_file", "write_file", "delete_file"];

/// `planner` searches everywhere and reads `docs`; writing is denied on top of a grant of everything to `intern`.
const POLICY: &str = "
apiVersion: strait.dev/v1alpha1
kind: AccessPolicy
metadata: {name: grants, namespace: tools}
spec:
  targetRefs: [{group: \"\", kind: Service, name: tools, sectionName: mcp}]
  action: Allow
  rules:
  - name: planner
    from: [{trustDomain: east.test, serviceAccounts: [agents/planner]}]
    to:
    - mcp: {tools: [{names: [search]}, {names: [read_file], arguments: [{path: /repo, in: [docs]}]}]}
  - name: intern
    from: [{trustDomain: east.test, serviceAccounts: [agents/intern]}]
    to: [{mcp: {tools: [{names: [search, write_file, delete_file]}]}}]
---
apiVersion: strait.dev/v1alpha1
kind: AccessPolicy
metadata: {name: no-writing, namespace: tools}
spec:
  targetRefs: [{group: \"\", kind: Service, name: tools}]
  action: Deny
  rules:
  - name: writing
    from: [{trustDomain: east.test, serviceAccounts: [agents/intern]}]
    to: [{mcp: {tools: [{names: [write_file]}]}}]
";

/// Which of all tools can be called with one of these arguments.
async fn callable(client: &Client, repos: &[&str]) -> Vec<String> {
    let mut callable = Vec::new();
    for tool in ALL {
        let mut works = false;
        for repo in repos {
            let parameters = json!({"name": tool, "arguments": {"repo": repo}});
            let (_, answer) = mcp::call(client, TOOLS, "tools/call", parameters).await.unwrap();
            let refused = answer["error"]["data"]["id"].is_string();
            assert!(refused != answer["result"].is_object(), "{answer}");
            works |= !refused;
        }
        if works {
            callable.push((*tool).to_owned());
        }
    }
    callable
}

#[tokio::test]
async fn mesh_invariant_5_through_two_clusters_what_is_listed_can_be_called_and_nothing_else() {
    let (east, west) = pair(POLICY).await;
    let server = mcp::server(&west.socket("tools"), ALL).unwrap();
    let (planner, intern) = (planner(&east), intern(&east));
    let listed = until_some("planner lists", async || mcp::listed(&planner, TOOLS).await).await;
    assert_eq!(listed, ["search", "read_file"]);
    assert_eq!(callable(&planner, &["docs", "secrets"]).await, listed);

    // The server knows him by his name in his own cluster.
    let parameters = json!({"name": "search", "arguments": {"repo": "docs"}});
    let (_, answer) = mcp::call(&planner, TOOLS, "tools/call", parameters).await.unwrap();
    assert_eq!(
        answer["result"]["content"][0]["text"],
        format!("search for {}", east.identity("agents", "planner"))
    );

    let listed = until_some("intern lists", async || mcp::listed(&intern, TOOLS).await).await;
    assert_eq!(listed, ["search", "delete_file"]);
    assert_eq!(callable(&intern, &["docs", "secrets"]).await, listed);

    // Only what was granted came to the server.
    let asked = server.asked();
    let written = asked.iter().filter(|request| {
        let message: serde_json::Value = serde_json::from_slice(request.body()).unwrap_or_default();
        message["method"] == "tools/call" && message["params"]["name"] == "write_file"
    });
    assert_eq!(written.count(), 0);

    // Withdrawn is hidden and refused, in one.
    west.write("policy.yaml", &POLICY.replace("{names: [search]}, ", "")).unwrap();
    until("search is gone from the list", async || {
        mcp::listed(&planner, TOOLS).await.is_ok_and(|listed| listed == ["read_file"])
    })
    .await;
    assert_eq!(callable(&planner, &["docs", "secrets"]).await, ["read_file"]);
}
