//! Where a request is led: its rule, its backend, and everything whose policies it passes. Pure.

use std::sync::Arc;

use exchange::{Backend, Place};
use filters::Plan;
use mesh::{
    Denial, Reason, balance,
    facts::HttpFacts,
    names::{ObjectName, WorkloadUid},
    resource::{BackendTarget, ListenerRole, Traffic},
};
use route::{Head, Table};

use crate::{
    edge::ListenerName,
    entrance::{Front, ServicePort},
    world::{PortRoutes, Rule, World},
};

/// Where a request is led.
#[derive(Debug)]
pub(crate) struct Led {
    /// The route, if one matched.
    pub(crate) route: Option<ObjectName>,
    /// The prefix that matched.
    pub(crate) prefix: Option<Arc<str>>,
    /// The backend; of the service that was addressed, if the rule leads nowhere.
    pub(crate) backend: Backend,
    /// Only this endpoint.
    pub(crate) pin: Option<WorkloadUid>,
    /// How it is delivered.
    pub(crate) traffic: Traffic,
    /// Set: it leads nowhere, for this reason.
    pub(crate) broken: Option<Denial>,
    // At the edge: the listener that the request is for.
    listener: Option<ListenerName>,
    rule: Option<(Arc<Rule>, Option<usize>)>,
}

impl Led {
    /// The filters of the rule, then of the backend that was chosen.
    pub(crate) fn plans(&self) -> Vec<&Plan> {
        match &self.rule {
            None => Vec::new(),
            Some((rule, backend)) => {
                let backend = backend.and_then(|index| rule.backends.get(index));
                std::iter::once(&rule.plan).chain(backend.map(|backend| &backend.plan)).collect()
            }
        }
    }

    /// Everything whose policies the request passes: the way in, then what was addressed (DESIGN 4.2).
    pub(crate) fn places(&self, world: &World, front: &Front) -> Vec<Place> {
        let listeners = world.snapshot.listeners().filter(|listener| match &self.listener {
            Some(name) => ListenerName::of(listener) == *name,
            None => listener.role == ListenerRole::Waypoint,
        });
        let mut places: Vec<Place> = listeners
            .map(|it| Place::Listener { gateway: it.gateway.clone(), listener: it.name.clone() })
            .collect();
        places.extend(self.route.clone().map(Place::Route));
        match (front, &self.backend) {
            (Front::Service(addressed), _) => places.push(addressed.place()),
            // At the edge nothing behind it was addressed; where the route leads is asked in its place.
            (Front::Edge(_), Backend::Service { service, port, .. }) => {
                places.push(Place::Service { service: service.clone(), port: *port });
            }
            (Front::Edge(_), Backend::Agent(_) | Backend::Nowhere) => {}
        }
        if let Backend::Agent(backend) = &self.backend {
            places.push(Place::Agent(backend.name.clone()));
        }
        places
    }

    /// What was addressed: a port of a service, or a listener.
    pub(crate) fn addressed(&self, front: &Front) -> Option<Place> {
        front.place().or_else(|| self.listener.as_ref().map(ListenerName::place))
    }
}

/// Finds the rule of a request, and of its backends the one where its session lives, else one by weight.
///
/// # Errors
/// When routes are attached and none matches, or what was addressed is not there.
pub(crate) fn lead(
    world: &World,
    front: &Front,
    http: &HttpFacts,
    query: Option<&str>,
    begun_at: Option<&BackendTarget>,
    chance: u64,
) -> Result<Led, Denial> {
    let start = match front {
        Front::Service(addressed) => at_service(world, addressed)?,
        Front::Edge(door) => {
            let listener = ListenerName::of(world.edge.listener(door, &http.host)?);
            at_listener(world, listener)?
        }
    };
    let (table, own, listener, addressed) = match start {
        Start::There(led) => return Ok(*led),
        Start::ByTable { table, own, listener, addressed } => (table, own, listener, addressed),
    };
    let Some(matched) = table.find(Head { http, query }) else {
        let of = listener.map_or_else(|| addressed_name(addressed), |it| it.listener.to_string());
        return Err(Denial::plain(Reason::NoRoute, format!("no route of {of} matches")));
    };
    let rule = Arc::clone(matched.rule);
    let led = Led {
        route: Some(matched.route.clone()),
        prefix: matched.prefix.cloned(),
        listener,
        backend: own,
        pin: None,
        traffic: rule.traffic.clone(),
        broken: rule.broken.clone().map(nowhere),
        rule: Some((Arc::clone(&rule), None)),
    };
    if led.broken.is_some() || rule.plan.answers() {
        return Ok(led);
    }
    // A session ends when its backend is no longer led to, and not before.
    let stays =
        |target: &BackendTarget| rule.backends.iter().position(|it| it.weight > 0 && it.target == *target);
    let weights = rule.backends.iter().map(|backend| backend.weight);
    let Some(index) = begun_at.and_then(stays).or_else(|| balance::pick(weights, chance)) else {
        return Ok(Led { broken: Some(nowhere("the rule has no backend with a weight".into())), ..led });
    };
    let chosen = &rule.backends[index];
    let (backend, broken) = match &chosen.broken {
        Some(reason) => (None, Some(nowhere(reason.clone()))),
        None => match backend_of(world, &chosen.target) {
            Ok(backend) => (Some(backend), None),
            Err(denial) => (None, Some(denial)),
        },
    };
    let traffic = over(&chosen.traffic, &led.traffic);
    Ok(Led {
        pin: addressed.filter(|it| leads_home(&chosen.target, it)).and_then(|it| it.pin.clone()),
        backend: backend.unwrap_or(led.backend),
        traffic,
        broken,
        rule: Some((Arc::clone(&rule), Some(index))),
        ..led
    })
}

