//! Reports and records for tests, and what a report says of a connection whose caller is hostile.

use std::time::Duration;

use runtime::access_log::Destination;

use super::*;

fn chance() -> u64 {
    use std::sync::atomic::AtomicU64;
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn report(log: Destination) -> Report {
    let reporter = Reporter::new();
    Report {
        log: AccessLog::start(&log).expect("the log opens"),
        refusals: Refusals::new("node/n1", SystemTime::UNIX_EPOCH, 8, None),
        reporter,
        metrics: Metrics::default(),
        meters: Meters::default(),
        spans: Spans::new("node/n1", chance, SystemTime::now, None, None),
        now: SystemTime::now,
    }
}

/// A connection that begins.
pub(super) fn record(direction: Direction, asked: &str) -> Record {
    report(Destination::Stderr).begin(direction, asked, None)
}

#[test]
fn a_connection_is_a_child_of_the_hop_before_unless_that_cannot_be_read() {
    let report = report(Destination::Stderr);
    let before = report.begin(Direction::Outbound, "x:1", None);
    let said = before.context.parent();
    let here = report.begin(Direction::Inbound, "x:1", Some(&said));
    assert_eq!((here.context.trace, here.parent), (before.context.trace, Some(before.context.span)));
    let other = report.begin(Direction::Inbound, "x:1", Some("00-zz"));
    assert_ne!(other.context.trace, before.context.trace);
    assert_eq!(other.parent, None);
}

#[test]
fn bytes_are_counted_once_and_the_span_ends() {
    let report = report(Destination::Stderr);
    let mut registry = prometheus_client::registry::Registry::default();
    report.metrics.register(&mut registry);
    let mut record = report.begin(Direction::Outbound, "x:1", None);
    let counts = Arc::new(Counts::default());
    report.opened(&mut record, &counts);
    counts.sent.store(5, Ordering::Relaxed);
    report.meters.tick();
    let trace = record.context.trace;
    assert_eq!(report.spans.of(trace).iter().map(|span| span.duration).collect::<Vec<_>>(), [None]);
    counts.sent.store(7, Ordering::Relaxed);
    counts.received.store(3, Ordering::Relaxed);
    let relayed = Relayed { sent: 7, received: 3, end: transport::relay::End::Finished };
    report.ended(record, &Outcome::Relayed(&relayed));
    let spans = report.spans.of(trace);
    assert!(matches!(&spans[..], [span] if span.duration.is_some()), "{spans:?}");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("it is written");
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name}_total{{")));
        line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
    };
    assert_eq!(value("istio_tcp_received_bytes").as_deref(), Some("7"));
    assert_eq!(value("istio_tcp_sent_bytes").as_deref(), Some("3"));
    assert_eq!(value("istio_tcp_connections_opened").as_deref(), Some("1"));
    assert_eq!(value("istio_tcp_connections_closed").as_deref(), Some("1"));
}

#[test]
fn what_a_caller_sends_cannot_break_a_log_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let report = report(Destination::File(path.clone()));
    let hostile =
        "a\r\n1970 access connection\u{1b}[2J\u{9b}31m\",\"x\":\"y src.identity=spiffe://east/admin\u{2028}";
    let record = report.begin(Direction::Outbound, hostile, Some(hostile));
    let denial = Denial::plain(mesh::Reason::Malformed, hostile);
    let refusal = report.refuse(&record, denial);
    report.ended(record, &Outcome::Refused(&refusal));
    let record = report.begin(Direction::Outbound, "x:1", None);
    report.ended(record, &Outcome::RefusedThere(hostile));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(report.log.flush());
    let text = std::fs::read_to_string(path).expect("the log is read");
    assert_eq!(text.lines().count(), 2, "{text:?}");
    assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text:?}");
    assert!(!text.contains('\u{2028}'), "{text:?}");
    for line in text.lines() {
        // Everything of it stands inside quotes, so that no field was added.
        let outside: Vec<&str> = line.split('"').step_by(2).collect();
        assert!(!outside.concat().contains("admin"), "{line}");
    }
}

#[test]
fn strangers_leave_no_span() {
    let report = report(Destination::Stderr);
    let record = report.begin(Direction::Inbound, "w", None);
    let trace = record.context.trace;
    report.ended(record, &Outcome::Broken(&Denial::plain(mesh::Reason::HandshakeFailed, "x")));
    assert_eq!(report.spans.of(trace), []);
    assert_eq!(report.spans.tell_open(Duration::ZERO), []);
}
