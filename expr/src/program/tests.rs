//! Tests of conditions as their writers see them.

use std::collections::BTreeMap;

use mesh::facts::{
    A2aFacts, Arguments, Caller, HttpFacts, LlmFacts, McpFacts, McpObject, Model, Peer, Skill, User,
};
use serde_json::json;

use super::*;
use crate::values::{DEPTH_MAX, TEXT_BYTES_MAX, VALUES_MAX};

fn facts() -> Facts {
    let headers = BTreeMap::from([("x-tester".into(), "yes".into()), ("x-team".into(), "docs, web".into())]);
    Facts {
        caller: Caller {
            workload: Peer::Verified("spiffe://east/ns/shop/sa/planner".parse().unwrap()),
            by: None,
        },
        source_address: Some([10, 20, 0, 5].into()),
        port: 80,
        http: Fact::Known(HttpFacts {
            method: "POST".into(),
            path: "/mcp".into(),
            host: "tools.shop".into(),
            headers,
        }),
        mcp: call(
            json!({"path": "/docs/a.md", "count": 3, "ratio": 0.5, "tags": ["a", "b"], "deep": {"x": null}}),
        ),
        a2a: Fact::NotApplicable,
        llm: Fact::NotApplicable,
        user: None,
    }
}

fn call(arguments: serde_json::Value) -> Fact<McpFacts> {
    let arguments = Arguments::Given(Arc::new(arguments));
    Fact::Known(McpFacts {
        method: "tools/call".into(),
        object: McpObject::Tool { name: "read_file".into(), arguments, access: None },
    })
}

#[track_caller]
fn check(text: &str, expected: Result<bool, &str>) {
    check_on(&facts(), text, expected);
}

#[track_caller]
fn check_on(facts: &Facts, text: &str, expected: Result<bool, &str>) {
    let found = compile(text).unwrap().evaluate(facts);
    match (&found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(*found, expected, "{text}"),
        (Err(found), Err(expected)) => assert!(found.0.contains(expected), "{text}: {found}"),
        _ => panic!("{text}: {found:?}, expected {expected:?}"),
    }
}

