//! What is listed equals what is callable, for any policies: the list is filtered by the responder, the calls are
//! judged as the program judges them, and both ask `mesh::access` under one snapshot.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use std::sync::Arc;

use exchange::{BoxFuture, Judge, Place, Purpose};
use mesh::{
    Denial, Facts,
    access::{self, Verdict},
    names::{ObjectName, Version},
    resource::{
        Action, ArgumentTerm, ArgumentTest, Authorizer, DefaultAccess, McpTerm, Mode, Operation, Policy,
        PolicyRef, PolicySet, Principals, Resource, Rule, Source, Stage, StageKind, TextMatch, ToolTerm,
    },
    snapshot::{Change, NoExpressions, Snapshot},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::World;

const TOOLS: [&str; 4] = ["search", "search_all", "read", "write"];
const REPOS: [&str; 3] = ["docs", "web", "secret"];
const SET: &str = "Service/shop/tools:80";

/// Judges every place by one set.
struct Access(Snapshot);

impl Judge for Access {
    fn judge(&self, _: &Place, facts: &Facts, _: Purpose) -> Result<(), Denial> {
        match access::judge(&self.0, &SET.into(), facts).verdict {
            Verdict::Granted(_) | Verdict::Conditional(..) => Ok(()),
            Verdict::Refused(denial) => Err(denial),
        }
    }

    fn authorizers(&self, _: &Place, _: &Facts) -> Result<Vec<Arc<Authorizer>>, Denial> {
        Ok(Vec::new())
    }

    fn generation(&self) -> u64 {
        0
    }

    fn changed(&self, _: u64) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

fn text() -> impl Strategy<Value = TextMatch> {
    let name = proptest::sample::select(&TOOLS[..]);
    (name, 0..4_u8).prop_map(|(name, kind)| match kind {
        0 => TextMatch::Exact(name.into()),
        1 => TextMatch::Prefix(name[..3].into()),
        2 => TextMatch::Suffix(name[name.len() - 2..].into()),
        _ => TextMatch::Regex(format!("{}.*", &name[..1]).into()),
    })
}

fn argument() -> impl Strategy<Value = ArgumentTerm> {
    let repo = proptest::sample::select(&REPOS[..]);
    (repo, 0..4_u8).prop_map(|(repo, kind)| ArgumentTerm {
        path: "/repo".into(),
        test: match kind {
            0 => ArgumentTest::In(vec![json!(repo)]),
            1 => ArgumentTest::Prefix(repo[..1].into()),
            2 => ArgumentTest::Absent(true),
            _ => ArgumentTest::Absent(false),
        },
    })
}

fn term(arguments: usize) -> impl Strategy<Value = Option<McpTerm>> {
    let tools = proptest::collection::vec(
        (text(), proptest::collection::vec(argument(), 0..=arguments))
            .prop_map(|(name, arguments)| ToolTerm { names: vec![name], arguments, access: None }),
        1..3,
    );
    // A Deny on `tools/list` itself refuses the list, as it says; it hides no tool.
    let methods = proptest::sample::select(vec!["tools/call", "prompts/get"]);
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(McpTerm::default())),
        6 => tools.prop_map(|tools| Some(McpTerm { tools: Some(tools), ..McpTerm::default() })),
        1 => methods.prop_map(|method| Some(McpTerm { methods: Some(vec![method.into()]), ..McpTerm::default() })),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![Just("planner"), Just("intern"), Just("*")].prop_map(|account| Source {
        principals: vec![Principals {
            field: "identities".into(),
            any_of: vec![format!("spiffe://east.example/ns/agents/sa/{account}").parse().unwrap()],
        }],
        ..Source::default()
    })
}

fn policy(arguments: usize) -> impl Strategy<Value = (StageKind, Action, Vec<Rule>)> {
    let rule = (source(), term(arguments)).prop_map(|(from, mcp)| Rule {
        name: "rule".into(),
        from: vec![from],
        to: Some(vec![Operation { mcp, ..Operation::default() }]),
        when: None,
    });
    let place = prop_oneof![
        1 => Just((StageKind::PlatformDeny, Action::Deny)),
        1 => Just((StageKind::PlatformLimit, Action::Limit)),
        1 => Just((StageKind::WayIn, Action::Allow)),
        4 => Just((StageKind::Target, Action::Allow)),
        2 => Just((StageKind::Target, Action::Deny)),
    ];
    (place, proptest::collection::vec(rule, 1..3)).prop_map(|((stage, action), mut rules)| {
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("rule-{number}").into();
        }
        (stage, action, rules)
    })
}

