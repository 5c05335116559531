//! The edge of a gateway: listeners for those outside the mesh, who prove no identity and say a name.
//!
//! Which listener a request is for is decided here, and is pure. Listeners of one port are told apart by host, the
//! most specific first (Gateway API 1.7, "Listener isolation"); over TLS by the server name first, and then the
//! request must be for the listener that its connection was chosen for. [`keep`] opens and closes ports as the
//! snapshot says; [`certificates`] has what is shown in handshakes.

pub mod certificates;
pub mod forwarded;
pub mod keep;

use std::{collections::BTreeMap, sync::Arc};

use exchange::Place;
use mesh::{
    Denial, Reason,
    names::ObjectName,
    resource::{Listener, ListenerRole},
    snapshot::Snapshot,
};
use route::Hosts;

/// A listener by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerName {
    /// The Gateway.
    pub gateway: ObjectName,
    /// The listener in it.
    pub listener: Arc<str>,
}

impl ListenerName {
    /// The name of a listener.
    pub fn of(listener: &Listener) -> Self {
        Self { gateway: listener.gateway.clone(), listener: Arc::clone(&listener.name) }
    }

    /// The place whose policies are those of the way in.
    pub fn place(&self) -> Place {
        Place::Listener { gateway: self.gateway.clone(), listener: Arc::clone(&self.listener) }
    }
}

/// Through what a connection came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The port.
    pub port: u16,
    /// Over TLS: the listener that was chosen by server name.
    pub chosen: Option<ListenerName>,
}

/// The ports of the edge.
#[derive(Debug, Default)]
pub struct Edge {
    ports: BTreeMap<u16, Port>,
}

/// One port of the edge.
#[derive(Debug)]
pub struct Port {
    /// True: TLS is spoken.
    pub secured: bool,
    /// Set: it is not served, for this reason.
    pub broken: Option<&'static str>,
    // The most specific first.
    listeners: Vec<(Hosts, Arc<Listener>)>,
}

impl Edge {
    /// The edge, as the listeners say it.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut ports: BTreeMap<u16, Port> = BTreeMap::new();
        for listener in snapshot.listeners() {
            let secured = match &listener.role {
                ListenerRole::Http => false,
                ListenerRole::Https { .. } => true,
                ListenerRole::Waypoint | ListenerRole::EastWest => continue,
            };
            let hosts = listener.hostname.as_ref().map_or(Hosts::Any, Hosts::of);
            let port = ports.entry(listener.port).or_insert_with(|| Port {
                secured,
                broken: None,
                listeners: Vec::new(),
            });
            if port.secured != secured {
                // Nobody could say which of them a connection is for.
                port.broken = Some("listeners with and without TLS want this port");
            }
            port.listeners.push((hosts, Arc::clone(listener)));
        }
        for port in ports.values_mut() {
            port.listeners.sort_by(|(one, of), (two, other)| {
                one.precedence(two).then_with(|| ListenerName::of(of).cmp(&ListenerName::of(other)))
            });
        }
        Self { ports }
    }

    /// The ports that are to be open, with whether TLS is spoken there.
    pub fn ports(&self) -> impl Iterator<Item = (u16, &Port)> {
        self.ports.iter().map(|(number, port)| (*number, port))
    }

    /// The listener whose certificate is shown to somebody who says this server name.
    pub fn by_server_name(&self, port: u16, name: Option<&str>) -> Option<&Arc<Listener>> {
        let port = self.ports.get(&port).filter(|port| port.secured && port.broken.is_none())?;
        match name {
            Some(name) => port.by_host(name.trim_end_matches('.')),
            None => port.listeners.iter().find(|(hosts, _)| *hosts == Hosts::Any).map(|(_, it)| it),
        }
    }

    /// The listener that a request for this host is for.
    ///
    /// # Errors
    /// When no listener serves the host, or another one than the connection was chosen for does.
    pub fn listener(&self, door: &Door, host: &str) -> Result<&Arc<Listener>, Denial> {
        let port = self.ports.get(&door.port).filter(|port| port.broken.is_none());
        // What spoke TLS once may not be asked in clear text, nor the other way round.
        let port = port.filter(|port| port.secured == door.chosen.is_some()).ok_or_else(|| {
            Denial::plain(Reason::NoRoute, format!("port {} is no longer served", door.port))
        })?;
        let found = port.by_host(host).ok_or_else(|| {
            Denial::plain(Reason::NoRoute, format!("no listener of port {} serves {host}", door.port))
        })?;
        match &door.chosen {
            Some(chosen) if *chosen != ListenerName::of(found) => Err(Denial::plain(
                Reason::Misdirected,
                format!("{host} is served by another listener than the connection is for"),
            )),
            _ => Ok(found),
        }
    }
}

