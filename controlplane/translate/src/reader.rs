//! How a computation reads the World: every read is noted, whether it found something or not.

use std::{
    cell::{RefCell, RefMut},
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::Arc,
};

use api::{
    Admitted, Kind, Name, Object, Optional, Resource,
    access::{AccessPolicySpec, ClusterAccessPolicySpec},
    backend::AgentBackendSpec,
    bounded::Texts,
    catalog::ToolCatalogSpec,
    core::ServiceSpec,
    gateway::{GatewaySpec, ReferenceGrantSpec},
    guard::GuardPolicySpec,
    http_route::HttpRouteSpec,
    issuer::TokenIssuerSpec,
    link::ClusterLinkSpec,
    mcs::ServiceExportSpec,
    quota::QuotaPolicySpec,
    traffic::MeshTrafficPolicySpec,
    workload::MeshWorkloadSpec,
};
use mesh::{
    identity::{Identity, TrustDomain},
    names::WorkloadUid,
    resource::Health,
};

use crate::{
    addresses::{Addresses, Claim, Owner, inside, spot},
    exports::{ExportedName, ExportedService},
    facts::Fact,
    settings::Settings,
    status::Fault,
    world::{Bundle, Since, World},
};

/// Reads the World on behalf of one computation.
pub(crate) struct Reader<'w> {
    world: &'w World,
    read: RefCell<BTreeSet<Fact>>,
}

macro_rules! typed {
    ($($one:ident $all:ident $within:ident $kind:ident $content:ty;)*) => {$(
        #[allow(dead_code)] // One set of three for each kind, whether or not all are needed today.
        pub(crate) fn $one(&self, namespace: &str, name: &str) -> Option<&'w $content> {
            match self.object(&Name::new(Kind::$kind, namespace, name)) {
                Some(Object::$kind(object)) => Some(object),
                _ => None,
            }
        }

        #[allow(dead_code)]
        pub(crate) fn $all(&self) -> impl Iterator<Item = (&'w Name, &'w $content)> {
            self.of_kind(Kind::$kind).filter_map(|(name, object)| match object {
                Object::$kind(object) => Some((name, object)),
                _ => None,
            })
        }

        #[allow(dead_code)]
        pub(crate) fn $within(&self, namespace: &str) -> impl Iterator<Item = (&'w Name, &'w $content)> {
            self.within(Kind::$kind, namespace).filter_map(|(name, object)| match object {
                Object::$kind(object) => Some((name, object)),
                _ => None,
            })
        }
    )*};
}

