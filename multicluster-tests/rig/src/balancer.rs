//! Gives Services of type LoadBalancer their addresses.
//!
//! *Flow*: one task watches the Services of a cluster and the [`Pool`] decides, Service by Service; what was
//! decided goes to the status by server-side apply, with a field manager of its own. *Guarantees*: an address
//! belongs to one Service; a Service keeps its address for as long as it wants one; what is released goes to those
//! who wait. *Caveats*: a pool is one range of IPv4 addresses; Services with a class of their own are another's.

mod pool;

use std::{collections::BTreeMap, net::Ipv4Addr, path::Path};

use anyhow::Context;
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::{
    api::core::v1::{Event, ObjectReference, Service},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use self::pool::{Pool, Refusal};

/// The name under which fields of a Service's status belong to the balancer.
const MANAGER: &str = "rig-balancer";
/// The annotation by which a Service asks for one address.
const ADDRESS_ANNOTATION: &str = "rig.strait.dev/address";

/// What one cluster's balancer knows.
struct Balancer {
    client: Client,
    pool: Pool,
    /// Those that wait for an address, with the reason they were told.
    waiting: BTreeMap<Key, (Service, Refusal)>,
}

/// Namespace and name.
type Key = (String, String);

/// Serves the cluster of a kubeconfig, from the addresses between the two, until the process ends.
///
/// # Errors
/// When there is no such API server; once it was there, a broken watch is begun again.
pub(crate) async fn run(kubeconfig: &Path, first: Ipv4Addr, last: Ipv4Addr) -> anyhow::Result<()> {
    let client = crate::cluster::client(kubeconfig).await?;
    let services = watcher(Api::<Service>::all(client.clone()), watcher::Config::default()).default_backoff();
    let mut balancer = Balancer { client, pool: Pool::new(first, last), waiting: BTreeMap::new() };
    let mut listed = Vec::new();
    pin_mut!(services);
    while let Some(event) = services.next().await {
        match event {
            Ok(watcher::Event::Apply(service)) => balancer.seen(service).await,
            Ok(watcher::Event::Delete(service)) => balancer.gone(&key(&service)).await,
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(service)) => listed.push(service),
            Ok(watcher::Event::InitDone) => balancer.listed(std::mem::take(&mut listed)).await,
            Err(error) => eprintln!("the watch of Services broke and is begun again: {error}"),
        }
    }
    Ok(())
}

impl Balancer {
    /// Begins with the whole list: what vanished unseen is released, and who has an address keeps it before
    /// anybody gets a new one.
    async fn listed(&mut self, mut services: Vec<Service>) {
        for key in self.pool.holders() {
            if !services.iter().any(|service| self::key(service) == key) {
                self.gone(&key).await;
            }
        }
        services.sort_by_key(|service| current(service).is_none());
        for service in services {
            self.seen(service).await;
        }
    }

    async fn seen(&mut self, service: Service) {
        let key = key(&service);
        if !is_ours(&service) {
            // It may have been ours until now.
            if self.pool.holds(&key) && service.metadata.deletion_timestamp.is_none() {
                self.write(&service, None).await;
            }
            return self.gone(&key).await;
        }
        match self.pool.assign(&key, wanted(&service), current(&service)) {
            Ok(address) => {
                self.waiting.remove(&key);
                if current(&service) != Some(address) {
                    println!("{}/{} has {address}", key.0, key.1);
                    self.write(&service, Some(address)).await;
                }
            }
            Err(refusal) => self.refuse(key, service, refusal).await,
        }
    }

    /// Releases what a Service had and gives it to whoever waits.
    async fn gone(&mut self, key: &Key) {
        self.waiting.remove(key);
        if !self.pool.release(key) {
            return;
        }
        for (_, (service, _)) in std::mem::take(&mut self.waiting) {
            Box::pin(self.seen(service)).await;
        }
    }

    /// Lets a Service wait; the same reason is told once.
    async fn refuse(&mut self, key: Key, service: Service, refusal: Refusal) {
        let told = self.waiting.get(&key).is_some_and(|(_, before)| *before == refusal);
        if !told {
            println!("{}/{}: {refusal}", key.0, key.1);
            if let Err(error) = self.tell(&service, &refusal).await {
                eprintln!("cannot write an event for {}/{}: {error:#}", key.0, key.1);
            }
        }
        self.waiting.insert(key, (service, refusal));
    }

    async fn write(&self, service: &Service, address: Option<Ipv4Addr>) {
        let (namespace, name) = key(service);
        let ingress: Vec<_> =
            address.iter().map(|ip| json!({"ip": ip.to_string(), "ipMode": "VIP"})).collect();
        let status = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "status": {"loadBalancer": {"ingress": ingress}},
        });
        let params = PatchParams::apply(MANAGER).force();
        let services: Api<Service> = Api::namespaced(self.client.clone(), &namespace);
        // A Service that is gone needs no status; anything else is seen again with its next change.
        if let Err(error) = services.patch_status(&name, &params, &Patch::Apply(&status)).await {
            eprintln!("cannot write the status of {namespace}/{name}: {error}");
        }
    }

    async fn tell(&self, service: &Service, refusal: &Refusal) -> anyhow::Result<()> {
        let (namespace, name) = key(service);
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta { generate_name: Some(format!("{name}-")), ..ObjectMeta::default() },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Service".to_owned()),
                namespace: Some(namespace.clone()),
                name: Some(name),
                uid: service.uid(),
                ..ObjectReference::default()
            },
            type_: Some("Warning".to_owned()),
            reason: Some(refusal.reason().to_owned()),
            message: Some(refusal.to_string()),
            action: Some("AssignAddress".to_owned()),
            reporting_component: Some(MANAGER.to_owned()),
            reporting_instance: Some(MANAGER.to_owned()),
            event_time: Some(MicroTime(now)),
            ..Event::default()
        };
        let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        events.create(&PostParams::default(), &event).await.context("the API server refused the event")?;
        Ok(())
    }
}

fn key(service: &Service) -> Key {
    (service.namespace().unwrap_or_default(), service.name_any())
}

/// Whether this Service wants an address from us.
fn is_ours(service: &Service) -> bool {
    service.metadata.deletion_timestamp.is_none()
        && service.spec.as_ref().is_some_and(|spec| {
            spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none()
        })
}

/// The address a Service asks for, by annotation or field.
fn wanted(service: &Service) -> Option<String> {
    let annotated = service.annotations().get(ADDRESS_ANNOTATION).cloned();
    annotated.or_else(|| service.spec.as_ref()?.load_balancer_ip.clone()).filter(|wanted| !wanted.is_empty())
}

/// The address its status shows.
fn current(service: &Service) -> Option<Ipv4Addr> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.first()?.ip.as_ref()?.parse().ok()
}