fn snapshot(policies: Vec<(StageKind, Action, Vec<Rule>)>) -> Snapshot {
    let version = || Version::from("1");
    let mut changes = Vec::new();
    let kinds = [StageKind::PlatformDeny, StageKind::PlatformLimit, StageKind::WayIn, StageKind::Target];
    let mut stages = kinds.map(|kind| Stage { kind, policies: Vec::new() });
    for (number, (kind, action, rules)) in policies.into_iter().enumerate() {
        let name = ObjectName::new("AccessPolicy", "shop", &format!("policy-{number}"));
        let policy =
            Policy { name: name.clone(), action, mode: Mode::Enforce, broken: None, rules, authorizer: None };
        changes.push(Change::Set(version(), Resource::Policy(Arc::new(policy))));
        let stage = stages.iter_mut().find(|stage| stage.kind == kind).unwrap();
        stage.policies.push(PolicyRef { name, version: Some(version()) });
    }
    let set = PolicySet {
        name: SET.into(),
        stages: stages.to_vec(),
        default_access: DefaultAccess::None,
        guards: Vec::new(),
        quotas: Vec::new(),
    };
    changes.push(Change::Set(version(), Resource::PolicySet(Arc::new(set))));
    let applied = Snapshot::default().apply(changes, &NoExpressions);
    assert!(applied.rejected.is_empty(), "{:?}", applied.rejected);
    applied.snapshot
}

/// What the caller sees listed, and which calls with which arguments pass.
fn observe(policies: Vec<(StageKind, Action, Vec<Rule>)>) -> (Vec<String>, Vec<String>) {
    let judge: Arc<dyn Judge> = Arc::new(Access(snapshot(policies)));
    let listing = TOOLS.map(|name| json!({"name": name}));
    let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": listing}}).to_string();
    let mut world = World::new(move |_, body| {
        let asked: Value = serde_json::from_slice(body).unwrap();
        let body = if asked["method"] == "tools/list" { list.clone() } else { "{\"ok\":1}".to_owned() };
        Ok(support::response("application/json", body))
    });
    world.judge = Some(judge);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let answer = world.ask(support::new("tools/list", json!({}))).await.json();
        let listed = answer["result"]["tools"].as_array().map_or(Vec::new(), |tools| {
            tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
        });
        let mut callable = Vec::new();
        for name in TOOLS {
            let mut tries = vec![json!({})];
            tries.extend(REPOS.map(|repo| json!({"repo": repo})));
            for arguments in tries {
                if world.ask(support::call(name, arguments)).await.body == "{\"ok\":1}" {
                    callable.push(name.to_owned());
                    break;
                }
            }
        }
        (listed, callable)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_conditions_on_arguments_listed_equals_callable(
        policies in proptest::collection::vec(policy(0), 0..6),
    ) {
        let (listed, callable) = observe(policies);
        prop_assert_eq!(listed, callable);
    }

    #[test]
    fn what_is_callable_with_some_arguments_is_listed(
        policies in proptest::collection::vec(policy(2), 0..6),
    ) {
        let (listed, callable) = observe(policies);
        prop_assert!(callable.iter().all(|name| listed.contains(name)), "{:?} {:?}", listed, callable);
    }
}

#[test]
fn the_properties_are_not_empty() {
    let rule = Rule {
        name: "rule".into(),
        from: vec![Source {
            principals: vec![Principals {
                field: "identities".into(),
                any_of: vec!["spiffe://east.example/ns/agents/sa/planner".parse().unwrap()],
            }],
            ..Source::default()
        }],
        to: Some(vec![Operation {
            mcp: Some(McpTerm {
                tools: Some(vec![ToolTerm {
                    access: None,
                    names: vec![TextMatch::Prefix("search".into())],
                    arguments: vec![ArgumentTerm {
                        path: "/repo".into(),
                        test: ArgumentTest::In(vec![json!("docs")]),
                    }],
                }]),
                ..McpTerm::default()
            }),
            ..Operation::default()
        }]),
        when: None,
    };
    let (listed, callable) = observe(vec![(StageKind::Target, Action::Allow, vec![rule])]);
    assert_eq!(listed, ["search", "search_all"]);
    assert_eq!(callable, listed);
}
