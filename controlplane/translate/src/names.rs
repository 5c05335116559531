//! How objects are called in resources: keys, host names, uids, identities.

use std::sync::Arc;

use api::{Kind, Name, Object};
use mesh::{
    identity::Identity,
    names::{Hostname, ObjectName, ServiceKey, WorkloadUid},
};

use crate::{settings::Settings, status::Fault};

/// An object's name as proxies know it.
pub(crate) fn object(name: &Name) -> ObjectName {
    ObjectName::new(name.kind.as_str(), &name.namespace, &name.name)
}

/// The key of a Service of this cluster; a Gateway is one too.
pub(crate) fn service(settings: &Settings, namespace: &str, name: &str) -> ServiceKey {
    let hostname = format!("{name}.{namespace}.svc.{}", settings.cluster_domain);
    ServiceKey { namespace: namespace.into(), hostname: Hostname::from(hostname) }
}

/// The key of a service that came over links.
pub(crate) fn import(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey {
        namespace: namespace.into(),
        hostname: Hostname::from(crate::exports::clusterset_hostname(namespace, name)),
    }
}

/// Further names of a Service of this cluster.
pub(crate) fn aliases(namespace: &str, name: &str) -> Vec<Hostname> {
    vec![format!("{name}.{namespace}").into(), format!("{name}.{namespace}.svc").into()]
}

/// The uid of what an object runs.
pub(crate) fn uid(settings: &Settings, name: &Name) -> WorkloadUid {
    workload_uid(settings, name.kind, &name.namespace, &name.name)
}

/// The uid of a workload of this cluster.
pub fn workload_uid(settings: &Settings, kind: Kind, namespace: &str, name: &str) -> WorkloadUid {
    format!("{}/{}.{}/{namespace}/{name}", settings.cluster, kind.as_str(), kind.group()).into()
}

/// The uid of a remote service, of which each link makes one workload.
pub(crate) fn import_uid(link: &str, namespace: &str, name: &str) -> WorkloadUid {
    format!("{link}/ServiceImport.{}/{namespace}/{name}", api::object::MCS_GROUP).into()
}

/// The identity of a service account of this cluster.
pub(crate) fn identity(
    settings: &Settings,
    namespace: &str,
    service_account: &str,
) -> Result<Identity, Fault> {
    Identity::of_service_account(&settings.trust_domain, namespace, service_account)
        .map_err(|error| Fault::new("InvalidIdentity", error.to_string()))
}

/// The text of a key, as workloads name the services that they serve.
pub(crate) fn text(key: &ServiceKey) -> Arc<str> {
    key.to_string().into()
}

/// When an object was created, in the order that settles ties: those that do not say come last.
pub(crate) fn created(object: &Object) -> (bool, String) {
    match object.created() {
        Some(at) => (false, at.to_owned()),
        None => (true, String::new()),
    }
}
