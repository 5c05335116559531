//! What the waypoint knows at one moment: the snapshot, and the routes compiled from it.
//!
//! A swap costs what changed: route tables of places that no touched route is attached to are shared.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use exchange::BoxFuture;
use filters::Plan;
use mesh::{
    matching::MatchError,
    names::{ObjectName, ServiceKey},
    resource::{BackendTarget, Route, RouteParent, RouteRule, Traffic},
    snapshot::{Applied, Change, Compiler, Rejected, Snapshot, Touched},
};
use parking_lot::Mutex;
use route::{Attached, Hosts, Table};
use tokio::sync::watch;

use crate::edge::{Edge, ListenerName};

/// One moment.
#[derive(Debug, Default)]
pub struct World {
    /// Everything that was told.
    pub snapshot: Snapshot,
    /// The listeners for those outside the mesh.
    pub edge: Arc<Edge>,
    routes: Arc<HashMap<ServiceKey, Arc<ServiceRoutes>>>,
    listeners: Arc<HashMap<ListenerName, Arc<ListenerRoutes>>>,
}

/// The routes attached to one listener.
#[derive(Debug)]
struct ListenerRoutes {
    routes: PortRoutes,
    // As in [`ServiceRoutes`].
    names: BTreeSet<ObjectName>,
}

/// The routes attached to one service.
#[derive(Debug)]
struct ServiceRoutes {
    // Attached to all ports.
    all: PortRoutes,
    // Ports to which a route is attached by number; those for all ports are among them.
    ports: BTreeMap<u16, PortRoutes>,
    // Whose routes these are, so that a change of one finds the service.
    names: BTreeSet<ObjectName>,
}

/// The routes of one service port.
#[derive(Debug)]
pub enum PortRoutes {
    /// They can be matched.
    Table(Table<Arc<Rule>>),
    /// One of them has a match that means nothing: nobody can say which rule holds, so nothing passes.
    Broken(MatchError),
}

/// One rule, compiled.
#[derive(Debug)]
pub struct Rule {
    /// Its filters.
    pub plan: Plan,
    /// Where it leads.
    pub backends: Vec<RuleBackend>,
    /// How it is delivered.
    pub traffic: Traffic,
    /// Set: it answers 500, for this reason.
    pub broken: Option<Arc<str>>,
}

/// One place where a rule leads.
#[derive(Debug)]
pub struct RuleBackend {
    /// Where.
    pub target: BackendTarget,
    /// Its share.
    pub weight: u32,
    /// Filters of requests that go here.
    pub plan: Plan,
    /// How it is delivered.
    pub traffic: Traffic,
    /// Set: requests that go here are answered 500, for this reason.
    pub broken: Option<Arc<str>>,
}

impl Rule {
    fn compile(rule: &RouteRule) -> Self {
        let (plan, mut broken) = plan(&rule.filters);
        if let Some(reason) = &rule.broken {
            broken = Some(reason.clone());
        }
        let backends = rule.backends.iter().map(|backend| {
            let (plan, broken) = plan_of_backend(backend);
            let (target, weight, traffic) = (backend.target.clone(), backend.weight, backend.traffic.clone());
            RuleBackend { target, weight, plan, traffic, broken }
        });
        Self { plan, backends: backends.collect(), traffic: rule.traffic.clone(), broken }
    }
}

fn plan(filters: &[mesh::resource::RouteFilter]) -> (Plan, Option<Arc<str>>) {
    match Plan::compile(filters) {
        Ok(plan) => (plan, None),
        Err(error) => (Plan::default(), Some(error.to_string().into())),
    }
}

fn plan_of_backend(backend: &mesh::resource::WeightedBackend) -> (Plan, Option<Arc<str>>) {
    let (plan, broken) = plan(&backend.filters);
    match &backend.target {
        BackendTarget::Broken(reason) => (plan, Some(reason.clone())),
        _ => (plan, broken),
    }
}