impl Port {
    /// Its listeners, the most specific first.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.iter().map(|(_, listener)| listener)
    }

    fn by_host(&self, host: &str) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|(hosts, _)| hosts.contain(host)).map(|(_, listener)| listener)
    }
}

#[cfg(test)]
mod tests {
    use mesh::{
        resource::{HostPattern, Resource},
        snapshot::{Change, NoExpressions},
    };

    use super::*;

    fn listener(name: &str, port: u16, secured: bool, host: Option<&str>) -> Listener {
        Listener {
            gateway: ObjectName::new("Gateway", "edge", "ingress"),
            name: name.into(),
            port,
            role: match secured {
                false => ListenerRole::Http,
                true => ListenerRole::Https { certificates: Vec::new() },
            },
            hostname: host.map(|host| HostPattern(host.into())),
            set: "open".into(),
            traffic: mesh::resource::Traffic::default(),
        }
    }

    fn edge(listeners: Vec<Listener>) -> Edge {
        let set = |it| Change::Set("v1".into(), Resource::Listener(Arc::new(it)));
        let applied = Snapshot::default().apply(listeners.into_iter().map(set).collect(), &NoExpressions);
        assert_eq!(applied.rejected, []);
        Edge::of(&applied.snapshot)
    }

    fn some() -> Edge {
        edge(vec![
            listener("any", 443, true, None),
            listener("wide", 443, true, Some("*.example")),
            listener("narrow", 443, true, Some("*.shop.example")),
            listener("exact", 443, true, Some("a.shop.example")),
            listener("plain", 80, false, Some("a.shop.example")),
        ])
    }

    #[test]
    fn the_most_specific_listener_shows_its_certificate() {
        let edge = some();
        for (name, expected) in [
            (Some("a.shop.example"), Some("exact")),
            (Some("a.shop.example."), Some("exact")),
            (Some("b.shop.example"), Some("narrow")),
            (Some("shop.example"), Some("wide")),
            (Some("elsewhere"), Some("any")),
            (None, Some("any")),
        ] {
            let found = edge.by_server_name(443, name).map(|it| &*it.name);
            assert_eq!(found, expected, "{name:?}");
        }
        assert!(edge.by_server_name(80, Some("a.shop.example")).is_none(), "it speaks no TLS");
        assert!(edge.by_server_name(81, None).is_none());
    }

    #[test]
    fn a_request_is_for_the_listener_of_its_connection() {
        let edge = some();
        let chosen = |name: &str| {
            Some(ListenerName {
                gateway: ObjectName::new("Gateway", "edge", "ingress"),
                listener: name.into(),
            })
        };
        for (port, of, host, expected) in [
            (443, chosen("exact"), "a.shop.example", Ok("exact")),
            (443, chosen("exact"), "b.shop.example", Err(Reason::Misdirected)),
            (443, chosen("narrow"), "a.shop.example", Err(Reason::Misdirected)),
            (443, chosen("any"), "elsewhere", Ok("any")),
            (443, chosen("exact"), "elsewhere", Err(Reason::Misdirected)),
            (443, None, "a.shop.example", Err(Reason::NoRoute)),
            (80, None, "a.shop.example", Ok("plain")),
            (80, None, "b.shop.example", Err(Reason::NoRoute)),
            (80, chosen("plain"), "a.shop.example", Err(Reason::NoRoute)),
            (81, None, "a.shop.example", Err(Reason::NoRoute)),
        ] {
            let found = edge.listener(&Door { port, chosen: of.clone() }, host);
            let found = found.map(|it| &*it.name).map_err(|denial| denial.reason);
            assert_eq!(found, expected, "{port} {of:?} {host}");
        }
        // Where nobody serves the host, it is nowhere, and not elsewhere.
        let edge = self::edge(vec![listener("exact", 443, true, Some("a.example"))]);
        let door = Door { port: 443, chosen: chosen("exact") };
        assert_eq!(edge.listener(&door, "b.example").unwrap_err().reason, Reason::NoRoute);
    }

    #[test]
    fn a_port_that_is_wanted_with_and_without_tls_serves_nobody() {
        let edge = edge(vec![listener("a", 80, true, None), listener("b", 80, false, None)]);
        assert!(edge.ports().all(|(_, port)| port.broken.is_some()));
        assert!(edge.by_server_name(80, None).is_none());
        assert!(edge.listener(&Door { port: 80, chosen: None }, "a").is_err());
    }
}
