use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    facts::{Arguments, Expression, ExpressionError, Fact, McpObject, Peer},
    fixtures::*,
    resource::*,
    snapshot::{Change, Compiler},
};

/// Understands `true`, `false`, `error`, and `arguments` (false, and reads the arguments of a tool).
struct Words;

#[derive(Debug)]
struct Word(String);

impl Compiler for Words {
    fn compile(&self, text: &str) -> Result<Arc<dyn Expression>, String> {
        match text {
            "true" | "false" | "error" | "arguments" => Ok(Arc::new(Word(text.to_owned()))),
            other => Err(format!("{other} is no word")),
        }
    }
}

impl Expression for Word {
    fn evaluate(&self, _: &Facts) -> Result<bool, ExpressionError> {
        match &*self.0 {
            "error" => Err(ExpressionError("no such key".to_owned())),
            word => Ok(word == "true"),
        }
    }

    fn demand(&self) -> Demand {
        Demand { mcp: self.0 == "arguments", ..Demand::default() }
    }

    fn reads_arguments(&self) -> bool {
        self.0 == "arguments"
    }
}

fn world(policies: Vec<Policy>, stages: &[(StageKind, &[&str])], default: DefaultAccess) -> Snapshot {
    let mut changes: Vec<Change> = policies.into_iter().map(|it| put(it.into())).collect();
    changes.push(put(set("set", stages, default).into()));
    let applied = Snapshot::default().apply(changes, &Words);
    assert_eq!(applied.rejected, []);
    applied.snapshot
}

/// One policy at the target, and nobody by default.
fn alone(action: Action, rules: Vec<Rule>) -> Snapshot {
    world(vec![policy("p", action, rules)], &[(StageKind::Target, &["p"])], DefaultAccess::None)
}

fn verdict(snapshot: &Snapshot, facts: &Facts) -> String {
    match judge(snapshot, &"set".into(), facts).verdict {
        Verdict::Conditional(..) => "ask".to_owned(),
        Verdict::Granted(Grant::Default) => "default".to_owned(),
        Verdict::Granted(Grant::Rule { policy, rule, .. }) => format!("{}/{rule}", policy.name),
        Verdict::Refused(denial) => {
            let policy = denial.policy.map(|(policy, _)| policy.name.to_string()).unwrap_or_default();
            let rule = denial.rule.as_deref().unwrap_or_default().to_owned();
            let field = denial.field.as_deref().unwrap_or_default().to_owned();
            format!("{} {policy}/{rule} {field}", denial.reason).trim_end().to_owned()
        }
    }
}

fn to(operation: Operation) -> Rule {
    Rule { to: Some(vec![operation]), ..rule("r", anyone()) }
}

fn tool(name: &str, arguments: Vec<ArgumentTerm>) -> Operation {
    let tools = vec![ToolTerm { names: vec![TextMatch::Exact(name.into())], access: None, arguments }];
    Operation { mcp: Some(McpTerm { tools: Some(tools), ..McpTerm::default() }), ..Operation::default() }
}

fn repo_is_docs() -> Vec<ArgumentTerm> {
    vec![ArgumentTerm { path: "/repo".into(), test: ArgumentTest::In(vec![json!("docs")]) }]
}

fn calls(name: &str, arguments: Value) -> Facts {
    let arguments = Arguments::Given(Arc::new(arguments));
    let object = McpObject::Tool { name: name.into(), arguments, access: None };
    Facts { mcp: mcp("tools/call", object), http: http("POST", "/mcp"), ..facts(verified("shop/planner")) }
}

fn lists(name: &str) -> Facts {
    let object = McpObject::Tool { name: name.into(), arguments: Arguments::Listing, access: None };
    Facts { mcp: mcp("tools/call", object), ..calls(name, json!({})) }
}

fn base() -> Facts {
    Facts { mcp: mcp("initialize", McpObject::Base), ..calls("", json!({})) }
}

#[test]
fn a_set_that_is_not_held_refuses() {
    assert_eq!(verdict(&Snapshot::default(), &facts(Peer::Unknown)), "PolicyMissing /");
}

