//! All routes attached to one place, so compiled that the first rule that matches is the one that Gateway API's
//! precedence names.
//!
//! Exact hosts before the longest wildcard; then an exact path, the longest prefix (by whole segments), a regular
//! expression; then a method, more headers, more query parameters; then the older route, its namespace and name, and
//! the order within the route.

use std::{
    cmp::{Ordering, Reverse},
    collections::HashMap,
    sync::Arc,
};

use crate::{condition::Conditions, host::Hosts};
use mesh::{
    facts::HttpFacts,
    matching::{MatchError, Whole},
    names::ObjectName,
    resource::{PathMatch, Route, RouteMatch},
};

/// What of a request a route can see.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Method, path, host and headers, normalised.
    pub http: &'a HttpFacts,
    /// The query, without `?`.
    pub query: Option<&'a str>,
}

/// A route, as attached to the place of a table.
#[derive(Debug, Clone)]
pub struct Attached<R> {
    /// The route.
    pub route: Arc<Route>,
    /// The hosts that it serves there.
    pub hosts: Vec<Hosts>,
    /// What each of its rules leads to, in their order.
    pub rules: Vec<R>,
}

impl<R> Attached<R> {
    /// Attaches a route to a listener for these hosts, or nowhere if they have none in common.
    pub fn to_listener(route: Arc<Route>, listener: &Hosts, rules: Vec<R>) -> Option<Self> {
        let hosts: Vec<_> = match route.hostnames.is_empty() {
            true => vec![listener.clone()],
            false => route.hostnames.iter().filter_map(|pattern| Hosts::of(pattern).and(listener)).collect(),
        };
        (!hosts.is_empty()).then_some(Self { route, hosts, rules })
    }

    /// Attaches a route to a service. Its host names do not count there: the service has its own.
    pub fn to_service(route: Arc<Route>, rules: Vec<R>) -> Self {
        Self { route, hosts: vec![Hosts::Any], rules }
    }
}

/// What a request matched.
#[derive(Debug)]
pub struct Matched<'a, R> {
    /// The route.
    pub route: &'a ObjectName,
    /// What the rule leads to.
    pub rule: &'a R,
    /// The path prefix that matched, if one did.
    pub prefix: Option<&'a Arc<str>>,
}

/// The routes attached to one place.
#[derive(Debug)]
pub struct Table<R> {
    exact: HashMap<String, Paths<R>>,
    // The longest first.
    suffixes: Vec<(String, Paths<R>)>,
    any: Paths<R>,
    routes: usize,
}

#[derive(Debug)]
struct Paths<R> {
    exact: HashMap<Arc<str>, Vec<Entry<R>>>,
    // Without their final slash; the root is "".
    prefixes: HashMap<Arc<str>, Vec<Entry<R>>>,
    regexes: Vec<(Whole, Entry<R>)>,
}

impl<R> Default for Paths<R> {
    fn default() -> Self {
        Self { exact: HashMap::new(), prefixes: HashMap::new(), regexes: Vec::new() }
    }
}

#[derive(Debug, Clone)]
struct Entry<R> {
    place: Arc<Placed>,
    conditions: Arc<Conditions>,
    prefix: Option<Arc<str>>,
    rule: R,
}

// Everything that settles precedence among equal paths.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) method: bool,
    pub(crate) headers: usize,
    pub(crate) query: usize,
    pub(crate) created: Option<Arc<str>>,
    pub(crate) route: ObjectName,
    pub(crate) rule: usize,
    pub(crate) at: usize,
}

impl Placed {
    pub(crate) fn new(route: &Route, rule: usize, at: usize, of: &RouteMatch) -> Self {
        Self {
            method: of.method.is_some(),
            headers: of.headers.len(),
            query: of.query.len(),
            created: route.created.clone(),
            route: route.name.clone(),
            rule,
            at,
        }
    }

    pub(crate) fn precedence(&self, other: &Self) -> Ordering {
        let specific = |it: &Self| Reverse((it.method, it.headers, it.query));
        // A route without a creation time is as young as can be.
        let age = |it: &Self| (it.created.is_none(), it.created.clone());
        specific(self)
            .cmp(&specific(other))
            .then_with(|| age(self).cmp(&age(other)))
            .then_with(|| self.route.namespace.cmp(&other.route.namespace))
            .then_with(|| self.route.name.cmp(&other.route.name))
            .then_with(|| self.route.kind.cmp(&other.route.kind))
            .then_with(|| (self.rule, self.at).cmp(&(other.rule, other.at)))
    }
}