impl World {
    /// The routes attached to a service port; `None` if there are none.
    pub fn routes(&self, service: &ServiceKey, port: u16) -> Option<&PortRoutes> {
        let routes = self.routes.get(service)?;
        let routes = routes.ports.get(&port).unwrap_or(&routes.all);
        match routes {
            PortRoutes::Table(table) if table.is_empty() => None,
            routes => Some(routes),
        }
    }

    /// The routes attached to a listener; `None` if there are none.
    pub fn listener_routes(&self, listener: &ListenerName) -> Option<&PortRoutes> {
        match &self.listeners.get(listener)?.routes {
            PortRoutes::Table(table) if table.is_empty() => None,
            routes => Some(routes),
        }
    }

    fn next(&self, snapshot: Snapshot, touched: &Touched) -> Self {
        let edge = match touched.listeners.is_empty() {
            true => Arc::clone(&self.edge),
            false => Arc::new(Edge::of(&snapshot)),
        };
        let listeners = self.next_listeners(&snapshot, touched);
        if touched.routes.is_empty() {
            return Self { snapshot, edge, routes: Arc::clone(&self.routes), listeners };
        }
        let concerned = |route: &Route| touched.routes.contains(&route.name);
        let mut services: BTreeSet<ServiceKey> = snapshot
            .routes()
            .filter(|route| concerned(route))
            .flat_map(|route| services_of(route))
            .cloned()
            .collect();
        for (service, routes) in self.routes.iter() {
            if routes.names.iter().any(|name| touched.routes.contains(name)) {
                services.insert(service.clone());
            }
        }
        let mut attached: HashMap<ServiceKey, Vec<&Arc<Route>>> = HashMap::new();
        for route in snapshot.routes() {
            for service in services_of(route) {
                if services.contains(service) {
                    attached.entry(service.clone()).or_default().push(route);
                }
            }
        }
        let mut routes = HashMap::clone(&self.routes);
        for service in services {
            match attached.remove(&service) {
                None => routes.remove(&service),
                Some(list) => {
                    let compiled = Arc::new(ServiceRoutes::compile(&service, &list));
                    routes.insert(service, compiled)
                }
            };
        }
        Self { snapshot, edge, routes: Arc::new(routes), listeners }
    }

    /// Compiles the routes of listeners that changed, or to which a route that changed is or was attached.
    fn next_listeners(
        &self,
        snapshot: &Snapshot,
        touched: &Touched,
    ) -> Arc<HashMap<ListenerName, Arc<ListenerRoutes>>> {
        if touched.routes.is_empty() && touched.listeners.is_empty() {
            return Arc::clone(&self.listeners);
        }
        let mut attached: HashMap<ListenerName, Vec<&Arc<Route>>> = HashMap::new();
        for route in snapshot.routes() {
            for listener in listeners_of(route) {
                attached.entry(listener).or_default().push(route);
            }
        }
        let mut listeners = HashMap::new();
        for listener in snapshot.listeners() {
            let name = ListenerName::of(listener);
            let Some(routes) = attached.remove(&name) else { continue };
            let names: BTreeSet<_> = routes.iter().map(|route| route.name.clone()).collect();
            let same = self.listeners.get(&name).filter(|before| {
                before.names == names
                    && names.is_disjoint(&touched.routes)
                    && !touched.listeners.contains(listener.key_name().as_str())
            });
            let routes = match same {
                Some(same) => Arc::clone(same),
                None => {
                    let hosts = listener.hostname.as_ref().map_or(Hosts::Any, Hosts::of);
                    Arc::new(ListenerRoutes::compile(&hosts, names, &routes))
                }
            };
            listeners.insert(name, routes);
        }
        Arc::new(listeners)
    }
}

fn listeners_of(route: &Route) -> BTreeSet<ListenerName> {
    let listeners = route.parents.iter().filter_map(|parent| match parent {
        RouteParent::Listener { gateway, listener } => {
            Some(ListenerName { gateway: gateway.clone(), listener: Arc::clone(listener) })
        }
        RouteParent::Service { .. } => None,
    });
    listeners.collect()
}