#[test]
fn default_access_speaks_where_no_allow_does() {
    let ours = DefaultAccess::Mesh(TRUST_DOMAIN.parse().expect("a trust domain"));
    for (default, peer, expected) in [
        (DefaultAccess::Open, Peer::Unknown, "default"),
        (DefaultAccess::None, verified("shop/planner"), "NoGrant /"),
        (ours.clone(), verified("shop/planner"), "default"),
        (ours.clone(), verified("spiffe://west.example/ns/shop/sa/planner"), "NotOfTheMesh /"),
        (ours.clone(), Peer::Unverified(identity("shop/planner")), "NotOfTheMesh /"),
        (ours, Peer::Unknown, "NotOfTheMesh /"),
    ] {
        assert_eq!(verdict(&world(vec![], &[], default), &facts(peer)), expected);
    }
}

#[test]
fn only_a_proven_identity_satisfies_and_none_evades_a_deny() {
    let allow = alone(Action::Allow, vec![rule("r", principal("shop/planner"))]);
    let deny = world(
        vec![policy("p", Action::Deny, vec![rule("r", principal("shop/intern"))])],
        &[(StageKind::Target, &["p"])],
        DefaultAccess::Open,
    );
    for (peer, allowed, denied) in [
        (verified("shop/planner"), "p/r", "default"),
        (verified("shop/intern"), "NoGrant p/r from[0].serviceAccounts", "Denied p/r"),
        (
            Peer::Unverified(identity("shop/planner")),
            "NoGrant p/r from[0].serviceAccounts",
            "IdentityUnknown p/r from[0].serviceAccounts",
        ),
        (Peer::Unknown, "NoGrant p/r from[0].serviceAccounts", "IdentityUnknown p/r from[0].serviceAccounts"),
    ] {
        assert_eq!(verdict(&allow, &facts(peer.clone())), allowed);
        assert_eq!(verdict(&deny, &facts(peer)), denied);
    }
}

#[test]
fn stages_are_passed_in_their_order() {
    let planner = || vec![rule("r", principal("shop/planner"))];
    let of = |name: &str, action, rules| policy(name, action, rules);
    let policies = || {
        vec![
            of("no-intern", Action::Deny, vec![rule("r", principal("shop/intern"))]),
            of(
                "limit",
                Action::Limit,
                vec![rule("in", principal("shop/planner")), rule("lab", principal("shop/lab"))],
            ),
            of(
                "way",
                Action::Allow,
                vec![rule("r", principal("shop/planner")), rule("lab", principal("shop/lab"))],
            ),
            of("grant", Action::Allow, planner()),
        ]
    };
    let all: &[(StageKind, &[&str])] = &[
        (StageKind::PlatformDeny, &["no-intern"]),
        (StageKind::PlatformLimit, &["limit"]),
        (StageKind::WayIn, &["way"]),
        (StageKind::Target, &["grant"]),
    ];
    let mesh = world(policies(), all, DefaultAccess::Open);
    for (who, expected) in [
        ("shop/planner", "grant/r"),
        ("shop/intern", "Denied no-intern/r"),
        ("shop/other", "BeyondLimit limit/in from[0].serviceAccounts"),
        ("shop/lab", "NoGrant grant/r from[0].serviceAccounts"),
    ] {
        assert_eq!(verdict(&mesh, &facts(verified(who))), expected, "{who}");
    }
    // A limit bounds also where the default would let in, and a grant on the way in is none at the target.
    let open = world(policies(), &all[..3], DefaultAccess::Open);
    assert_eq!(
        verdict(&open, &facts(verified("shop/other"))),
        "BeyondLimit limit/in from[0].serviceAccounts"
    );
    assert_eq!(verdict(&open, &facts(verified("shop/lab"))), "default");
    let closed = world(policies(), &all[..3], DefaultAccess::None);
    assert_eq!(verdict(&closed, &facts(verified("shop/planner"))), "NoGrant /");
}