impl<'w> Reader<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self { world, read: RefCell::default() }
    }

    pub(crate) fn into_read(self) -> BTreeSet<Fact> {
        self.read.into_inner()
    }

    fn note(&self, fact: Fact) {
        self.read.borrow_mut().insert(fact);
    }

    typed! {
        namespace namespaces namespaces_within Namespace Optional<api::core::NamespaceSpec>;
        service services services_within Service Resource<ServiceSpec>;
        service_account service_accounts service_accounts_within ServiceAccount api::core::ServiceAccount;
        gateway gateways gateways_within Gateway Resource<GatewaySpec>;
        route routes routes_within HttpRoute Resource<HttpRouteSpec>;
        grant grants grants_within ReferenceGrant Resource<ReferenceGrantSpec>;
        export service_exports exports_within ServiceExport Optional<ServiceExportSpec>;
        access access_policies access_within AccessPolicy Resource<AccessPolicySpec>;
        cluster_access cluster_policies cluster_within ClusterAccessPolicy Resource<ClusterAccessPolicySpec>;
        backend backends backends_within AgentBackend Resource<AgentBackendSpec>;
        traffic traffic_policies traffic_within MeshTrafficPolicy Resource<MeshTrafficPolicySpec>;
        workload workloads workloads_within MeshWorkload Resource<MeshWorkloadSpec>;
        link links links_within ClusterLink Resource<ClusterLinkSpec>;
        secret secrets secrets_within Secret api::core::Secret;
        guard guards guards_within GuardPolicy Resource<GuardPolicySpec>;
        quota quotas quotas_within QuotaPolicy Resource<QuotaPolicySpec>;
        catalogue catalogues catalogues_within ToolCatalog Resource<ToolCatalogSpec>;
        issuer issuers issuers_within TokenIssuer Resource<TokenIssuerSpec>;
    }

    pub(crate) fn settings(&self) -> &'w Settings {
        &self.world.settings
    }

    /// An object as it counts: the last accepted version.
    pub(crate) fn object(&self, name: &Name) -> Option<&'w Object> {
        self.admitted(name).and_then(Admitted::object).map(Arc::as_ref)
    }

    /// An object as it was admitted.
    pub(crate) fn admitted(&self, name: &Name) -> Option<&'w Admitted> {
        self.note(Fact::Object(name.clone()));
        self.world.admitted.get(name).map(Arc::as_ref)
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&'w Name, &'w Object)> {
        self.all_admitted(kind).filter_map(|(name, admitted)| Some((name, admitted.object()?.as_ref())))
    }

    /// Every object of a kind, as it was admitted.
    pub(crate) fn all_admitted(&self, kind: Kind) -> impl Iterator<Item = (&'w Name, &'w Admitted)> {
        self.note(Fact::OfKind(kind));
        let first = Name { kind, namespace: String::new(), name: String::new() };
        self.world
            .admitted
            .range(first..)
            .take_while(move |(name, _)| name.kind == kind)
            .map(|(name, admitted)| (name, admitted.as_ref()))
    }

    /// Every object of a kind in a namespace.
    pub(crate) fn within(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = (&'w Name, &'w Object)> {
        self.admitted_within(kind, namespace)
            .filter_map(|(name, admitted)| Some((name, admitted.object()?.as_ref())))
    }

    /// Every object of a kind in a namespace, as it was admitted.
    pub(crate) fn admitted_within(
        &self,
        kind: Kind,
        namespace: &str,
    ) -> impl Iterator<Item = (&'w Name, &'w Admitted)> {
        self.note(Fact::In(kind, namespace.into()));
        let first = Name::new(kind, namespace, "");
        let namespace = namespace.to_owned();
        self.world
            .admitted
            .range(first..)
            .take_while(move |(name, _)| name.kind == kind && name.namespace == namespace)
            .map(|(name, admitted)| (name, admitted.as_ref()))
    }

    /// The labels of a namespace; none if it is not written anywhere.
    pub(crate) fn namespace_labels(&self, namespace: &str) -> Option<&'w Texts> {
        self.namespace("", namespace).map(|found| &found.metadata.labels)
    }

    /// The Services of a namespace that select these labels, by name.
    pub(crate) fn services_selecting(
        &self,
        namespace: &str,
        labels: &Texts,
    ) -> Vec<(&'w Name, &'w Resource<ServiceSpec>)> {
        let mut found = Vec::new();
        for (key, value) in labels.iter() {
            let fact = Fact::Selecting(namespace.into(), key.as_str().into(), value.as_str().into());
            for name in self.world.index.get(&fact).into_iter().flatten() {
                let service =
                    self.world.admitted.get(name).and_then(|admitted| admitted.object()).map(Arc::as_ref);
                if let Some(Object::Service(service)) = service
                    && service.spec.selector.are_all_in(labels)
                {
                    found.push((name, service));
                }
            }
            self.note(fact);
        }
        found.sort_by_key(|(name, _)| *name);
        found
    }

    /// What names a Service, AgentBackend, Secret or ToolCatalog, by name: routes, AgentBackends, Gateways.
    pub(crate) fn leading_to(&self, thing: &Name) -> Vec<(&'w Name, &'w Object)> {
        let fact = Fact::LeadingTo(thing.clone());
        let names = self.world.index.get(&fact).into_iter().flatten();
        let found = names.filter_map(|name| {
            let (name, admitted) = self.world.admitted.get_key_value(name)?;
            Some((name, admitted.object()?.as_ref()))
        });
        let found = found.collect();
        self.note(fact);
        found
    }

    pub(crate) fn bundle(&self, trust_domain: &TrustDomain) -> Option<&'w Bundle> {
        self.note(Fact::Bundle(trust_domain.clone()));
        self.world.bundles.get(trust_domain)
    }

    pub(crate) fn revoked(&self, identity: &Identity) -> Option<&'w Since> {
        self.note(Fact::Revoked(identity.clone()));
        self.world.revoked.get(identity)
    }

    pub(crate) fn exported(&self, link: &str, name: &ExportedName) -> Option<&'w Arc<ExportedService>> {
        self.note(Fact::Exported(link.into(), name.clone()));
        self.world.exports.get(link)?.get(name)
    }

    pub(crate) fn exports_of(&self, link: &str) -> impl Iterator<Item = &'w ExportedName> {
        self.note(Fact::ExportsOf(link.into()));
        self.world.exports.get(link).into_iter().flat_map(|table| table.keys())
    }

    pub(crate) fn health(&self, uid: &WorkloadUid) -> Health {
        self.note(Fact::Health(uid.clone()));
        match self.world.unhealthy.contains(uid) {
            true => Health::Unhealthy,
            false => Health::Healthy,
        }
    }

    pub(crate) fn serving(&self, gateway: &Name) -> bool {
        self.note(Fact::Serving(gateway.clone()));
        self.world.serving.contains(gateway)
    }

    pub(crate) fn mark(&self, bound: &Name) -> Option<&'w Name> {
        self.note(Fact::Mark(bound.clone()));
        self.world.marks.get(bound)
    }

    pub(crate) fn token(&self, workload: &Name) -> Option<&'w Arc<str>> {
        self.note(Fact::Token(workload.clone()));
        self.world.tokens.get(workload)
    }

    /// The mesh address of an object that may ask for one, or of what is given one.
    pub(crate) fn address(&self, owner: &Owner, asked: Option<&str>) -> Result<Ipv4Addr, Fault> {
        let settings = self.settings();
        let Some(text) = asked else {
            self.note(Fact::Address(owner.clone()));
            let mut addresses: RefMut<'_, Addresses> = self.world.addresses.borrow_mut();
            return addresses
                .give(settings, owner)
                .ok_or_else(|| Fault::new("RangeExhausted", "no address of the cluster's ranges is free"));
        };
        let address: Ipv4Addr = text.parse().map_err(|_| {
            Fault::new("UnsupportedAddress", format!("{text} is no IPv4 address; only IPv4 ranges are built"))
        })?;
        if !inside(settings, address) {
            let ranges: Vec<String> = settings.ranges.iter().map(ToString::to_string).collect();
            return Err(Fault::new(
                "AddressOutsideRanges",
                format!(
                    "{address} is in none of the cluster's ranges ({}): take one of them, or leave it out",
                    ranges.join(", ")
                ),
            ));
        }
        let spot = spot(settings, address);
        self.note(Fact::Claims(spot));
        let addresses = self.world.addresses.borrow();
        let mut claims: Vec<&Claim> = addresses.claims(spot).collect();
        claims.sort();
        match (claims.first(), owner) {
            (Some(first), Owner::Object(name)) if first.owner != *name => Err(Fault::new(
                "AddressConflict",
                format!("{address} is that of {}: take another, or leave it out", first.owner),
            )),
            _ => Ok(address),
        }
    }
}
