//! A direction's promises, with time and chance given.

use super::*;

const SMALL: &[u8] = &[0; 125];

fn direction(shape: Shape) -> (Instant, Direction) {
    let now = Instant::now();
    let mut direction = Direction::new(1);
    direction.reshape(now, shape);
    (now, direction)
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn without_a_shape_packets_arrive_at_once() {
    let (now, mut direction) = direction(Shape::default());
    assert_eq!(direction.offer(now, SMALL), Fate::Arrives);
    assert_eq!(direction.next(), None);
}

#[test]
fn a_delayed_packet_arrives_when_the_delay_has_passed_and_not_before() {
    let (now, mut direction) = direction(Shape { delay: milliseconds(25), ..Shape::default() });
    assert_eq!(direction.offer(now, SMALL), Fate::UnderWay);
    let at = now + milliseconds(25);
    assert_eq!(direction.next(), Some(at));
    assert_eq!(direction.due(at - Duration::from_nanos(1)), None);
    assert_eq!(direction.due(at).as_deref(), Some(SMALL));
    assert_eq!(direction.due(at), None);
}

#[test]
fn jitter_stays_within_its_bounds_and_keeps_order_unless_told_otherwise() {
    for reorder in [false, true] {
        let shape = Shape { delay: milliseconds(20), jitter: milliseconds(5), reorder, ..Shape::default() };
        let (now, mut direction) = direction(shape);
        for number in 0..200u8 {
            direction.offer(now, &[number]);
        }
        let (first, last) = (direction.next().unwrap(), *direction.under_way.last_key_value().unwrap().0);
        assert!(first >= now + milliseconds(15) && last.0 <= now + milliseconds(25));
        assert!(last.0 > first + milliseconds(4), "jitter spreads");
        let order: Vec<u8> = std::iter::from_fn(|| direction.due(last.0)).map(|packet| packet[0]).collect();
        assert_eq!(order.is_sorted(), !reorder);
    }
}

#[test]
fn losses_are_as_many_as_asked_and_the_same_for_the_same_seed() {
    let run = |seed| {
        let now = Instant::now();
        let mut direction = Direction::new(seed);
        direction.reshape(now, Shape { loss: 0.02, ..Shape::default() });
        (0..50_000).map(|_| direction.offer(now, SMALL) == Fate::Gone).collect::<Vec<bool>>()
    };
    let lost = run(7);
    let count = lost.iter().filter(|lost| **lost).count();
    assert!((850..1150).contains(&count), "{count} of 50000");
    assert_eq!(run(7), lost);
    assert_ne!(run(8), lost);
}

#[test]
fn all_or_nothing_is_lost_at_the_ends_of_the_scale() {
    let (now, mut direction) = direction(Shape { loss: 1.0, ..Shape::default() });
    assert!((0..1000).all(|_| direction.offer(now, SMALL) == Fate::Gone));
    direction.reshape(now, Shape::default());
    assert!((0..1000).all(|_| direction.offer(now, SMALL) == Fate::Arrives));
}

#[test]
fn a_rate_spaces_packets_and_drops_those_that_would_wait_too_long() {
    // 125 bytes at 1 Mbit/s pass in one millisecond.
    let (now, mut direction) =
        direction(Shape { rate: Some(1_000_000), queue: milliseconds(3), ..Shape::default() });
    let fates: Vec<Fate> = (0..5).map(|_| direction.offer(now, SMALL)).collect();
    assert_eq!(fates[3], Fate::UnderWay, "it waits 3 ms");
    assert_eq!(fates[4], Fate::Gone, "it would wait 4 ms");
    let mut arrivals = Vec::new();
    while let Some(at) = direction.next() {
        direction.due(at).unwrap();
        arrivals.push(at.duration_since(now));
    }
    assert_eq!(arrivals, [1, 2, 3, 4].map(milliseconds));
    assert_eq!(direction.counts().overflowed, 1);
}

#[test]
fn a_partition_takes_what_is_under_way_and_heals_at_once() {
    let (now, mut direction) = direction(Shape { delay: milliseconds(25), ..Shape::default() });
    direction.offer(now, SMALL);
    direction.reshape(now, Shape { partition: true, ..Shape::default() });
    assert_eq!(direction.next(), None);
    assert_eq!(direction.offer(now, SMALL), Fate::Gone);
    assert_eq!(direction.counts().cut, 2);
    direction.reshape(now, Shape::default());
    assert_eq!(direction.offer(now, SMALL), Fate::Arrives);
}

#[test]
fn a_shorter_delay_hurries_what_is_under_way_and_keeps_its_order() {
    let (now, mut direction) = direction(Shape { delay: milliseconds(1000), ..Shape::default() });
    for number in 0..3u8 {
        direction.offer(now, &[number]);
    }
    direction.reshape(now, Shape { delay: milliseconds(10), ..Shape::default() });
    direction.offer(now, &[3]);
    let at = now + milliseconds(10);
    let order: Vec<u8> = std::iter::from_fn(|| direction.due(at)).map(|packet| packet[0]).collect();
    assert_eq!(order, [0, 1, 2, 3]);
}

#[test]
fn no_more_is_under_way_than_the_bounds_allow() {
    let (now, mut direction) = direction(Shape { delay: milliseconds(10), ..Shape::default() });
    for _ in 0..PACKETS_MAX {
        assert_eq!(direction.offer(now, &[0]), Fate::UnderWay);
    }
    assert_eq!(direction.offer(now, &[0]), Fate::Gone);
    direction.reshape(now, Shape { partition: true, ..Shape::default() });
    direction.reshape(now, Shape { delay: milliseconds(10), ..Shape::default() });
    let large = vec![0; BYTES_MAX / 256];
    for _ in 0..256 {
        assert_eq!(direction.offer(now, &large), Fate::UnderWay);
    }
    assert_eq!(direction.offer(now, &[0]), Fate::Gone);
}