impl<R: Clone> Table<R> {
    /// Compiles the routes of one place.
    ///
    /// # Errors
    /// When a match cannot be compiled: nobody can then say what the place's routes mean.
    pub fn compile(attached: &[Attached<R>]) -> Result<Self, MatchError> {
        let mut table = Self {
            exact: HashMap::new(),
            suffixes: Vec::new(),
            any: Paths::default(),
            routes: attached.len(),
        };
        for it in attached {
            for (number, (rule, leads_to)) in it.route.rules.iter().zip(&it.rules).enumerate() {
                for (at, of) in rule.matches.iter().enumerate() {
                    let entry = Entry {
                        place: Arc::new(Placed::new(&it.route, number, at, of)),
                        conditions: Arc::new(Conditions::compile(of)?),
                        prefix: None,
                        rule: leads_to.clone(),
                    };
                    for hosts in &it.hosts {
                        table.paths(hosts).add(&of.path, entry.clone())?;
                    }
                }
            }
        }
        table.suffixes.sort_by_key(|(suffix, _)| Reverse(suffix.len()));
        table.exact.values_mut().for_each(Paths::sort);
        table.suffixes.iter_mut().for_each(|(_, paths)| paths.sort());
        table.any.sort();
        Ok(table)
    }

    /// True if no route is attached here.
    pub fn is_empty(&self) -> bool {
        self.routes == 0
    }

    /// What a request matches.
    pub fn find<'a>(&'a self, head: Head<'_>) -> Option<Matched<'a, R>> {
        let host = &*head.http.host;
        let exact = self.exact.get(host).into_iter();
        let suffixes = self
            .suffixes
            .iter()
            .filter(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix.as_str()));
        let paths = exact.chain(suffixes.map(|(_, paths)| paths)).chain([&self.any]);
        let entry = paths.into_iter().find_map(|paths| paths.find(head))?;
        Some(Matched { route: &entry.place.route, rule: &entry.rule, prefix: entry.prefix.as_ref() })
    }

    fn paths(&mut self, hosts: &Hosts) -> &mut Paths<R> {
        match hosts {
            Hosts::Exact(host) => self.exact.entry(host.clone()).or_default(),
            Hosts::Any => &mut self.any,
            Hosts::Suffix(suffix) => {
                let at = self.suffixes.iter().position(|(known, _)| known == suffix).unwrap_or_else(|| {
                    self.suffixes.push((suffix.clone(), Paths::default()));
                    self.suffixes.len() - 1
                });
                &mut self.suffixes[at].1
            }
        }
    }
}

impl<R> Paths<R> {
    fn add(&mut self, path: &PathMatch, mut entry: Entry<R>) -> Result<(), MatchError> {
        match path {
            PathMatch::Exact(path) => self.exact.entry(path.clone()).or_default().push(entry),
            PathMatch::Prefix(prefix) => {
                entry.prefix = Some(prefix.clone());
                self.prefixes.entry(prefix.trim_end_matches('/').into()).or_default().push(entry);
            }
            PathMatch::Regex(pattern) => self.regexes.push((Whole::new(pattern)?, entry)),
        }
        Ok(())
    }

    fn sort(&mut self) {
        let lists = self.exact.values_mut().chain(self.prefixes.values_mut());
        lists.for_each(|list| list.sort_by(|one, two| one.place.precedence(&two.place)));
        self.regexes.sort_by(|(_, one), (_, two)| one.place.precedence(&two.place));
    }

    fn find(&self, head: Head<'_>) -> Option<&Entry<R>> {
        let holds = |entry: &&Entry<R>| entry.conditions.hold(head.http, head.query);
        let path = &*head.http.path;
        let exact = || self.exact.get(path).and_then(|list| list.iter().find(holds));
        let prefix = || {
            prefixes(path)
                .find_map(|prefix| self.prefixes.get(prefix).and_then(|list| list.iter().find(holds)))
        };
        let regex =
            || self.regexes.iter().filter(|(regex, _)| regex.matches(path)).map(|(_, it)| it).find(holds);
        exact().or_else(prefix).or_else(regex)
    }
}

// Every prefix of a path by whole segments, the longest first, without final slash.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path.trim_end_matches('/'));
    std::iter::from_fn(move || {
        let prefix = rest?;
        rest = prefix.rfind('/').map(|at| prefix[..at].trim_end_matches('/'));
        Some(prefix)
    })
}

#[cfg(test)]
mod tests;
