use std::collections::BTreeMap;

use mesh::{
    names::SetName,
    resource::{HostPattern, NamedMatch, RouteRule, TextMatch, Traffic},
};
use proptest::prelude::*;

use super::*;

// What precedence says, without any index: of all matches that hold, the first by comparison.
fn naive<'a>(attached: &'a [Attached<u32>], head: Head<'_>) -> Option<(u32, Option<&'a Arc<str>>)> {
    let mut best: Option<(&Hosts, &PathMatch, Placed, u32)> = None;
    for it in attached {
        for (number, rule) in it.route.rules.iter().enumerate() {
            for (at, of) in rule.matches.iter().enumerate() {
                for hosts in &it.hosts {
                    if !hosts.contain(&head.http.host) || !path_matches(&of.path, &head.http.path) {
                        continue;
                    }
                    if !Conditions::compile(of).unwrap().hold(head.http, head.query) {
                        continue;
                    }
                    let placed = Placed::new(&it.route, number, at, of);
                    let better = best.as_ref().is_none_or(|(best_hosts, best_path, best_placed, _)| {
                        hosts
                            .precedence(best_hosts)
                            .then_with(|| path_rank(&of.path).cmp(&path_rank(best_path)))
                            .then_with(|| placed.precedence(best_placed))
                            .is_lt()
                    });
                    if better {
                        best = Some((hosts, &of.path, placed, it.rules[number]));
                    }
                }
            }
        }
    }
    best.map(|(_, path, _, rule)| {
        (rule, if let PathMatch::Prefix(prefix) = path { Some(prefix) } else { None })
    })
}

fn path_matches(path: &PathMatch, actual: &str) -> bool {
    match path {
        PathMatch::Exact(exact) => &**exact == actual,
        PathMatch::Prefix(prefix) => {
            let wanted: Vec<_> = prefix.split('/').filter(|segment| !segment.is_empty()).collect();
            let there: Vec<_> = actual.split('/').filter(|segment| !segment.is_empty()).collect();
            there.starts_with(&wanted)
        }
        PathMatch::Regex(pattern) => Whole::new(pattern).unwrap().matches(actual),
    }
}

fn path_rank(path: &PathMatch) -> (u8, Reverse<usize>) {
    match path {
        PathMatch::Exact(_) => (0, Reverse(0)),
        PathMatch::Prefix(prefix) => (1, Reverse(prefix.trim_end_matches('/').len())),
        PathMatch::Regex(_) => (2, Reverse(0)),
    }
}

fn route(name: &str, created: Option<&str>, hosts: &[&str], rules: Vec<Vec<RouteMatch>>) -> Arc<Route> {
    Arc::new(Route {
        name: ObjectName::new("HTTPRoute", "shop", name),
        created: created.map(Into::into),
        parents: Vec::new(),
        hostnames: hosts.iter().map(|host| HostPattern((*host).into())).collect(),
        rules: rules
            .into_iter()
            .map(|matches| RouteRule {
                name: "".into(),
                matches,
                filters: Vec::new(),
                backends: Vec::new(),
                traffic: Traffic::default(),
                broken: None,
            })
            .collect(),
        set: SetName::from("route"),
    })
}

fn matching(path: PathMatch) -> RouteMatch {
    RouteMatch { path, method: None, headers: Vec::new(), query: Vec::new() }
}

fn exact(path: &str) -> RouteMatch {
    matching(PathMatch::Exact(path.into()))
}

fn prefix(path: &str) -> RouteMatch {
    matching(PathMatch::Prefix(path.into()))
}

fn facts(host: &str, path: &str, method: &str, headers: &[(&str, &str)]) -> HttpFacts {
    let headers: BTreeMap<_, _> =
        headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    HttpFacts { method: method.into(), path: path.into(), host: host.into(), headers }
}

