//! Spans are bounded, told once, and read as they were written.

use super::*;

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn now() -> SystemTime {
    at(1000)
}

fn chance() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn told() -> (Spans, Arc<Mutex<Vec<Arc<Span>>>>) {
    let told: Arc<Mutex<Vec<Arc<Span>>>> = Arc::default();
    let into = Arc::clone(&told);
    let up: Upward = Arc::new(move |span| into.lock().push(Arc::clone(span)));
    (Spans::new("node/n1", chance, now, Some(up), None), told)
}

#[test]
fn a_callers_trace_is_continued_with_a_span_of_our_own() {
    let (spans, _) = told();
    let first = spans.begin(None);
    assert!(!first.sampled, "nothing is exported");
    let caller = TraceContext { sampled: true, state: Some("a=1".into()), ..first };
    let own = spans.begin(Some(&caller));
    assert_eq!((own.trace, own.sampled, own.state.as_deref()), (caller.trace, true, Some("a=1")));
    assert_ne!(own.span, caller.span);
    assert_ne!(spans.begin(None).trace, caller.trace);
}

#[test]
fn the_latest_are_kept_and_found_by_trace() {
    let (spans, _) = told();
    let contexts: Vec<_> = (0..KEPT_MAX + 1).map(|_| spans.begin(None)).collect();
    for context in &contexts {
        spans.finish(spans.span(context, None, SpanKind::Server), Duration::from_millis(1));
    }
    assert_eq!(spans.of(contexts[0].trace), []);
    assert_eq!(spans.of(contexts[1].trace).len(), 1);
    let latest = spans.latest(KEPT_MAX + 10);
    assert_eq!(latest.len(), KEPT_MAX);
    assert_eq!(Some(latest[0].id), contexts.last().map(|context| context.span));
}

#[test]
fn more_than_a_share_in_one_second_is_kept_here_only() {
    let (spans, told) = told();
    for _ in 0..TOLD_PER_SECOND_MAX + 7 {
        let context = spans.begin(None);
        spans.finish(spans.span(&context, None, SpanKind::Client), Duration::ZERO);
    }
    assert_eq!(told.lock().len(), TOLD_PER_SECOND_MAX as usize);
    assert_eq!(spans.shared.untold.get(), 7);
}

#[test]
fn what_stays_open_is_told_once_and_again_at_its_end() {
    let (spans, told) = told();
    let context = spans.begin(None);
    let span = Span { start: 999_000_000, ..spans.span(&context, None, SpanKind::Client) };
    let young = spans.begin(None);
    let _young = spans.open(spans.span(&young, None, SpanKind::Client));
    let open = spans.open(span.clone());
    assert_eq!(spans.tell_open(Duration::from_secs(2)), []);
    assert_eq!(spans.tell_open(Duration::from_secs(1)).len(), 1);
    assert_eq!(spans.tell_open(Duration::from_secs(1)), []);
    assert_eq!(spans.of(context.trace)[0].duration, None);
    drop(open);
    spans.finish(span, Duration::from_secs(1));
    let told: Vec<_> = told.lock().iter().map(|span| span.duration).collect();
    assert_eq!(told, [None, Some(1_000_000)]);
    assert_eq!(spans.of(context.trace).len(), 1);
}

#[test]
fn a_span_is_cut_to_its_bounds_and_read_as_it_was_written() {
    let (spans, _) = told();
    let context = spans.begin(None);
    let mut span = spans.span(&context, Some(context.span), SpanKind::Server);
    span.named(&"n".repeat(NAME_BYTES_MAX + 1));
    for number in 0..ATTRIBUTES_MAX + 5 {
        span.set(format!("key{number}"), "v".repeat(VALUE_BYTES_MAX + 1));
    }
    span.set("key0", 7_u16);
    for _ in 0..LINKS_MAX + 5 {
        span.link((&spans.begin(None)).into());
    }
    span.failed(&"é".repeat(VALUE_BYTES_MAX));
    assert!(span.is_bounded());
    assert_eq!((span.attributes.iter().count(), span.links.len()), (ATTRIBUTES_MAX, LINKS_MAX));
    let text = serde_json::to_string(&span).unwrap();
    assert_eq!(serde_json::from_str::<Span>(&text).unwrap(), span);
    span.name.push('n');
    assert!(!span.is_bounded());
}

#[test]
fn what_a_caller_sends_cannot_break_out_of_a_span() {
    let (spans, _) = told();
    let mut span = spans.span(&spans.begin(None), None, SpanKind::Server);
    span.set("url.path", "/\u{1b}[31m\",\"sampled\":true,\"x\":\"\n");
    let text = serde_json::to_string(&span).unwrap();
    assert!(!text.contains('\n') && !text.contains('\u{1b}'), "{text}");
    assert!(!serde_json::from_str::<Span>(&text).unwrap().sampled);
}