#[test]
fn every_limit_must_have_a_rule_that_matches() {
    let limits = vec![
        policy("a", Action::Limit, vec![rule("r", anyone())]),
        policy("b", Action::Limit, vec![rule("r", principal("shop/planner"))]),
    ];
    let mesh = world(limits, &[(StageKind::PlatformLimit, &["a", "b"])], DefaultAccess::Open);
    assert_eq!(verdict(&mesh, &facts(verified("shop/planner"))), "default");
    assert_eq!(verdict(&mesh, &facts(verified("shop/intern"))), "BeyondLimit b/r from[0].serviceAccounts");
}

#[test]
fn what_layer_4_cannot_read_grants_nothing_and_is_denied() {
    let with_http = || to(Operation { http: Some(HttpTerm::default()), ..Operation::default() });
    let with_mcp = || to(tool("search", vec![]));
    let with_when = || Rule { when: Some("error".into()), ..rule("r", anyone()) };
    let plain = facts(verified("shop/planner"));
    for (rule, field) in [(with_http(), "to[0].http"), (with_mcp(), "to[0].mcp"), (with_when(), "when")] {
        let allow = alone(Action::Allow, vec![rule.clone()]);
        assert_eq!(verdict(&allow, &plain), format!("NoGrant p/r {field}"));
        let deny = alone(Action::Deny, vec![rule.clone()]);
        assert_eq!(verdict(&deny, &plain), format!("Denied p/r {field}"));
        let limit = world(
            vec![policy("p", Action::Limit, vec![rule])],
            &[(StageKind::PlatformLimit, &["p"])],
            DefaultAccess::Open,
        );
        assert_eq!(verdict(&limit, &plain), format!("BeyondLimit p/r {field}"));
    }
}

#[test]
fn what_is_of_another_protocol_matches_in_nothing() {
    let other = Facts { mcp: Fact::NotApplicable, ..facts(verified("shop/planner")) };
    let allow = alone(Action::Allow, vec![to(tool("search", vec![]))]);
    assert_eq!(verdict(&allow, &other), "NoGrant p/r to[0].mcp");
    let deny = world(
        vec![policy("p", Action::Deny, vec![to(tool("search", vec![]))])],
        &[(StageKind::Target, &["p"])],
        DefaultAccess::Open,
    );
    assert_eq!(verdict(&deny, &other), "default");
}

#[test]
fn tools_are_granted_by_name_and_argument() {
    let mesh = alone(Action::Allow, vec![to(tool("read_file", repo_is_docs()))]);
    for (facts, expected) in [
        (calls("read_file", json!({"repo": "docs"})), "p/r"),
        (calls("read_file", json!({"repo": "web"})), "NoGrant p/r to[0].mcp.tools[0].arguments[/repo]"),
        (calls("read_file", json!({})), "NoGrant p/r to[0].mcp.tools[0].arguments[/repo]"),
        (calls("read_file", json!({"repo": ["docs"]})), "NoGrant p/r to[0].mcp.tools[0].arguments[/repo]"),
        (calls("write_file", json!({"repo": "docs"})), "NoGrant p/r to[0].mcp.tools[0].names"),
        (lists("read_file"), "p/r"),
        (lists("write_file"), "NoGrant p/r to[0].mcp.tools[0].names"),
        (base(), "p/r"),
        (Facts { mcp: mcp("logging/setLevel", McpObject::Other), ..base() }, "NoGrant p/r to[0].mcp.methods"),
        (
            Facts { mcp: mcp("prompts/get", McpObject::Prompt { name: "x".into() }), ..base() },
            "NoGrant p/r to[0].mcp.prompts",
        ),
    ] {
        assert_eq!(verdict(&mesh, &facts), expected, "{:?}", facts.mcp);
    }
}