fn table(routes: &[Arc<Route>]) -> Table<String> {
    let attached: Vec<_> = routes
        .iter()
        .map(|route| {
            let rules = (0..route.rules.len()).map(|rule| format!("{}{rule}", route.name.name)).collect();
            Attached::to_listener(Arc::clone(route), &Hosts::Any, rules).unwrap()
        })
        .collect();
    Table::compile(&attached).unwrap()
}

#[track_caller]
fn check(table: &Table<String>, http: &HttpFacts, query: Option<&str>, expected: Option<&str>) {
    assert_eq!(table.find(Head { http, query }).map(|it| it.rule.as_str()), expected, "{http:?} {query:?}");
}

#[test]
fn exact_paths_win_over_longer_prefixes_and_expressions_come_last() {
    let routes = [route(
        "r",
        None,
        &[],
        vec![
            vec![matching(PathMatch::Regex("/a.*".into()))],
            vec![prefix("/a")],
            vec![prefix("/a/b/")],
            vec![exact("/a/b")],
            vec![prefix("/")],
        ],
    )];
    let table = table(&routes);
    for (path, expected) in [
        ("/a/b", "r3"),
        ("/a/b/", "r2"),
        ("/a/b/c", "r2"),
        ("/a/bc", "r1"),
        ("/a", "r1"),
        ("/ab", "r4"),
        ("/", "r4"),
    ] {
        check(&table, &facts("h", path, "GET", &[]), None, Some(expected));
    }
}

#[test]
fn exact_hosts_win_and_what_they_do_not_serve_falls_to_wildcards() {
    let routes = [
        route("any", None, &[], vec![vec![prefix("/")]]),
        route("wide", None, &["*.com"], vec![vec![prefix("/w")]]),
        route("narrow", None, &["*.a.com"], vec![vec![prefix("/n")]]),
        route("one", None, &["x.a.com"], vec![vec![exact("/o")]]),
    ];
    let table = table(&routes);
    for (host, path, expected) in [
        ("x.a.com", "/o", "one0"),
        ("x.a.com", "/n", "narrow0"),
        ("x.a.com", "/w", "wide0"),
        ("x.a.com", "/z", "any0"),
        ("a.com", "/w", "wide0"),
        ("a.com", "/n", "any0"),
        ("org", "/w", "any0"),
    ] {
        check(&table, &facts(host, path, "GET", &[]), None, Some(expected));
    }
}

#[test]
fn methods_then_headers_then_query_then_age_then_name_settle() {
    let with = |method: Option<&str>, headers: &[&str], query: &[&str]| {
        let named = |names: &[&str]| {
            names
                .iter()
                .map(|name| NamedMatch { name: (*name).into(), value: TextMatch::Exact("1".into()) })
                .collect()
        };
        RouteMatch {
            method: method.map(Into::into),
            headers: named(headers),
            query: named(query),
            ..prefix("/")
        }
    };
    let routes = [
        route("b", Some("2026-01-02T00:00:00Z"), &[], vec![vec![with(None, &[], &["q"])], vec![prefix("/")]]),
        route(
            "a",
            Some("2026-01-02T00:00:00Z"),
            &[],
            vec![vec![with(None, &["x", "y"], &[])], vec![prefix("/")]],
        ),
        route(
            "old",
            Some("2026-01-01T00:00:00Z"),
            &[],
            vec![vec![with(Some("PUT"), &[], &[])], vec![prefix("/z")]],
        ),
        route("new", None, &[], vec![vec![with(None, &["x"], &[])], vec![prefix("/")]]),
    ];
    let table = table(&routes);
    let check = |method, headers: &[(&str, &str)], query, expected| {
        check(&table, &facts("h", "/", method, headers), query, Some(expected));
    };
    check("PUT", &[("x", "1"), ("y", "1")], Some("q=1"), "old0");
    check("GET", &[("x", "1"), ("y", "1")], Some("q=1"), "a0");
    check("GET", &[("x", "1")], Some("q=1"), "new0");
    check("GET", &[], Some("q=1"), "b0");
    check("GET", &[], Some("q=2"), "a1");
}

