//! How packets of one direction fare.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest delay and jitter.
pub const DELAY_MAX: Duration = Duration::from_secs(60);

/// How packets of one direction fare. The default passes all of them at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// How long a packet is under way; in JSON microseconds.
    #[serde(rename = "delay_us", with = "microseconds")]
    pub delay: Duration,
    /// By how much at most that is more or less, drawn evenly for each packet; in JSON microseconds. Packets do
    /// not overtake: one that is late holds back those behind it, as a queue in a router does.
    #[serde(rename = "jitter_us", with = "microseconds")]
    pub jitter: Duration,
    /// Which share of packets is lost, from 0 to 1, each by itself.
    pub loss: f64,
    /// How many bits pass in a second; none is no bound.
    pub rate: Option<u64>,
    /// How long a packet may have to wait for its turn under `rate` before it is dropped; in JSON microseconds.
    #[serde(rename = "queue_us", with = "microseconds")]
    pub queue: Duration,
    /// Lets jitter change the order of packets.
    pub reorder: bool,
    /// Nothing passes; what is under way is gone.
    pub partition: bool,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            rate: None,
            queue: Duration::from_millis(100),
            reorder: false,
            partition: false,
        }
    }
}

/// Why a shape cannot be.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// Not a share.
    #[error("a loss of {0}: it is a share, from 0 to 1")]
    Loss(f64),
    /// A time too long.
    #[error("{0:?} is too long: delay, jitter and queue are at most {DELAY_MAX:?}")]
    Delay(Duration),
    /// No rate at all.
    #[error("a rate of 0 lets nothing pass: ask for a partition")]
    Rate,
}

impl Shape {
    /// Fails if no direction can be so.
    pub fn check(&self) -> Result<(), ShapeError> {
        if !(0.0..=1.0).contains(&self.loss) {
            return Err(ShapeError::Loss(self.loss));
        }
        if let Some(long) = [self.delay, self.jitter, self.queue].into_iter().find(|time| *time > DELAY_MAX) {
            return Err(ShapeError::Delay(long));
        }
        if self.rate == Some(0) { Err(ShapeError::Rate) } else { Ok(()) }
    }
}

mod microseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_at_their_limits_are_taken_and_beyond_refused() {
        let shape = Shape { loss: 1.0, delay: DELAY_MAX, rate: Some(1), ..Shape::default() };
        assert_eq!(shape.check(), Ok(()));
        assert_eq!(Shape { loss: 1.01, ..Shape::default() }.check(), Err(ShapeError::Loss(1.01)));
        assert!(matches!(Shape { loss: f64::NAN, ..Shape::default() }.check(), Err(ShapeError::Loss(_))));
        let long = DELAY_MAX + Duration::from_micros(1);
        assert_eq!(Shape { jitter: long, ..Shape::default() }.check(), Err(ShapeError::Delay(long)));
        assert_eq!(Shape { rate: Some(0), ..Shape::default() }.check(), Err(ShapeError::Rate));
    }

    #[test]
    fn a_shape_in_json_says_only_what_differs() {
        let shape: Shape = serde_json::from_str(r#"{"delay_us":25000,"loss":0.01}"#).unwrap();
        assert_eq!(shape, Shape { delay: Duration::from_millis(25), loss: 0.01, ..Shape::default() });
        assert!(serde_json::from_str::<Shape>(r#"{"dealy_us":25000}"#).is_err());
    }
}
