//! Counts are told by the minute, stay right, and stay within their bounds whoever calls.

use std::time::Duration;

use super::{
    minute::{SOURCE_KEYS_MAX, TEXTS_MAX, USERS_MAX},
    *,
};

fn key(source: &str) -> DecisionKey {
    DecisionKey { source: source.into(), ..DecisionKey::other(Verdict::Granted) }
}

fn asking(asked: Asked) -> DecisionKey {
    DecisionKey { asked, destination: "tools:80".into(), ..key("a") }
}

fn second(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn told(keys: impl IntoIterator<Item = DecisionKey>) -> Vec<DecisionCount> {
    let mut decisions = Decisions::default();
    keys.into_iter().for_each(|key| decisions.count(key, second(0)));
    decisions.taken()
}

#[test]
fn what_was_counted_is_told_once_by_the_minute() {
    let mut decisions = Decisions::default();
    decisions.count(key("a"), second(60));
    decisions.count(key("a"), second(119));
    decisions.count(key("a"), second(120));
    let of = |minute, count| DecisionCount { minute, key: key("a"), count };
    assert_eq!(decisions.taken(), [of(60, 2), of(120, 1)]);
    assert_eq!(decisions.taken(), []);
    // A minute that goes on is told again, with what is new.
    decisions.count(key("a"), second(121));
    assert_eq!(decisions.taken(), [of(120, 1)]);
}

#[test]
fn callers_cannot_make_more_keys_than_there_is_room_for() {
    let told = told((0..KEYS_MAX + 5).map(|number| key(&number.to_string())));
    assert_eq!(told.len(), KEYS_MAX + 1);
    let other = told.iter().find(|it| it.key == DecisionKey::other(Verdict::Granted));
    assert_eq!(other.map(|it| it.count), Some(5));
}

#[test]
fn a_caller_that_makes_things_up_takes_nobody_elses_room() {
    let made_up = (0..100_000).map(|number| DecisionKey {
        destination: format!("{number}").into(),
        asked: Asked { path: format!("/{number}").into(), ..Asked::default() },
        ..key("hostile")
    });
    let told = told(made_up.chain([asking(Asked { path: "/a".into(), ..Asked::default() })]));
    assert!(told.len() <= SOURCE_KEYS_MAX + 2, "{}", told.len());
    assert_eq!(told.iter().map(|it| it.count).sum::<u64>(), 100_001);
    assert!(told.iter().any(|it| &*it.key.source == "a" && &*it.key.asked.path == "/a"));
}

#[test]
fn few_texts_are_kept_and_many_become_other() {
    type Set = fn(String) -> Asked;
    let fields: [(Set, usize); 4] = [
        (|text| Asked { path: text.into(), ..Asked::default() }, TEXTS_MAX),
        (|text| Asked { object: text.into(), ..Asked::default() }, TEXTS_MAX),
        (|text| Asked { host: text.into(), ..Asked::default() }, TEXTS_MAX),
        (|text| Asked { user: text.into(), ..Asked::default() }, USERS_MAX),
    ];
    for (set, most) in fields {
        let keys = |count: usize| (0..count).map(|number| asking(set(format!("/{number}"))));
        assert_eq!(told(keys(most)).len(), most);
        let over = told(keys(most + 3));
        assert_eq!(over.len(), most + 1);
        let other = over.iter().find(|it| it.key == asking(set(OTHER.to_owned())));
        assert_eq!(other.map(|it| it.count), Some(3));
    }
}

#[test]
fn long_texts_become_other() {
    let path = |length: usize| asking(Asked { path: "a".repeat(length).into(), ..Asked::default() });
    let told = told([path(TEXT_BYTES_MAX), path(TEXT_BYTES_MAX + 1), path(TEXT_BYTES_MAX + 2)]);
    assert_eq!(told.len(), 2);
    assert!(told.iter().any(|it| &*it.key.asked.path == OTHER && it.count == 2));
    assert!(told.iter().all(|it| it.key.is_bounded()));
    assert!(!path(TEXT_BYTES_MAX + 1).is_bounded());
}

#[test]
fn a_clock_that_jumps_makes_no_minutes_without_bound() {
    let mut decisions = Decisions::default();
    for minute in 0..100 {
        decisions.count(key("a"), second(60 * minute));
    }
    assert_eq!(decisions.minutes.len(), MINUTES_MAX);
    assert_eq!(decisions.taken().iter().map(|it| it.count).sum::<u64>(), 100);
}