#[test]
fn a_deny_on_tools_hides_what_it_refuses_and_leaves_the_base() {
    let of = |arguments| {
        world(
            vec![policy("p", Action::Deny, vec![to(tool("rm", arguments))])],
            &[(StageKind::Target, &["p"])],
            DefaultAccess::Open,
        )
    };
    let whole = of(vec![]);
    for (facts, expected) in [
        (calls("rm", json!({})), "Denied p/r"),
        (lists("rm"), "Denied p/r"),
        (base(), "default"),
        (lists("ls"), "default"),
    ] {
        assert_eq!(verdict(&whole, &facts), expected);
    }
    let in_docs = of(repo_is_docs());
    for (facts, expected) in [
        (calls("rm", json!({"repo": "docs"})), "Denied p/r"),
        (calls("rm", json!({"repo": "web"})), "default"),
        (calls("rm", json!({})), "Denied p/r to[0].mcp.tools[0].arguments[/repo]"),
        (calls("rm", json!({"repo": 1})), "Denied p/r to[0].mcp.tools[0].arguments[/repo]"),
        (lists("rm"), "default"),
    ] {
        assert_eq!(verdict(&in_docs, &facts), expected);
    }
}

#[test]
fn listed_is_what_is_callable_with_some_arguments() {
    // Invariant 5, for arguments: whatever can be called is listed.
    for arguments in [json!({"repo": "docs"}), json!({"repo": "web"}), json!({})] {
        for action in [Action::Allow, Action::Deny] {
            for terms in [vec![], repo_is_docs()] {
                let rules = vec![to(tool("read_file", terms))];
                let mesh = world(
                    vec![policy("p", action, rules)],
                    &[(StageKind::Target, &["p"])],
                    DefaultAccess::Open,
                );
                let is = |facts| matches!(judge(&mesh, &"set".into(), &facts).verdict, Verdict::Granted(_));
                assert!(!is(calls("read_file", arguments.clone())) || is(lists("read_file")));
            }
        }
    }
}

#[test]
fn conditions_are_the_last_term() {
    let of = |word: &str, action| {
        let rules = vec![Rule { when: Some(word.into()), ..rule("r", anyone()) }];
        world(vec![policy("p", action, rules)], &[(StageKind::Target, &["p"])], DefaultAccess::Open)
    };
    for (word, allowed, denied) in [
        ("true", "p/r", "Denied p/r"),
        ("false", "NoGrant p/r when", "default"),
        ("error", "NoGrant p/r when", "Denied p/r when"),
    ] {
        assert_eq!(verdict(&of(word, Action::Allow), &calls("x", json!({}))), allowed);
        assert_eq!(verdict(&of(word, Action::Deny), &calls("x", json!({}))), denied);
    }
    // What reads arguments counts as satisfied in an Allow and as not matched in a Deny while a list is filtered.
    assert_eq!(verdict(&of("arguments", Action::Allow), &lists("x")), "p/r");
    assert_eq!(verdict(&of("arguments", Action::Deny), &lists("x")), "default");
    assert_eq!(verdict(&of("arguments", Action::Allow), &base()), "p/r");
    assert_eq!(verdict(&of("arguments", Action::Deny), &base()), "default");
}

#[test]
fn addresses_ports_and_requests_are_matched() {
    let blocks =
        Source { ip_blocks: Some(vec!["10.20.0.0/24".parse().expect("a block")]), ..Source::default() };
    let mesh = alone(Action::Allow, vec![rule("r", blocks)]);
    let from = |address: Option<&str>| Facts {
        source_address: address.map(|it| it.parse().expect("tables hold addresses")),
        ..facts(Peer::Unknown)
    };
    assert_eq!(verdict(&mesh, &from(Some("10.20.0.7"))), "p/r");
    assert_eq!(verdict(&mesh, &from(Some("::ffff:10.20.0.7"))), "p/r");
    assert_eq!(verdict(&mesh, &from(Some("10.20.1.7"))), "NoGrant p/r from[0].ipBlocks");
    assert_eq!(verdict(&mesh, &from(None)), "NoGrant p/r from[0].ipBlocks");

    let ports = Operation { ports: Some(vec![PortRange { first: 80, last: 81 }]), ..Operation::default() };
    let mesh = alone(Action::Allow, vec![to(ports)]);
    for (port, expected) in
        [(79, "NoGrant p/r to[0].ports"), (80, "p/r"), (81, "p/r"), (82, "NoGrant p/r to[0].ports")]
    {
        assert_eq!(verdict(&mesh, &Facts { port, ..facts(Peer::Unknown) }), expected);
    }

    let http_term = HttpTerm {
        methods: Some(vec!["GET".into()]),
        paths: Some(vec![PathMatch::Prefix("/docs/".into())]),
        hosts: Some(vec![HostPattern("*.shop".into()), HostPattern("tools".into())]),
        headers: None,
    };
    let mesh = alone(Action::Allow, vec![to(Operation { http: Some(http_term), ..Operation::default() })]);
    for (method, path, expected) in [
        ("GET", "/docs", "p/r"),
        ("GET", "/docs/a", "p/r"),
        ("GET", "/docsx", "NoGrant p/r to[0].http.paths"),
        ("get", "/docs", "NoGrant p/r to[0].http.methods"),
    ] {
        assert_eq!(verdict(&mesh, &Facts { http: http(method, path), ..facts(Peer::Unknown) }), expected);
    }
}

