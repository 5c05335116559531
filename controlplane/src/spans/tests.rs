//! A trace is found with what carried it, and nobody changes what another proxy told.

use runtime::spans::{Attributes, SpanKind};

use super::*;

fn span(trace: u64, id: u64, start: u64) -> Span {
    Span {
        trace: TraceId::of_chance(0, trace),
        id: SpanId::of_chance(id),
        parent: None,
        links: Vec::new(),
        name: format!("span {id}"),
        kind: SpanKind::Server,
        proxy: "node/n1".into(),
        start,
        duration: Some(1500),
        attributes: Attributes::default(),
        error: None,
        sampled: false,
    }
}

fn linked(mut span: Span, trace: u64, id: u64) -> Span {
    span.link(Link { trace: TraceId::of_chance(0, trace), span: SpanId::of_chance(id) });
    span
}

fn taken(spans: impl IntoIterator<Item = Span>) -> Spans {
    let (mut kept, proxy) = (Spans::default(), Arc::from("node n1"));
    spans.into_iter().for_each(|span| kept.take(&proxy, Arc::new(span)));
    kept
}

fn ids(rows: &[Row]) -> Vec<(SpanId, bool)> {
    rows.iter().map(|row| (row.span.id, row.linked)).collect()
}

#[test]
fn a_trace_comes_with_the_connections_that_carried_it() {
    // Trace 1 is the request; 2 the connection in (two hops), 3 the connection out (two hops), 4 somebody else's.
    let request = linked(linked(span(1, 10, 30), 2, 21), 3, 31);
    let kept =
        taken([span(2, 20, 10), span(2, 21, 20), request, span(3, 31, 40), span(3, 32, 50), span(4, 41, 45)]);
    let id = SpanId::of_chance;
    let expected = [(id(20), true), (id(21), true), (id(10), false), (id(31), true), (id(32), true)];
    assert_eq!(ids(&kept.of(TraceId::of_chance(0, 1))), expected);
    // The other way round: what a connection carried, and not what else carried that.
    let expected = [(id(20), false), (id(21), false), (id(10), true)];
    assert_eq!(ids(&kept.of(TraceId::of_chance(0, 2))), expected);
    assert!(kept.of(TraceId::of_chance(0, 9)).is_empty());
}

#[test]
fn the_end_of_an_open_span_replaces_it_and_nothing_else_does() {
    let open = Span { duration: None, ..span(1, 10, 0) };
    let mut kept = taken([open]);
    kept.take(&Arc::from("node other"), Arc::new(Span { name: "forged".to_owned(), ..span(1, 10, 0) }));
    assert_eq!(kept.of(TraceId::of_chance(0, 1))[0].duration_ms, None);
    kept.take(&Arc::from("node n1"), Arc::new(linked(span(1, 10, 0), 2, 20)));
    kept.take(&Arc::from("node n1"), Arc::new(Span { name: "again".to_owned(), ..span(1, 10, 0) }));
    let rows = kept.of(TraceId::of_chance(0, 1));
    assert_eq!((rows.len(), &*rows[0].span.name, rows[0].duration_ms), (1, "span 10", Some(1.5)));
    assert_eq!(kept.standing(), (1, 2));
}

#[test]
fn the_latest_are_kept_and_the_oldest_are_counted() {
    let count = SPANS_MAX as u64 + 5;
    let kept = taken((1..=count).map(|id| linked(span(id, id, id), 1_000_000, id)));
    assert_eq!(kept.standing(), (SPANS_MAX, 5));
    assert_eq!((kept.traces.len(), kept.linking.len()), (SPANS_MAX, SPANS_MAX));
    assert!(kept.of(TraceId::of_chance(0, 5)).is_empty());
    assert_eq!(kept.of(TraceId::of_chance(0, 6)).len(), 1);
    let latest = kept.latest(&Wanted::default(), usize::MAX);
    assert_eq!((latest.len(), latest[0].span.start), (ROWS_MAX, count));
}

#[test]
fn one_trace_of_everything_is_shown_in_part() {
    let kept = taken((1..=3000).map(|id| span(1, id, id)));
    assert_eq!(kept.of(TraceId::of_chance(0, 1)).len(), ROWS_MAX);
}

#[test]
fn they_are_found_by_caller_destination_and_tool() {
    let mut one = span(1, 10, 0);
    one.set("strait.source", "spiffe://east.example/ns/shop/sa/planner");
    one.set("strait.destination", "tools.shop.svc.cluster.local:80");
    one.set("gen_ai.tool.name", "search");
    let kept = taken([one, span(2, 20, 0)]);
    let count = |from: Option<&str>, to: Option<&str>, tool: Option<&str>| {
        let some = |text: Option<&str>| text.map(str::to_owned);
        kept.latest(&Wanted { from: some(from), to: some(to), tool: some(tool) }, 10).len()
    };
    assert_eq!(count(None, None, None), 2);
    assert_eq!(count(Some("shop/planner"), Some("shop/tools"), Some("search")), 1);
    assert_eq!(count(Some("shop/writer"), None, None), 0);
    assert_eq!(count(None, None, Some("sear")), 0);
}
