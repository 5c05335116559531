//! Tables of terms on agents, models and users, of external authorizers, and of the guards and quotas of a set.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use super::*;
use crate::{
    facts::{A2aFacts, Arguments, Fact, LlmFacts, McpObject, Model, Peer, Skill, User},
    fixtures::*,
    names::ObjectName,
    resource::*,
    snapshot::{Change, NoExpressions},
};

fn alone(action: Action, rule: Rule) -> Snapshot {
    let policy = Policy { authorizer: authorizer(action), ..policy("p", action, vec![rule]) };
    let default = if action == Action::Allow { DefaultAccess::None } else { DefaultAccess::Open };
    snapshot([policy.into(), set("set", &[(StageKind::Target, &["p"])], default).into()])
}

fn authorizer(action: Action) -> Option<Authorizer> {
    (action == Action::ExternalAuth).then(|| Authorizer {
        target: BackendTarget::Broken("a table".into()),
        protocol: AuthorizerProtocol::Grpc,
        timeout: Millis(1000),
        headers: Vec::new(),
        upstream_headers: Vec::new(),
        body_bytes: 0,
    })
}

/// `allow`: an Allow with the rule lets it pass; `deny`: a Deny with it refuses.
#[track_caller]
fn decides(rule: &Rule, facts: &Facts, allow: bool, deny: bool) {
    let verdict = |action| judge(&alone(action, rule.clone()), &"set".into(), facts).verdict;
    let granted = matches!(verdict(Action::Allow), Verdict::Granted(_));
    let refused = matches!(verdict(Action::Deny), Verdict::Refused(_));
    assert_eq!((granted, refused), (allow, deny), "{rule:?} {facts:?}");
}

fn to(operation: Operation) -> Rule {
    Rule { to: Some(vec![operation]), ..rule("r", anyone()) }
}

fn exact(names: &[&str]) -> Option<Vec<TextMatch>> {
    Some(names.iter().map(|name| TextMatch::Exact((*name).into())).collect())
}

fn a2a(method: &str, tenant: Option<&str>, skill: Skill) -> Facts {
    let tenant = tenant.map(Into::into);
    let a2a = Fact::Known(A2aFacts { method: method.into(), tenant, skill });
    Facts { a2a, ..facts(verified("shop/planner")) }
}

fn called(skill: &str) -> Skill {
    Skill::Called(skill.into())
}

#[test]
fn terms_of_a2a() {
    let term = |a2a| to(Operation { a2a: Some(a2a), ..Operation::default() });
    let send = term(A2aTerm { methods: Some(vec!["SendMessage".into()]), ..A2aTerm::default() });
    let red = term(A2aTerm { tenants: exact(&["red"]), ..A2aTerm::default() });
    let search = term(A2aTerm { skills: exact(&["search"]), ..A2aTerm::default() });
    let none = Skill::NotDeclared;
    for (rule, facts, allow, deny) in [
        (&send, a2a("SendMessage", None, none.clone()), true, true),
        (&send, a2a("CancelTask", None, none.clone()), false, false),
        // A grant brings the card; a Deny of a method does not take it.
        (&send, a2a(A2aFacts::CARD, None, none.clone()), true, false),
        (&red, a2a("SendMessage", Some("red"), none.clone()), true, true),
        (&red, a2a("SendMessage", Some("blue"), none.clone()), false, false),
        (&red, a2a("SendMessage", None, none.clone()), false, false),
        (&search, a2a("SendMessage", None, called("search")), true, true),
        (&search, a2a("SendMessage", None, called("write")), false, false),
        // The agent does not say where: then skills filter the card only.
        (&search, a2a("SendMessage", None, none), true, false),
        // It does, and the message does not.
        (&search, a2a("SendMessage", None, Skill::Missing), false, true),
        (&search, a2a(A2aFacts::CARD, None, Skill::Listed("search".into())), true, true),
        (&search, a2a(A2aFacts::CARD, None, Skill::Listed("write".into())), false, false),
        // Not read: unknown.
        (&search, facts(verified("shop/planner")), false, false),
    ] {
        let deny = deny || matches!(facts.a2a, Fact::Missing(_));
        decides(rule, &facts, allow, deny);
    }
}

#[test]
fn terms_of_models() {
    let llm = |model| Facts {
        llm: Fact::Known(LlmFacts { operation: "chat".into(), model }),
        ..facts(verified("shop/planner"))
    };
    let used =
        |provider: &str, model: &str| llm(Model::Used { provider: provider.into(), model: model.into() });
    let small = LlmTerm { models: Some(vec![TextMatch::Prefix("small-".into())]), ..LlmTerm::default() };
    let small = to(Operation { llm: Some(small), ..Operation::default() });
    let primary = LlmTerm { providers: exact(&["primary"]), ..LlmTerm::default() };
    let primary = to(Operation { llm: Some(primary), ..Operation::default() });
    for (rule, facts, allow, deny) in [
        (&small, used("primary", "small-1"), true, true),
        (&small, used("primary", "large-1"), false, false),
        (&primary, used("primary", "large-1"), true, true),
        (&primary, used("second", "large-1"), false, false),
        // Not chosen yet: judged again when it is.
        (&small, llm(Model::Asked), true, false),
        (&primary, llm(Model::Base), true, false),
        (&small, facts(verified("shop/planner")), false, true),
    ] {
        decides(rule, &facts, allow, deny);
    }
}