#[test]
fn a_header_that_is_sent_twice_is_no_way_around_a_deny() {
    let term = |name: &str, value: TextMatch| {
        let headers = Some(vec![NamedMatch { name: name.into(), value }]);
        to(Operation { http: Some(HttpTerm { headers, ..HttpTerm::default() }), ..Operation::default() })
    };
    let of = |action, name: &str, term_value: TextMatch, said: &str| {
        let Fact::Known(mut http) = http("GET", "/") else { panic!("it is known") };
        http.headers.insert(name.into(), said.into());
        let default = if action == Action::Deny { DefaultAccess::Open } else { DefaultAccess::None };
        let policies = vec![policy("p", action, vec![term(name, term_value)])];
        let mesh = world(policies, &[(StageKind::Target, &["p"])], default);
        let found = verdict(&mesh, &Facts { http: Fact::Known(http), ..facts(Peer::Unknown) });
        !found.starts_with("NoGrant") && !found.starts_with("Denied")
    };
    let exact = |text: &str| TextMatch::Exact(text.into());
    for (name, value, said, allowed, undenied) in [
        ("x-role", exact("admin"), "admin", true, false),
        ("x-role", exact("admin"), "admin, user", false, false),
        ("x-role", exact("admin"), "user,admin", false, false),
        ("x-role", exact("admin"), "user", false, true),
        ("x-role", exact("a, b"), "a, b", true, false),
        ("x-role", TextMatch::Prefix("adm".into()), "user, admin", false, false),
        ("x-role", TextMatch::Regex("adm.*".into()), "user, admin", false, false),
        ("x-role", exact("admin"), "user; admin", false, true),
        ("cookie", exact("role=admin"), "a=1; role=admin", false, false),
    ] {
        assert_eq!(of(Action::Allow, name, value.clone(), said), allowed, "Allow {value:?} {said}");
        assert_eq!(of(Action::Deny, name, value.clone(), said), undenied, "Deny {value:?} {said}");
    }
}

#[test]
fn the_nearest_rule_is_named() {
    let search = || Some(vec![tool("search", vec![])]);
    let rules = vec![
        Rule { to: search(), ..rule("far", principal("shop/other")) },
        Rule { to: search(), ..rule("near", principal("shop/planner")) },
        Rule { to: search(), ..rule("as-near", principal("shop/planner")) },
    ];
    let mesh = alone(Action::Allow, rules);
    assert_eq!(verdict(&mesh, &calls("rm", json!({}))), "NoGrant p/near to[0].mcp.tools[0].names");
    let none = alone(Action::Allow, vec![]);
    assert_eq!(verdict(&none, &calls("rm", json!({}))), "NoGrant p/ rules");
}

#[test]
fn a_broken_policy_denies_and_an_audited_one_only_reports() {
    let broken = |mode| Policy {
        mode,
        broken: Some("no such catalogue".into()),
        ..policy("p", Action::Allow, vec![])
    };
    let of = |policy| world(vec![policy], &[(StageKind::Target, &["p"])], DefaultAccess::Open);
    assert_eq!(verdict(&of(broken(Mode::Enforce)), &facts(Peer::Unknown)), "PolicyBroken p/");
    assert_eq!(verdict(&of(broken(Mode::Audit)), &facts(Peer::Unknown)), "default");
}

