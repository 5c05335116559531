//! What is said of connections and streams while they go on: bytes into the counters, and one line and one copy of
//! the span for what has been open for a while. What is short costs nothing of it.

use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use crate::{AccessLog, Entry, Spans, metrics::Meters};

/// How often bytes of what goes on are counted.
pub const METER_INTERVAL: Duration = Duration::from_secs(5);
/// After how long something that is open is told of.
pub const OPEN_AFTER: Duration = Duration::from_secs(2);
/// How often one looks.
const TICK: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
pub async fn run(spans: Spans, meters: Meters, log: Option<AccessLog>, now: fn() -> SystemTime) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let every = METER_INTERVAL.as_secs() / TICK.as_secs();
    for number in 1_u64.. {
        ticks.tick().await;
        tell(&spans, log.as_ref(), now());
        if number.is_multiple_of(every) {
            meters.tick();
        }
    }
}

fn tell(spans: &Spans, log: Option<&AccessLog>, now: SystemTime) {
    let old = spans.tell_open(OPEN_AFTER);
    let Some(log) = log else { return };
    for span in old {
        let mut entry = Entry::new(now, "open").field("span", &span.name);
        for (key, value) in span.attributes.iter() {
            entry = entry.field(key, value);
        }
        log.write(entry.field("trace_id", span.trace).field("span_id", span.id));
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::{access_log::Destination, spans::SpanKind};

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1000)
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_open_has_a_line_and_is_counted_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = AccessLog::start(&Destination::File(path.clone())).unwrap();
        let (spans, meters) = (Spans::new("node/n1", || 5, now, None, None), Meters::default());
        let context = spans.begin(None);
        let mut span = spans.span(&context, None, SpanKind::Client);
        span.start -= 2_000_000;
        span.named("tcp \u{1b}[31m");
        span.set("strait.destination", "a\nb");
        let _open = spans.open(span);
        let (sent, received) = (Counter::default(), Counter::default());
        let _metered = meters.meter(sent.clone(), received.clone(), || (3, 4));
        let running = tokio::spawn(run(spans, meters, Some(log.clone()), now));
        tokio::time::sleep(METER_INTERVAL - TICK * 2).await;
        assert_eq!(sent.get(), 0);
        tokio::time::sleep(TICK * 3).await;
        assert_eq!((sent.get(), received.get()), (3, 4));
        running.abort();
        log.flush().await;
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(
            text,
            "1970-01-01T00:16:40.000000Z access open span=\"tcp \\u{1b}[31m\" strait.destination=\"a\\nb\" \
             trace_id=00000000000000050000000000000005 span_id=0000000000000005\n"
        );
    }
}