#[test]
fn what_a_tool_can_do_is_what_a_catalogue_says() {
    let tool = ToolTerm { names: Vec::new(), access: Some(ToolAccess::Write), arguments: Vec::new() };
    let mcp_term = McpTerm { tools: Some(vec![tool]), ..McpTerm::default() };
    let writes = to(Operation { mcp: Some(mcp_term), ..Operation::default() });
    for (access, allow, deny) in
        [(Some(ToolAccess::Write), true, true), (Some(ToolAccess::Read), false, false), (None, false, true)]
    {
        let arguments = Arguments::Given(Arc::new(json!({})));
        let object = McpObject::Tool { name: "put".into(), arguments, access };
        let facts = Facts { mcp: mcp("tools/call", object), ..facts(verified("shop/planner")) };
        decides(&writes, &facts, allow, deny);
    }
}

#[test]
fn users_are_those_whose_token_was_verified() {
    let user = |issuer: &str, claims: serde_json::Value| User {
        issuer: issuer.into(),
        subject: "ann".into(),
        audiences: vec!["shop".into()],
        scopes: ["read".into()].into(),
        claims: Arc::new(claims),
    };
    let term = |scope: &str, claim: &str| UserTerm {
        issuer: "acme".into(),
        audience: Some("shop".into()),
        claims: BTreeMap::from([(claim.into(), vec!["docs".into(), "3".into()])]),
        scopes: vec![scope.into()],
    };
    let of = |term| rule("r", Source { user: Some(term), ..Source::default() });
    let docs = || json!({"groups": ["web", "docs"], "level": 3, "org": {"team": "docs"}, "odd": {}});
    for (rule, user, allow, deny) in [
        (of(term("read", "groups")), Some(user("acme", docs())), true, true),
        (of(term("read", "level")), Some(user("acme", docs())), true, true),
        (of(term("read", "org.team")), Some(user("acme", docs())), true, true),
        (of(term("write", "groups")), Some(user("acme", docs())), false, false),
        (of(term("read", "groups")), Some(user("other", docs())), false, false),
        (of(term("read", "groups")), Some(user("acme", json!({"groups": ["web"]}))), false, false),
        // A claim that is not there or of another shape, and nobody at all, are unknown.
        (of(term("read", "nothing")), Some(user("acme", docs())), false, true),
        (of(term("read", "odd")), Some(user("acme", docs())), false, true),
        (of(term("read", "groups")), None, false, true),
    ] {
        let facts = Facts { user: user.map(Arc::new), ..facts(verified("shop/planner")) };
        decides(&rule, &facts, allow, deny);
    }
    // A workload is no user: both must hold.
    let both = Source { user: Some(term("read", "groups")), ..principal("shop/planner") };
    let facts = Facts { user: Some(Arc::new(user("acme", docs()))), ..facts(Peer::Unknown) };
    decides(&rule("r", both), &facts, false, true);
}

#[test]
fn external_authorizers_are_asked_after_everything_else() {
    let asks = alone(Action::ExternalAuth, rule("r", principal("shop/planner")));
    let verdict = |peer| judge(&asks, &"set".into(), &facts(peer)).verdict;
    assert!(matches!(verdict(verified("shop/planner")), Verdict::Conditional(_, who) if who.len() == 1));
    assert!(matches!(verdict(verified("shop/intern")), Verdict::Granted(_)));
    // Who is not known might be the one.
    assert!(matches!(verdict(Peer::Unknown), Verdict::Conditional(..)));
    // It grants nothing.
    let external = Policy {
        authorizer: authorizer(Action::ExternalAuth),
        ..policy("p", Action::ExternalAuth, vec![rule("r", anyone())])
    };
    let closed =
        snapshot([external.into(), set("set", &[(StageKind::Target, &["p"])], DefaultAccess::None).into()]);
    let judged = judge(&closed, &"set".into(), &facts(verified("shop/planner")));
    assert!(matches!(judged.verdict, Verdict::Refused(_)));
    // At a port that admits only waypoints these ask.
    let through = judge_through(&asks, &"set".into(), &facts(verified("shop/planner"))).verdict;
    assert!(matches!(through, Verdict::Granted(_)));
}

#[test]
fn a_set_rules_when_its_guards_and_quotas_are_held() {
    let name = |kind: &str| ObjectName::new(kind, "shop", "g");
    let told = PolicySet {
        guards: vec![name("GuardPolicy")],
        quotas: vec![name("QuotaPolicy")],
        ..set("set", &[], DefaultAccess::Open)
    };
    let guard = |broken: Option<&str>| Guard {
        name: name("GuardPolicy"),
        mode: Mode::Enforce,
        broken: broken.map(Into::into),
        patterns: Vec::new(),
        sizes: GuardSizes::default(),
        origins: None,
        external: None,
    };
    let quota = Quota { name: name("QuotaPolicy"), mode: Mode::Enforce, broken: None, limits: Vec::new() };
    let apply = |from: &Snapshot, resources: Vec<Resource>| {
        let changes: Vec<Change> = resources.into_iter().map(put).collect();
        from.apply(changes, &NoExpressions)
    };
    let empty = Snapshot::default();
    let waiting = apply(&empty, vec![told.clone().into(), guard(None).into()]).snapshot;
    assert!(waiting.set(&"set".into()).is_none());
    let whole = apply(&waiting, vec![quota.into()]).snapshot;
    assert_eq!(whole.set(&"set".into()).map(|set| (set.guards.len(), set.quotas.len())), Some((1, 1)));
    // A guard that changes touches the sets that name it.
    let changed = apply(&whole, vec![guard(Some("broken")).into()]);
    assert!(changed.touched.sets.contains(&SetName::from("set")));
    let broken = changed.snapshot.set(&"set".into()).map(|set| set.guards[0].broken.is_some());
    assert_eq!(broken, Some(true));
}