impl ListenerRoutes {
    fn compile(hosts: &Hosts, names: BTreeSet<ObjectName>, routes: &[&Arc<Route>]) -> Self {
        let attached: Vec<_> = routes
            .iter()
            .filter_map(|route| {
                let rules = route.rules.iter().map(|rule| Arc::new(Rule::compile(rule))).collect();
                Attached::to_listener(Arc::clone(route), hosts, rules)
            })
            .collect();
        Self { routes: PortRoutes::compile(&attached), names }
    }
}

fn services_of(route: &Route) -> BTreeSet<&ServiceKey> {
    let services = route.parents.iter().filter_map(|parent| match parent {
        RouteParent::Service { service, .. } => Some(service),
        RouteParent::Listener { .. } => None,
    });
    services.collect()
}

impl ServiceRoutes {
    fn compile(service: &ServiceKey, routes: &[&Arc<Route>]) -> Self {
        let mut all = Vec::new();
        let mut by_port: BTreeMap<u16, Vec<Attached<Arc<Rule>>>> = BTreeMap::new();
        for route in routes {
            let rules: Vec<_> = route.rules.iter().map(|rule| Arc::new(Rule::compile(rule))).collect();
            let attached = Attached::to_service(Arc::clone(route), rules);
            let ports = route.parents.iter().filter_map(|parent| match parent {
                RouteParent::Service { service: parent, port } if parent == service => Some(*port),
                _ => None,
            });
            let ports: BTreeSet<Option<u16>> = ports.collect();
            if ports.contains(&None) {
                all.push(attached);
                continue;
            }
            for port in ports.into_iter().flatten() {
                by_port.entry(port).or_default().push(attached.clone());
            }
        }
        by_port.values_mut().for_each(|list| list.extend(all.iter().cloned()));
        Self {
            all: PortRoutes::compile(&all),
            ports: by_port.into_iter().map(|(port, list)| (port, PortRoutes::compile(&list))).collect(),
            names: routes.iter().map(|route| route.name.clone()).collect(),
        }
    }
}

impl PortRoutes {
    fn compile(attached: &[Attached<Arc<Rule>>]) -> Self {
        Table::compile(attached).map_or_else(Self::Broken, Self::Table)
    }
}

/// The moments, one after the other.
#[derive(Debug)]
pub struct Worlds {
    current: ArcSwap<World>,
    generation: watch::Sender<u64>,
    // Counts the times that somebody came to be believed less.
    trust: watch::Sender<u64>,
    // Swaps are made one at a time.
    swap: Mutex<()>,
}

impl Default for Worlds {
    fn default() -> Self {
        let current = ArcSwap::from_pointee(World::default());
        Self {
            current,
            generation: watch::Sender::new(0),
            trust: watch::Sender::new(0),
            swap: Mutex::new(()),
        }
    }
}

impl Worlds {
    /// The present moment. Not to be held across a wait.
    pub fn load(&self) -> Arc<World> {
        self.current.load_full()
    }

    /// Counts the swaps.
    pub fn generation(&self) -> u64 {
        *self.generation.borrow()
    }

    /// Waits until the generation is no longer `seen`.
    pub fn changed(&self, seen: u64) -> BoxFuture<'static, ()> {
        let mut watch = self.generation.subscribe();
        Box::pin(async move {
            if watch.wait_for(|now| *now != seen).await.is_err() {
                // Nobody is left to swap.
                std::future::pending::<()>().await;
            }
        })
    }

    /// Tells when connections that were made under an earlier trust must not be used again.
    pub fn trust(&self) -> watch::Receiver<u64> {
        self.trust.subscribe()
    }

    /// An identity was revoked, or roots changed.
    pub fn trust_changed(&self) {
        self.trust.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Applies changes and swaps. What was touched is told before anybody is woken.
    pub fn apply(&self, changes: Vec<Change>, compiler: &dyn Compiler) -> (Vec<Rejected>, Touched) {
        let _one_at_a_time = self.swap.lock();
        let before = self.load();
        let Applied { snapshot, rejected, touched } = before.snapshot.apply(changes, compiler);
        self.current.store(Arc::new(before.next(snapshot, &touched)));
        self.generation.send_modify(|generation| *generation = generation.wrapping_add(1));
        (rejected, touched)
    }
}