#[test]
fn audit_says_what_would_have_been() {
    let audited = |action| Policy {
        mode: Mode::Audit,
        ..policy("p", action, vec![rule("r", principal("shop/planner"))])
    };
    let shadow = |action, kind, who: &str| {
        let mesh = world(vec![audited(action)], &[(kind, &["p"])], DefaultAccess::Open);
        let judgement = judge(&mesh, &"set".into(), &facts(verified(who)));
        assert_eq!(judgement.verdict, Verdict::Granted(Grant::Default));
        let [shadow] = &*judgement.shadows else { panic!("one policy is audited") };
        (shadow.denial.as_ref().map(|it| it.reason), shadow.rule.as_deref().map(str::to_owned))
    };
    let r = || Some("r".to_owned());
    use StageKind::{PlatformLimit, Target};
    for (action, kind, who, denial, rule) in [
        (Action::Allow, Target, "shop/planner", None, r()),
        (Action::Allow, Target, "shop/intern", Some(Reason::NoGrant), None),
        (Action::Deny, Target, "shop/planner", Some(Reason::Denied), r()),
        (Action::Deny, Target, "shop/intern", None, None),
        (Action::Limit, PlatformLimit, "shop/planner", None, r()),
        (Action::Limit, PlatformLimit, "shop/intern", Some(Reason::BeyondLimit), r()),
    ] {
        assert_eq!(shadow(action, kind, who), (denial, rule), "{action:?} {who}");
    }
    // Beside one that decides and grants, an audited Allow takes nothing away.
    let grant = policy("grant", Action::Allow, vec![rule("r", anyone())]);
    let mesh = world(vec![audited(Action::Allow), grant], &[(Target, &["p", "grant"])], DefaultAccess::None);
    let judgement = judge(&mesh, &"set".into(), &facts(verified("shop/intern")));
    assert!(matches!(judgement.verdict, Verdict::Granted(Grant::Rule { .. })));
    assert!(judgement.shadows.iter().all(|shadow| shadow.denial.is_none()));
}

#[test]
fn a_node_before_a_waypoint_judges_only_what_it_can_and_must() {
    let http = Operation { http: Some(HttpTerm::default()), ..Operation::default() };
    let l7 = || Rule { to: Some(vec![http.clone()]), ..rule("l7", anyone()) };
    let when = || Rule { when: Some("error".into()), ..rule("when", anyone()) };
    let l4 = || rule("l4", principal("shop/intern"));
    let of = |policies: Vec<Policy>, names: &[&str]| {
        world(policies, &[(StageKind::Target, names)], DefaultAccess::None)
    };
    let through = |mesh: &Snapshot, who: &str| match judge_through(mesh, &"set".into(), &facts(verified(who)))
        .verdict
    {
        Verdict::Conditional(..) => panic!("nobody asks here"),
        Verdict::Granted(_) => "granted".to_owned(),
        Verdict::Refused(denial) => {
            format!("{} {}", denial.reason, denial.rule.as_deref().unwrap_or_default())
        }
    };
    let mesh = of(
        vec![policy("d", Action::Deny, vec![l7(), when(), l4()]), policy("a", Action::Allow, vec![l7()])],
        &["d", "a"],
    );
    assert_eq!(through(&mesh, "shop/planner"), "granted");
    assert_eq!(through(&mesh, "shop/intern"), "Denied l4");
    assert_eq!(through(&Snapshot::default(), "shop/planner"), "PolicyMissing ");
    assert_eq!(verdict(&mesh, &facts(verified("shop/planner"))), "Denied d/l7 to[0].http");
}

#[test]
fn demand_is_what_any_member_reads() {
    let mesh = alone(Action::Allow, vec![to(tool("search", vec![]))]);
    assert_eq!(demand(&mesh, &"set".into()), Demand { mcp: true, ..Demand::default() });
    assert_eq!(demand(&mesh, &"other".into()), Demand::default());
}