/// From where a rule is looked for.
enum Start<'a> {
    /// No rule is: it is led there already.
    There(Box<Led>),
    /// In a table.
    ByTable {
        table: &'a Table<Arc<Rule>>,
        own: Backend,
        listener: Option<ListenerName>,
        addressed: Option<&'a ServicePort>,
    },
}

fn at_service<'a>(world: &'a World, addressed: &'a ServicePort) -> Result<Start<'a>, Denial> {
    // What was addressed may have gone since the stream came.
    let own = own_backend(world, addressed)?;
    match world.routes(&addressed.service, addressed.port) {
        None => Ok(Start::There(Box::new(straight(own, addressed)))),
        Some(routes) => {
            let table = readable(routes)?;
            Ok(Start::ByTable { table, own, listener: None, addressed: Some(addressed) })
        }
    }
}

/// At the edge nothing is served without a route.
fn at_listener(world: &World, listener: ListenerName) -> Result<Start<'_>, Denial> {
    let routes = world.listener_routes(&listener).ok_or_else(|| {
        Denial::plain(Reason::NoRoute, format!("no route is attached to {}", listener.listener))
    })?;
    let table = readable(routes)?;
    Ok(Start::ByTable { table, own: Backend::Nowhere, listener: Some(listener), addressed: None })
}

fn readable(routes: &PortRoutes) -> Result<&Table<Arc<Rule>>, Denial> {
    match routes {
        PortRoutes::Table(table) => Ok(table),
        PortRoutes::Broken(error) => Err(Denial::plain(Reason::RouteBroken, error.to_string())),
    }
}

fn addressed_name(addressed: Option<&ServicePort>) -> String {
    addressed.map_or_else(String::new, |it| it.service.to_string())
}

/// Gateway API: 500.
fn nowhere(reason: Arc<str>) -> Denial {
    Denial::plain(Reason::RouteBroken, reason)
}

/// 503, with the backend's own reason.
fn backend_broken(reason: &Arc<str>) -> Denial {
    Denial::plain(Reason::BackendBroken, Arc::clone(reason))
}

/// Without a route a request goes to what it addressed.
fn straight(backend: Backend, addressed: &ServicePort) -> Led {
    let (broken, traffic) = match &backend {
        Backend::Agent(backend) => (backend.broken.as_ref().map(backend_broken), backend.traffic.clone()),
        Backend::Service { .. } | Backend::Nowhere => (None, Traffic::default()),
    };
    let pin = addressed.pin.clone();
    Led { route: None, prefix: None, backend, pin, traffic, broken, listener: None, rule: None }
}

fn own_backend(world: &World, addressed: &ServicePort) -> Result<Backend, Denial> {
    let gone = |text: String| Denial::plain(Reason::UnknownDestination, text);
    let service = world.snapshot.service(&addressed.service);
    let port = service.and_then(|service| service.ports.get(&addressed.port));
    let port = port.ok_or_else(|| gone(format!("{} port {} is gone", addressed.service, addressed.port)))?;
    match &port.backend {
        Some(name) => {
            let backend = world.snapshot.backend(name).ok_or_else(|| gone(format!("{name} is gone")))?;
            Ok(Backend::Agent(Arc::clone(backend)))
        }
        None => Ok(Backend::Service {
            service: addressed.service.clone(),
            port: addressed.port,
            protocol: port.protocol,
        }),
    }
}

fn backend_of(world: &World, target: &BackendTarget) -> Result<Backend, Denial> {
    match target {
        BackendTarget::Broken(reason) => Err(nowhere(reason.clone())),
        BackendTarget::Host(host) => {
            Err(nowhere(format!("a route leads to {} by an AgentBackend only", host.host).into()))
        }
        BackendTarget::Agent(name) => {
            let backend = world
                .snapshot
                .backend(name)
                .ok_or_else(|| nowhere(Arc::from(format!("{name} is not held"))))?;
            match &backend.broken {
                Some(reason) => Err(backend_broken(reason)),
                None => Ok(Backend::Agent(Arc::clone(backend))),
            }
        }
        BackendTarget::Service { service, port } => {
            let found = world.snapshot.service(service).and_then(|service| service.ports.get(port));
            let found = found.ok_or_else(|| nowhere(Arc::from(format!("{service} has no port {port}"))))?;
            match &found.backend {
                Some(name) => backend_of(world, &BackendTarget::Agent(name.clone())),
                None => {
                    Ok(Backend::Service { service: service.clone(), port: *port, protocol: found.protocol })
                }
            }
        }
    }
}

fn leads_home(target: &BackendTarget, addressed: &ServicePort) -> bool {
    matches!(target, BackendTarget::Service { service, port } if *service == addressed.service && *port == addressed.port)
}

/// Field by field: what the backend says, else what the rule says.
fn over(backend: &Traffic, rule: &Traffic) -> Traffic {
    Traffic {
        request_timeout: backend.request_timeout.or(rule.request_timeout),
        attempt_timeout: backend.attempt_timeout.or(rule.attempt_timeout),
        connect_timeout: backend.connect_timeout.or(rule.connect_timeout),
        idle_timeout: backend.idle_timeout.or(rule.idle_timeout),
        retries: backend.retries.clone().or_else(|| rule.retries.clone()),
        balance: backend.balance.or(rule.balance),
        authentication: backend.authentication.clone().or_else(|| rule.authentication.clone()),
    }
}