#[test]
fn an_expression_that_does_not_compile_breaks_the_place() {
    let route = route("r", None, &[], vec![vec![matching(PathMatch::Regex("(".into()))]]);
    let attached = Attached::to_service(route, vec![0]);
    assert!(Table::compile(&[attached]).is_err());
}

#[test]
fn a_listener_narrows_the_hosts_of_a_route() {
    let route = route("r", None, &["a.com", "*.b.com"], vec![vec![prefix("/")]]);
    let listener = |pattern: &str| Hosts::of(&HostPattern(pattern.into()));
    let attach =
        |pattern| Attached::to_listener(Arc::clone(&route), &listener(pattern), vec![0]).map(|it| it.hosts);
    assert_eq!(attach("x.b.com"), Some(vec![Hosts::Exact("x.b.com".into())]));
    assert_eq!(attach("*.com").unwrap().len(), 2);
    assert_eq!(attach("c.org"), None);
}

prop_compose! {
    fn any_match()(
        path in prop_oneof![
            "(/[ab]{1,2}){1,3}".prop_map(|path| PathMatch::Exact(path.into())),
            "(/[ab]{1,2}){0,3}/?".prop_map(|path| PathMatch::Prefix(if path.is_empty() { "/".into() } else { path.into() })),
            "/[ab]\\.\\*".prop_map(|path| PathMatch::Regex(path.into())),
        ],
        method in prop_oneof![Just(None), Just(Some("GET")), Just(Some("PUT"))],
        headers in proptest::sample::subsequence(vec!["x", "y"], 0..=2),
        query in proptest::sample::subsequence(vec!["q", "p"], 0..=2),
        value in prop_oneof![Just(TextMatch::Exact("1".into())), Just(TextMatch::Regex("[12]".into()))],
    ) -> RouteMatch {
        let named = |names: Vec<&str>| {
            names.into_iter().map(|name| NamedMatch { name: name.into(), value: value.clone() }).collect()
        };
        RouteMatch { path, method: method.map(Into::into), headers: named(headers), query: named(query) }
    }
}

prop_compose! {
    fn any_route()(
        name in "[ab]{1,2}",
        created in prop_oneof![Just(None), Just(Some("2026-01-01T00:00:00Z")), Just(Some("2026-01-02T00:00:00Z"))],
        hosts in proptest::sample::subsequence(vec!["a.com", "*.com", "*.a.com", "x.a.com"], 0..=3),
        rules in proptest::collection::vec(proptest::collection::vec(any_match(), 1..3), 1..4),
    ) -> Arc<Route> {
        route(&name, created, &hosts, rules)
    }
}

proptest! {
    #[test]
    fn the_compiled_table_says_what_precedence_says(
        routes in proptest::collection::vec(any_route(), 0..6),
        host in prop_oneof![Just("a.com"), Just("x.a.com"), Just("y.x.a.com"), Just("org")],
        path in "(/[ab]{1,2}){1,4}/?|/",
        method in prop_oneof![Just("GET"), Just("PUT")],
        header in proptest::sample::subsequence(vec![("x", "1"), ("y", "2")], 0..=2),
        query in prop_oneof![Just(None), Just(Some("q=1")), Just(Some("p=2&q=1"))],
    ) {
        // Two routes of one name are one route.
        let mut routes: Vec<_> = routes;
        routes.sort_by(|one, two| one.name.cmp(&two.name));
        routes.dedup_by(|one, two| one.name == two.name);
        let mut count = 0;
        let attached: Vec<_> = routes.iter().filter_map(|route| {
            let rules = route.rules.iter().map(|_| { count += 1; count }).collect();
            Attached::to_listener(Arc::clone(route), &Hosts::Any, rules)
        }).collect();
        let table = Table::compile(&attached).unwrap();
        let http = facts(host, &path, method, &header);
        let head = Head { http: &http, query };
        let found = table.find(head).map(|it| (*it.rule, it.prefix));
        prop_assert_eq!(found, naive(&attached, head));
    }
}
