//! Services as pods and people outside meet them: cluster addresses, hairpin, names, node ports, load balancers; pods
//! on the node's own network; and a pod that enters the network of others.

mod common;

use anyhow::{Context, ensure};
use common::{PATIENCE, fetch, roll_out, said, skipped};
use rig::{Cluster, shared, until, until_some};

/// A page under every kind of Service, and a pod to look from.
const SERVICES: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: page}
spec:
  serviceName: peers
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: page}}
  template:
    metadata: {labels: {app: page}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: page
          image: debian
          command: [sh, -c, "mkdir /tmp/page && hostname > /tmp/page/index.html && exec python3 -m http.server 8000 --directory /tmp/page"]
          readinessProbe: {tcpSocket: {port: 8000}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: page}
spec: {selector: {app: page}, ports: [{port: 80, targetPort: 8000}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: page}, ports: [{port: 8000}]}
---
apiVersion: v1
kind: Service
metadata: {name: first}
spec: {selector: {statefulset.kubernetes.io/pod-name: page-0}, ports: [{port: 80, targetPort: 8000}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: LoadBalancer, selector: {app: page}, ports: [{port: 80, targetPort: 8000}]}
"#;

#[tokio::test]
async fn services_are_reached_by_every_way_there_is() -> anyhow::Result<()> {
    if skipped("services_are_reached_by_every_way_there_is") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("services").await?;
    let name = namespace.name();
    roll_out(cluster, name, SERVICES).await?;

    // A cluster address spreads over both pods; a Service of one pod leads that pod back to itself.
    let both = until_some("pages of both pods", PATIENCE, || async {
        let mut pages = Vec::new();
        for _ in 0..12 {
            pages.push(from_pod(cluster, name, "http://page").await?);
        }
        anyhow::Ok(
            (pages.contains(&"page-0\n".to_owned()) && pages.contains(&"page-1\n".to_owned())).then_some(()),
        )
    });
    both.await.context("the cluster address")?;
    ensure!(
        from_pod(cluster, name, "http://first").await? == "page-0\n",
        "a pod reaches itself by its Service"
    );
    // Names: the pod's own by the headless Service, and both addresses behind it.
    let peer = format!("http://page-1.peers.{name}.svc.cluster.local:8000");
    until("the name of a peer", PATIENCE, || async {
        anyhow::Ok(from_pod(cluster, name, &peer).await? == "page-1\n")
    })
    .await?;
    let addresses = said(cluster, name, "exec page-0 -- getent ahostsv4 peers").await?;
    let distinct: std::collections::BTreeSet<_> =
        addresses.lines().filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(distinct.len() == 2, "a headless Service has the addresses of its pods: {addresses}");

    // From outside: by the load balancer's address, and by its port on every node.
    let address = until_some("an address of the pool", PATIENCE, || async {
        let found =
            said(cluster, name, "get svc outside -o jsonpath={.status.loadBalancer.ingress[0].ip}").await?;
        anyhow::Ok((!found.is_empty()).then_some(found))
    })
    .await?;
    ensure!(address.starts_with("10.51.1."), "{address} is of the pool");
    let port = said(cluster, name, "get svc outside -o jsonpath={.spec.ports[0].nodePort}").await?;
    for url in [
        format!("http://{address}"),
        format!("http://10.51.0.11:{port}"),
        format!("http://10.51.0.12:{port}"),
    ] {
        until(&format!("{url} from outside"), PATIENCE, || async {
            anyhow::Ok(fetch(&rig, "client", &url).await?.starts_with("page-"))
        })
        .await?;
    }
    Ok(())
}

async fn from_pod(cluster: &Cluster, namespace: &str, url: &str) -> anyhow::Result<String> {
    said(cluster, namespace, &format!("exec page-0 -- curl -sS --max-time 3 {url}")).await
}

#[tokio::test]
async fn an_address_is_given_as_asked_and_what_cannot_be_had_is_told() -> anyhow::Result<()> {
    if skipped("an_address_is_given_as_asked_and_what_cannot_be_had_is_told") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("pool").await?;
    let name = namespace.name();
    let service = |name: &str, address: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: LoadBalancer, \
             loadBalancerIP: {address}, ports: [{{port: 80}}]}}\n"
        )
    };
    let has = async |service: &str, wanted: &str| {
        until(&format!("{service} at {wanted}"), PATIENCE, || async {
            let path = "{.status.loadBalancer.ingress[*].ip}";
            anyhow::Ok(said(cluster, name, &format!("get svc {service} -o jsonpath={path}")).await? == wanted)
        })
        .await
    };
    let told = async |service: &str, reason: &str| {
        until(&format!("the event {reason}"), PATIENCE, || async {
            let line = format!(
                "get events --field-selector involvedObject.name={service} -o jsonpath={{.items[*].reason}}"
            );
            anyhow::Ok(said(cluster, name, &line).await?.contains(reason))
        })
        .await
    };
    cluster.apply(name, &service("one", "10.51.1.200")).await?;
    has("one", "10.51.1.200").await?;
    cluster.apply(name, &service("two", "10.51.1.200")).await?;
    told("two", "AddressTaken").await?;
    cluster.apply(name, &service("three", "192.0.2.7")).await?;
    told("three", "AddressNotInPool").await?;
    // What is released goes to who waits for it.
    said(cluster, name, "delete svc one").await?;
    has("two", "10.51.1.200").await?;
    // One that wants none any more gives it back.
    said(cluster, name, "patch svc two -p '{\"spec\":{\"type\":\"ClusterIP\",\"loadBalancerIP\":null}}'")
        .await?;
    has("two", "").await
}

/// An agent on every node: on the node's network, with the node's files, entering the networks of pods.
const AGENT: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 0
      containers:
        - name: agent
          image: debian
          command: [sleep, infinity]
          securityContext: {privileged: true}
          volumeMounts: [{name: netns, mountPath: /var/run/netns, mountPropagation: HostToContainer}]
      volumes: [{name: netns, hostPath: {path: /var/run/netns, type: DirectoryOrCreate}}]
---
apiVersion: v1
kind: Pod
metadata: {name: other}
spec:
  nodeName: c1-n1
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: pause}]
"#;

#[tokio::test]
async fn a_pod_of_a_daemon_set_enters_the_networks_of_other_pods() -> anyhow::Result<()> {
    if skipped("a_pod_of_a_daemon_set_enters_the_networks_of_other_pods") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("agents").await?;
    let name = namespace.name();
    roll_out(cluster, name, AGENT).await?;
    said(cluster, name, "wait --for=condition=Ready pod/other --timeout=60s").await?;
    let other = said(cluster, name, "get pod other -o jsonpath={.status.podIP}").await?;
    let on_node =
        "get pods -l app=agent --field-selector spec.nodeName=c1-n1 -o jsonpath={.items[0].metadata.name}";
    let agent = said(cluster, name, on_node).await?;
    let address = said(cluster, name, &format!("get pod {agent} -o jsonpath={{.status.podIP}}")).await?;
    ensure!(address == "10.51.0.11", "a pod on the node's network has the node's address, not {address}");
    // The network of a pod that came after the agent is there, by mount propagation.
    let found = "for ns in /var/run/netns/*; do nsenter --net=$ns ip -4 -o addr show; done";
    let seen = said(cluster, name, &format!("exec {agent} -- sh -c '{found}'")).await?;
    ensure!(seen.contains(&format!("{other}/32")), "the agent finds {other} in the networks of pods: {seen}");
    Ok(())
}