#[test]
fn facts_can_be_read() {
    for text in [
        r#"request.method == "POST" && request.path.startsWith("/mcp") && request.host == "tools.shop""#,
        r#"request.headers["x-tester"] == "yes""#,
        r#""x-team" in request.headers && request.headers["x-team"].contains("web")"#,
        r#"source.identity == "spiffe://east/ns/shop/sa/planner" && source.trust_domain == "east""#,
        r#"source.namespace + "/" + source.service_account == "shop/planner""#,
        r#"source.ip == "10.20.0.5" && destination.port == 80 && destination.port in [80, 443]"#,
        r#"mcp.method == "tools/call" && mcp.tool == "read_file""#,
        r#"mcp.arguments.path.endsWith(".md") && mcp.arguments["count"] < 5 && mcp.arguments.ratio == 0.5"#,
        r#"mcp.arguments.tags.all(tag, tag in ["a", "b", "c"]) && mcp.arguments.tags.exists(tag, tag == "a")"#,
        r#"size(mcp.arguments.tags.filter(tag, tag != "a")) == 1"#,
        r#"mcp.arguments.path.matches("^/docs/[a-z]+\\.md$")"#,
        r#"has(mcp.arguments.path) && !has(mcp.arguments.other) && !has(mcp.prompt) && has(mcp.tool)"#,
        r#"mcp.arguments.deep.x == null && type(mcp.arguments.count) == int"#,
        r#"mcp.arguments.exists(name, name == "count")"#,
        "true",
    ] {
        check(text, Ok(true));
    }
    check(r#"mcp.tool == "write_file""#, Ok(false));
}

#[test]
fn what_is_missing_has_no_value() {
    check(r#"request.headers["x-absent"] == "a""#, Err("there is no x-absent here"));
    check(r#"mcp.prompt == "a""#, Err("there is no prompt here"));
    check(r#"mcp.arguments.other == 1"#, Err("there is no other here"));
    check(r#"mcp.arguments.path < 5"#, Err(""));
    check("mcp.arguments.count + 1", Err("is a int, not true or false"));
    check(r#""text""#, Err("is a string, not true or false"));
    check("1 / 0 == 1", Err("divides by zero"));
    // As CEL has it: what is true or false without the missing part has a value.
    check(r#"mcp.tool == "read_file" || mcp.prompt == "a""#, Ok(true));
    check(r#"mcp.prompt == "a" && mcp.tool == "write_file""#, Ok(false));
}

#[test]
fn only_a_proven_caller_has_fields() {
    for workload in [Peer::Unknown, Peer::Unverified("spiffe://east/ns/shop/sa/planner".parse().unwrap())] {
        let facts = Facts { caller: Caller { workload, by: None }, ..facts() };
        for text in
            [r#"source.namespace == "shop""#, r#"source.identity != "x""#, r#"!(source.trust_domain == "b")"#]
        {
            check_on(&facts, text, Err("here"));
        }
    }
    let other = Peer::Verified("spiffe://east/robot/7".parse().unwrap());
    let facts = Facts { caller: Caller { workload: other, by: None }, ..facts() };
    check_on(&facts, r#"source.namespace == "shop""#, Err("there is no namespace here"));
}

#[test]
fn facts_that_could_not_be_had_are_an_error_where_they_are_read() {
    let facts = Facts { mcp: Fact::Missing("the body is too large"), ..facts() };
    check_on(&facts, r#"mcp.tool == "a""#, Err("the body is too large"));
    check_on(&facts, r#"true || mcp.tool == "a""#, Err("the body is too large"));
    check_on(&facts, r#"request.method == "POST""#, Ok(true));
}

#[test]
fn a_condition_on_another_protocol_does_not_match() {
    let facts = Facts { mcp: Fact::NotApplicable, ..facts() };
    check_on(&facts, r#"mcp.tool == "a""#, Ok(false));
    check_on(&facts, r#"mcp.tool != "a""#, Ok(false));
    check_on(&facts, r#"!(mcp.tool == "a") || mcp.arguments.x > 1"#, Ok(false));
    check_on(&facts, r#"request.path == "/mcp" && mcp.tool == "a""#, Ok(false));
    check_on(&facts, r#"request.path == "/mcp" || mcp.tool == "a""#, Ok(true));
    // Whether the missing header or the other protocol decides cannot be told: no value.
    check_on(&facts, r#"mcp.tool == "a" || request.headers["x-absent"] == "a""#, Err("here"));
    let plain = Facts { http: Fact::NotApplicable, ..facts };
    check_on(&plain, r#"mcp.tool == "a" || request.method == "GET""#, Ok(false));
    check_on(&plain, r#"source.namespace == "shop""#, Ok(true));
}

#[test]
fn what_is_read_is_told() {
    let cases = [
        (r#"source.namespace == "a" && destination.port == 80"#, (false, false, false)),
        (r#"request.path == "/""#, (true, false, false)),
        (r#"mcp.tool == "a""#, (false, true, false)),
        (r#"mcp.arguments.a == "a""#, (false, true, true)),
        (r#"mcp.arguments["a"] == request.host"#, (true, true, true)),
        (r#"size(mcp.arguments) == 1"#, (false, true, true)),
        (r#"has(mcp.arguments)"#, (false, true, true)),
        (r#"[1].exists(x, mcp.arguments.a == x)"#, (false, true, true)),
        (r#"{"a": request.host}["a"] == """#, (true, false, false)),
    ];
    for (text, expected) in cases {
        let program = compile(text).unwrap();
        let demand = program.demand();
        assert_eq!((demand.http, demand.mcp, program.reads_arguments()), expected, "{text}");
    }
}

#[track_caller]
fn refuse(text: &str, line: usize, column: usize, cause: &str) {
    let error = compile(text).unwrap_err();
    assert!(error.cause.contains(cause), "{text}: {error}");
    assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
}

#[test]
fn what_does_not_exist_is_refused_with_its_place() {
    refuse("nothing == 1", 1, 1, "there is no variable nothing; there are request, source, destination, mcp");
    refuse("true &&\n  requests.path == \"\"", 2, 3, "there is no variable requests");
    refuse("request.paths == \"\"", 1, 9, "request has no field paths; it has method, path, host, headers");
    refuse("true || request == 1", 1, 9, "request is used whole");
    refuse("mcp[\"tool\"] == \"a\"", 1, 1, "mcp is used whole");
    refuse("[1].all(x, y == 1)", 1, 12, "there is no variable y");
    refuse("[1].all(x, true) && x == 1", 1, 9, "there is no variable x");
    refuse("explode(1)", 1, 1, "there is no function explode");
    refuse("timestamp(\"2026-01-01T00:00:00Z\") == 1", 1, 1, "there is no function timestamp");
    refuse("Message{a: 1} == 1", 1, 1, "messages cannot be made");
    for (text, line) in
        [("", 1), ("1 +", 1), ("(true", 1), ("true &&\n&& true", 2), ("\"open", 1), ("a b", 1), ("\u{0}", 1)]
    {
        assert_eq!(compile(text).unwrap_err().line, line, "{text:?}");
    }
}

#[test]
fn bounds_hold_on_both_sides() {
    let of_length = |bytes: usize| format!("true{}", " ".repeat(bytes - 4));
    assert!(compile(&of_length(EXPRESSION_BYTES_MAX)).is_ok());
    refuse(&of_length(EXPRESSION_BYTES_MAX + 1), 1, 1, "at most 4096 bytes");

    let additions = |count: usize| format!("\"\"{} == \"\"", " + \"\"".repeat(count));
    assert!(compile(&additions(16)).is_ok());
    assert!(compile(&additions(17)).unwrap_err().cause.contains("at most 16 additions"));

    let matches = |count: usize| vec!["source.ip.matches(\"a\")"; count].join(" && ");
    assert!(compile(&matches(4)).is_ok());
    assert!(compile(&matches(5)).unwrap_err().cause.contains("at most 4 uses"));

    let pattern = |pattern: &str| compile(&format!("source.ip.matches(\"{pattern}\")"));
    assert!(pattern(&"a".repeat(256)).is_ok());
    for bad in [&"a".repeat(257), "(", "(a{1000}){1000}", "\\\\w{2000}"] {
        assert!(pattern(bad).is_err(), "{bad:.20}");
    }
    assert!(compile("source.ip.matches(request.path)").unwrap_err().cause.contains("must be a text"));

    for loops in
        ["[1].all(x, [1].all(y, x == y))", "[1].all(x, x + 1 == 2)", "[\"a\"].all(x, x.matches(\"a\"))"]
    {
        assert!(compile(loops).is_err(), "{loops}");
    }
}

#[test]
fn hostile_texts_are_refused_cheaply() {
    let began = std::time::Instant::now();
    for unit in
        ["(", "[", "{", "!", "-", "a.", "a?", "?:", "1,", "((a", "[[", "a[", "\"", "\\", "{1:", "a(", "true?"]
    {
        let text = unit.repeat(EXPRESSION_BYTES_MAX / unit.len());
        assert!(compile(&text).is_err(), "{unit}");
    }
    let long = format!("true{}", " && true".repeat(500));
    let _ = compile(&long).map(|program| program.evaluate(&facts()));
    let deep = format!("{}true{}", "(".repeat(1000), ")".repeat(1000));
    let _ = compile(&deep);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

#[test]
fn only_so_much_is_shown() {
    let on = |arguments: serde_json::Value| Facts { mcp: call(arguments), ..facts() };
    let names_and_facts = 1024;
    check_on(
        &on(json!({"a": "x".repeat(TEXT_BYTES_MAX - names_and_facts)})),
        "size(mcp.arguments.a) > 1",
        Ok(true),
    );
    check_on(&on(json!({"a": "x".repeat(TEXT_BYTES_MAX)})), "size(mcp.arguments.a) > 1", Err("too large"));
    // What is not read does not count, whatever its size.
    let large = json!({"a": "x".repeat(10 * TEXT_BYTES_MAX), "b": vec![1; 10 * VALUES_MAX], "c": 1});
    check_on(&on(large.clone()), "mcp.arguments.c == 1 && mcp.tool == \"read_file\"", Ok(true));
    check_on(&on(large), "size(mcp.arguments) == 3", Err("too large"));
    check_on(&on(json!({"a": vec![1; VALUES_MAX - 1]})), "mcp.arguments.a.all(x, x == 1)", Ok(true));
    check_on(&on(json!({"a": vec![1; VALUES_MAX]})), "mcp.arguments.a.all(x, x == 1)", Err("too large"));
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    check_on(&on(json!({"a": nested(DEPTH_MAX - 1)})), "size(mcp.arguments.a) == 1", Ok(true));
    check_on(&on(json!({"a": nested(DEPTH_MAX)})), "size(mcp.arguments.a) == 1", Err("too large"));
}

#[test]
fn an_error_tells_no_value() {
    let facts = Facts { mcp: call(json!({"a": "a secret", "b": [1]})), ..facts() };
    for text in [
        "mcp.arguments.a < 1",
        "mcp.arguments.a[0] == 1",
        "mcp.arguments.b[7] == 1",
        "int(mcp.arguments.a) == 1",
    ] {
        let error = compile(text).unwrap().evaluate(&facts).unwrap_err();
        assert!(!error.0.contains("secret"), "{text}: {error}");
    }
}

#[test]
fn it_is_the_compiler_of_snapshots() {
    assert!(Cel.compile("destination.port == 80").unwrap().evaluate(&facts()).unwrap());
    assert_eq!(Cel.compile("nothing").unwrap_err().split(':').next(), Some("line 1, column 1"));
}

#[test]
fn agents_models_and_users_can_be_read() {
    let a2a = A2aFacts {
        method: "SendMessage".into(),
        tenant: Some("red".into()),
        skill: Skill::Called("search".into()),
    };
    let llm = |model| Fact::Known(LlmFacts { operation: "chat".into(), model });
    let used = || Model::Used { provider: "primary".into(), model: "small".into() };
    let claims = Arc::new(json!({"groups": ["docs", "web"], "level": 3}));
    let user = User {
        issuer: "acme".into(),
        subject: "ann".into(),
        audiences: vec!["shop".into()],
        scopes: ["read".into()].into(),
        claims,
    };
    let of_agent = Facts { a2a: Fact::Known(a2a), mcp: Fact::NotApplicable, ..facts() };
    let of_model = Facts { llm: llm(used()), mcp: Fact::NotApplicable, ..facts() };
    let of_user = Facts { user: Some(Arc::new(user)), ..facts() };
    for (facts, text, expected) in [
        (
            &of_agent,
            "a2a.method == 'SendMessage' && a2a.skill == 'search' && a2a.tenant == 'red'",
            Some(true),
        ),
        (&of_agent, "llm.model == 'small'", Some(false)),
        (&of_model, "llm.model == 'small' && llm.provider == 'primary'", Some(true)),
        (&of_model, "a2a.method == 'SendMessage'", Some(false)),
        (
            &of_user,
            "user.subject == 'ann' && 'docs' in user.claims.groups && user.claims.level > 2",
            Some(true),
        ),
        (&of_user, "'write' in user.scopes", Some(false)),
        // Nobody is no user of some other kind: without one a condition has no value.
        (&of_agent, "user.subject == 'ann'", None),
    ] {
        let value = compile(text).unwrap().evaluate(facts).ok();
        assert_eq!(value, expected, "{text}");
    }
    assert!(compile("user.password == ''").is_err());
}
