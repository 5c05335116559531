//! Asks the other end of a tunnel whether it is still there.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// Sends a PING each interval; [`Keepalive::poll_silent`] is ready when one was not answered in time.
#[derive(Debug)]
pub(crate) struct Keepalive {
    pings: PingPong,
    interval: Duration,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    asked: bool,
}

impl Keepalive {
    pub(crate) fn new(pings: PingPong, interval: Duration, timeout: Duration) -> Self {
        Self { pings, interval, timeout, timer: Box::pin(sleep(interval)), asked: false }
    }

    pub(crate) fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.asked && self.pings.poll_pong(cx).is_ready() {
                // An error means that the connection ends, which shows where it is driven.
                self.asked = false;
                self.timer.as_mut().reset(Instant::now() + self.interval);
            }
            ready!(self.timer.as_mut().poll(cx));
            if self.asked {
                return Poll::Ready(());
            }
            // It fails only while another PING of ours is under way.
            self.asked = self.pings.send_ping(Ping::opaque()).is_ok();
            let wait = if self.asked { self.timeout } else { self.interval };
            self.timer.as_mut().reset(Instant::now() + wait);
        }
    }
}
