//! Stops a container with grace.

use std::{str::FromStr, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{net::IpAddr, sync::Arc};
use tokio::{sync::watch, time::Instant};

use super::{Context, hooks};
use crate::containers::Running;

/// The least time between the signal that asks and the one that does not.
const GRACE_LEAST: Duration = Duration::from_secs(2);

/// Whom to stop.
pub(super) struct Order {
    pub(super) pod: Arc<Pod>,
    pub(super) container: Container,
    pub(super) running: Running,
    pub(super) address: Option<IpAddr>,
    pub(super) grace: Duration,
    /// Becomes true with the end of the container.
    pub(super) ended: watch::Receiver<bool>,
}

/// preStop, then the signal that asks, then the one that does not; within the grace.
pub(super) async fn stop(context: Arc<Context>, mut order: Order) {
    let until = Instant::now() + order.grace;
    let lifecycle = order.container.lifecycle.as_ref();
    if let Some(hook) = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref())
        && !order.grace.is_zero()
    {
        let (running, address) = (&order.running, order.address);
        let run = hooks::run(hook, &order.container, running, address, &context.runc, order.grace);
        if let Err(why) = run.await {
            let message = format!("PreStopHook failed: {why}");
            context.events.warning(&order.pod, Some(&order.container.name), "FailedPreStopHook", message);
        }
    }
    let ask = lifecycle.and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    let ask = ask.and_then(|name| Signal::from_str(name).ok()).unwrap_or(Signal::SIGTERM);
    let pid = Pid::from_raw(order.running.pid);
    let until = if order.grace.is_zero() { until } else { until.max(Instant::now() + GRACE_LEAST) };
    if !*order.ended.borrow() {
        let _ = kill(pid, ask);
    }
    let late = tokio::time::timeout_at(until, order.ended.wait_for(|ended| *ended)).await.is_err();
    if late && !*order.ended.borrow() {
        let _ = kill(pid, Signal::SIGKILL);
    }
}
