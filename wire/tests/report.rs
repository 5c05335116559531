//! Reports on their way up, on connections in memory that can be cut.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh::{Denial, Reason, resource::Kind};
use parking_lot::Mutex;
use support::{line::Line, node};
use tokio::{sync::watch, task::JoinHandle};
use tonic::transport::Server;
use wire::{
    Authenticate, Caller, Unauthenticated,
    report::{
        Asked, DecisionKey, Inbox, RECORDS_MAX, Record, Refusals, Reporter, ReportsService,
        SPANS_WAITING_MAX, Subject, Upward, UpwardConfig, Verdict,
    },
};

struct Anyone;

#[tonic::async_trait]
impl Authenticate for Anyone {
    async fn authenticate(&self, bearer: &str) -> Result<Caller, Unauthenticated> {
        Ok(node(bearer))
    }
}

#[derive(Default)]
struct Desk {
    records: Mutex<Vec<Record>>,
    dropped: Mutex<u64>,
    changed: watch::Sender<()>,
}

impl Inbox for Desk {
    fn take(&self, caller: &Caller, records: Vec<Record>, dropped: u64) {
        assert_eq!(*caller, node("n1"));
        self.records.lock().extend(records);
        *self.dropped.lock() += dropped;
        self.changed.send_replace(());
    }
}

impl Desk {
    fn serve(self: &Arc<Self>, line: &Line) {
        let service = ReportsService::server(Arc::new(Anyone), Arc::clone(self) as _);
        line.serve(Server::builder().add_service(service));
    }

    async fn until(&self, count: usize) -> Vec<Record> {
        let mut changes = self.changed.subscribe();
        while self.records.lock().len() < count {
            changes.changed().await.unwrap();
        }
        self.records.lock().clone()
    }
}

fn upward(line: &Line, reporter: &Reporter, now: fn() -> SystemTime) -> JoinHandle<()> {
    let config = UpwardConfig {
        run: "run".to_owned(),
        backoff: runtime::backoff::Config { first: Duration::from_millis(10), most: Duration::from_secs(1) },
        chance: || 0,
        now,
    };
    let bearer = Arc::new(|| Ok("n1".to_owned()));
    tokio::spawn(Upward::new(config, reporter.clone(), line.channel(), bearer).run())
}

fn applied(number: usize) -> Record {
    Record::Applied {
        key: mesh::resource::Key::new(Kind::Policy, number),
        version: Some("v".into()),
        refused: number.is_multiple_of(2).then(|| "no".into()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_goes_up_as_it_was_made() {
    let (line, desk, reporter) = (Line::default(), Arc::new(Desk::default()), Reporter::new());
    desk.serve(&line);
    let _running = upward(&line, &reporter, || SystemTime::UNIX_EPOCH);
    let refusals = Refusals::new("node/n1", SystemTime::UNIX_EPOCH, 8, Some(reporter));
    let denial = Denial {
        policy: Some((support::object("grants"), Some("v".into()))),
        rule: Some("docs-team".into()),
        field: Some("to[0].mcp.tools[0].arguments[/repo]".into()),
        ..Denial::plain(Reason::NoGrant, "wanted docs")
    };
    let made = refusals.refuse(denial, Subject::default(), SystemTime::UNIX_EPOCH);
    assert_eq!(desk.until(1).await, [Record::Refusal(made)]);
}

#[tokio::test(start_paused = true)]
async fn over_cuts_and_restarts_nothing_is_lost_or_taken_twice() {
    let (line, desk, reporter) = (Line::default(), Arc::new(Desk::default()), Reporter::new());
    let _running = upward(&line, &reporter, || SystemTime::UNIX_EPOCH);
    let mut made = Vec::new();
    for round in 0..20 {
        for number in 0..100 {
            made.push(applied(100 * round + number));
            reporter.record(applied(100 * round + number));
        }
        // One desk remembers what it took of this run; the line comes and goes.
        if round == 0 {
            desk.serve(&line);
        } else {
            line.cut();
        }
        tokio::task::yield_now().await;
    }
    let taken = desk.until(made.len()).await;
    assert_eq!(taken, made);
    assert_eq!(reporter.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_counted() {
    let (line, desk, reporter) = (Line::default(), Arc::new(Desk::default()), Reporter::new());
    for number in 0..RECORDS_MAX + 3 {
        reporter.record(applied(number));
    }
    assert_eq!(reporter.dropped(), 3);
    desk.serve(&line);
    let _running = upward(&line, &reporter, || SystemTime::UNIX_EPOCH);
    assert_eq!(desk.until(RECORDS_MAX).await.len(), RECORDS_MAX);
    assert_eq!(*desk.dropped.lock(), 3);
}

#[tokio::test(start_paused = true)]
async fn spans_go_up_and_push_nothing_else_out() {
    let (line, desk, reporter) = (Line::default(), Arc::new(Desk::default()), Reporter::new());
    let spans = runtime::Spans::new("node/n1", || 7, || SystemTime::UNIX_EPOCH, None, None);
    let context = spans.begin(None);
    let mut span = spans.span(&context, None, runtime::spans::SpanKind::Server);
    span.named("tools/call search");
    span.set("gen_ai.tool.name", "\u{1b}[31m\"\n");
    let span = Arc::new(span);
    for _ in 0..SPANS_WAITING_MAX + 5 {
        reporter.span(Arc::clone(&span));
    }
    reporter.record(applied(1));
    assert_eq!(reporter.dropped(), 5);
    desk.serve(&line);
    let _running = upward(&line, &reporter, || SystemTime::UNIX_EPOCH);
    let taken = desk.until(SPANS_WAITING_MAX + 1).await;
    assert_eq!(taken[0], Record::Span(span));
    assert_eq!(taken.last(), Some(&applied(1)));
}

#[tokio::test(start_paused = true)]
async fn decisions_go_up_by_the_minute() {
    let (line, desk, reporter) = (Line::default(), Arc::new(Desk::default()), Reporter::new());
    desk.serve(&line);
    let key = DecisionKey {
        verdict: Verdict::WouldRefuse,
        reason: "NoGrant".into(),
        policy: "AccessPolicy/shop/grants".into(),
        rule: "docs-team".into(),
        source: "spiffe://east.example/ns/shop/sa/planner".into(),
        destination: "shop/tools".into(),
        asked: Asked {
            place: "service".into(),
            port: 80,
            address: "inside".into(),
            protocol: "mcp".into(),
            method: "tools/call".into(),
            host: "tools.shop.mesh".into(),
            path: "/mcp".into(),
            object: "read_file".into(),
            user: "people alice".into(),
        },
    };
    reporter.decided(key.clone(), SystemTime::UNIX_EPOCH);
    reporter.decided(key.clone(), SystemTime::UNIX_EPOCH + Duration::from_secs(59));
    let _running = upward(&line, &reporter, || SystemTime::UNIX_EPOCH + Duration::from_secs(60));
    let taken = desk.until(1).await;
    assert!(
        matches!(&taken[..], [Record::Decisions(it)] if it.key == key && it.count == 2 && it.minute == 0)
    );
}
