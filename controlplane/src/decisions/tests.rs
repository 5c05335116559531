//! Decisions are kept for a day, within their bounds, and found by who, what and which policy.

use wire::report::Verdict;

use super::*;

fn told(minute: u64, source: &str, count: u64) -> DecisionCount {
    let key = DecisionKey {
        verdict: Verdict::WouldRefuse,
        reason: "NoGrant".into(),
        policy: "AccessPolicy/shop/tools".into(),
        rule: "".into(),
        source: source.into(),
        destination: "tools.shop.svc.cluster.local:80".into(),
        asked: Asked::default(),
    };
    DecisionCount { minute, key, count }
}

fn since(decisions: &Decisions, since: u64) -> u64 {
    let wanted = Wanted { since, ..Wanted::default() };
    decisions.rows(&wanted).iter().map(|row| row.count).sum()
}

const DAY: u64 = 10 * KEPT_FOR;

#[test]
fn a_day_is_kept_and_no_more() {
    let (mut decisions, proxy) = (Decisions::default(), Arc::from("node n1"));
    for minute in 0..3 * 24 * 60 {
        let now = DAY + minute * MINUTE;
        decisions.take(&proxy, told(now, "a", 1), now);
    }
    let now = DAY + 3 * KEPT_FOR - MINUTE;
    let (records, _, dropped) = decisions.standing();
    assert!(records <= 62 + 26, "{records}");
    assert_eq!(dropped, 0);
    let kept = since(&decisions, 0);
    assert!((24 * 60..=25 * 60 + 1).contains(&kept), "{kept}");
    assert_eq!(since(&decisions, now), 1, "the last hour is known by the minute");
}

#[test]
fn old_and_early_minutes_are_not_taken() {
    let (mut decisions, proxy) = (Decisions::default(), Arc::from("node n1"));
    for (minute, taken) in [
        (DAY - KEPT_FOR, 1),
        (DAY - KEPT_FOR - MINUTE, 0),
        (DAY + AHEAD_MAX, 1),
        (DAY + AHEAD_MAX + MINUTE, 0),
    ] {
        let before = since(&decisions, 0);
        decisions.take(&proxy, told(minute, "a", 1), DAY);
        assert_eq!(since(&decisions, 0) - before, taken, "{minute}");
    }
    assert_eq!(decisions.standing().2, 2);
}

#[test]
fn one_proxy_takes_no_more_than_its_share() {
    let (mut decisions, loud, quiet) =
        (Decisions::default(), Arc::from("node loud"), Arc::from("node quiet"));
    decisions.take(&quiet, told(DAY - MINUTE, "quiet", 1), DAY);
    let count = 2 * PROXY_BYTES_MAX / RECORD_BYTES;
    for number in 0..count {
        decisions.take(&loud, told(DAY, &number.to_string(), 1), DAY);
    }
    let (records, bytes, dropped) = decisions.standing();
    assert!(bytes <= PROXY_BYTES_MAX + 1000 && records < count, "{bytes} {records}");
    assert_eq!(dropped, (count + 1 - records) as u64);
    let quiet = Wanted { from: Some("quiet".to_owned()), ..Wanted::default() };
    assert_eq!(decisions.rows(&quiet).len(), 1);
    assert_eq!(decisions.rows(&Wanted::default()).len(), ROWS_MAX);
}

#[test]
fn when_all_is_full_the_oldest_goes_and_is_counted() {
    let mut decisions = Decisions::default();
    let long = "s".repeat(60_000);
    let mut told_in_all = 0;
    for number in 0..20_u64 {
        let proxy: Arc<str> = format!("node n{number}").into();
        for source in 0..100 {
            let minute = DAY + number * MINUTE;
            decisions.take(&proxy, told(minute, &format!("{long}{source}"), 1), DAY + 20 * MINUTE);
            told_in_all += 1;
        }
    }
    let (records, bytes, dropped) = decisions.standing();
    assert!(bytes <= BYTES_MAX && records > 900, "{bytes} {records}");
    assert_eq!(records as u64 + dropped, told_in_all);
    assert_eq!(decisions.of_proxy.values().sum::<usize>(), bytes);
    assert!(decisions.rows(&Wanted::default()).iter().all(|row| row.first_second > DAY));
}

#[test]
fn they_are_found_by_caller_destination_policy_and_time() {
    let (mut decisions, proxy) = (Decisions::default(), Arc::from("node n1"));
    decisions.take(&proxy, told(DAY - 600, "spiffe://east.example/ns/shop/sa/planner", 2), DAY);
    decisions.take(&proxy, told(DAY, "spiffe://east.example/ns/shop/sa/planner", 3), DAY);
    let count = |policy: &str, from: &str, to: &str, since: u64| {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let wanted = Wanted { since, policy: some(policy), from: some(from), to: some(to) };
        decisions.rows(&wanted).iter().map(|row| row.count).sum::<u64>()
    };
    assert_eq!(count("", "", "", 0), 5);
    assert_eq!(count("shop/tools", "shop/planner", "shop/tools", DAY - 60), 3);
    assert_eq!(count("tools", "", "", 0), 5);
    assert_eq!(count("other", "", "", 0), 0);
    assert_eq!(count("", "shop/writer", "", 0), 0);
    assert_eq!(count("", "", "shop/tool", 0), 0);
    assert_eq!(count("", "", "", DAY + 1), 0);
}
