//! The loop of one pod: asks what is next, does it, and waits for what happens.

mod begin;
mod ends;
mod ground;
mod telling;

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    Context, Desired,
    adopt::{self, Left},
    clear,
    decide::{self, Step},
    member::{Member, Role},
    publish::{self, Told},
    record::Shim,
    sandbox::Sandbox,
};
use crate::{
    backoff::Backoff,
    containers::{ContainerId, Running},
    probes,
    registry::PodEntry,
    shim::run::Exit,
    volumes::Mounted,
};

/// How many signals may wait for a pod's loop.
const SIGNALS_MAX: usize = 64;
/// Pause before something that is missing is looked for again.
const RETRY: Duration = Duration::from_secs(1);
/// The longest such pause.
const RETRY_MOST: Duration = Duration::from_secs(10);
/// How long a pod may take that the API has deleted already.
const GONE_GRACE: Duration = Duration::from_secs(2);
/// The grace of a pod that says nothing.
const GRACE_DEFAULT: i64 = 30;

/// What happens to a pod beside what the API says.
enum Signal {
    Ended(ContainerId, Exit),
    Hooked(ContainerId, Result<(), String>),
}

/// A container that runs.
struct Live {
    running: Running,
    ended: watch::Sender<bool>,
    probing: Option<probes::Probing>,
}

struct Worker {
    context: Arc<Context>,
    pod: Arc<Pod>,
    pod_tell: watch::Sender<Arc<Pod>>,
    gone: bool,
    entry: Arc<PodEntry>,
    members: Vec<Member>,
    lives: HashMap<ContainerId, Live>,
    sandbox: Option<Sandbox>,
    volumes: Option<Mounted>,
    keepers: JoinSet<()>,
    tasks: JoinSet<()>,
    signals: (mpsc::Sender<Signal>, mpsc::Receiver<Signal>),
    reports: (mpsc::Sender<probes::Report>, mpsc::Receiver<probes::Report>),
    told: watch::Sender<Told>,
    conditions: Vec<PodCondition>,
    since: jiff::Timestamp,
    failed: Option<(String, String)>,
    retry: Backoff,
    not_before: Option<Instant>,
    over: bool,
}

/// Leads a pod until it is gone.
/// With what a former podlet `left` of it, it goes on from there.
pub(super) async fn lead(context: Arc<Context>, mut desired: watch::Receiver<Desired>, left: Option<Left>) {
    let pod = desired.borrow_and_update().pod.clone();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ended = matches!(phase, Some("Succeeded" | "Failed"));
    let (told, telling) = watch::channel(Told::default());
    let publisher = tokio::spawn(publish::publish(context.client.clone(), pod.clone(), telling));
    let mut worker = Worker::new(context.clone(), pod, told);
    if ended {
        // It came to its end under a former podlet: nothing but its deletion is left to do.
        worker.recall(None);
        if let Some(left) = left {
            left.clear(&context).await;
        }
        while !worker.deleting() && desired.changed().await.is_ok() {
            worker.desire(&desired.borrow_and_update().clone());
        }
    } else {
        match left {
            Some(left) => worker.recall(Some(left)),
            None => recount(&worker.pod, &mut worker.members),
        }
        worker.run(&mut desired).await;
    }
    worker.leave().await;
    worker.told.send_modify(|told| told.over = !worker.gone);
    let Worker { told, .. } = worker;
    drop(told);
    let _ = publisher.await;
}

impl Worker {
    fn new(context: Arc<Context>, pod: Arc<Pod>, told: watch::Sender<Told>) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let meta = &pod.metadata;
        let (namespace, name, uid) = (text(&meta.namespace), text(&meta.name), text(&meta.uid));
        let logs = context.paths.pod_logs(&namespace, &name, &uid);
        let entry = Arc::new(PodEntry::new(uid, logs, pod.clone()));
        context.registry.put(&namespace, &name, entry.clone());
        let first = Duration::from_millis(context.config.crash_backoff_ms);
        let members = Member::of(&pod, &Backoff::new(first, first * 30));
        let before = pod.status.as_ref();
        Self {
            pod_tell: watch::channel(pod.clone()).0,
            gone: false,
            entry,
            members,
            lives: HashMap::new(),
            sandbox: None,
            volumes: None,
            keepers: JoinSet::new(),
            tasks: JoinSet::new(),
            signals: mpsc::channel(SIGNALS_MAX),
            reports: mpsc::channel(SIGNALS_MAX),
            told,
            conditions: before.and_then(|status| status.conditions.clone()).unwrap_or_default(),
            since: before
                .and_then(|status| status.start_time.as_ref())
                .map_or_else(jiff::Timestamp::now, |time| time.0),
            failed: None,
            retry: Backoff::new(RETRY, RETRY_MOST),
            not_before: None,
            over: false,
            context,
            pod,
        }
    }

    /// Gives the containers the state they had under a former podlet, and takes over what is left.
    fn recall(&mut self, left: Option<Left>) {
        let (sandbox, records) = left.map(|left| (left.sandbox, left.containers)).unzip();
        self.sandbox = sandbox;
        let (running, former) = adopt::recall(&self.pod, &mut self.members, records.unwrap_or_default());
        for (at, record) in running {
            tracing::info!(pod = self.pod.metadata.name, container = record.container, "goes on");
            self.follow(at, &record, Shim::Found(record.shim.0, record.shim.1));
        }
        for record in former {
            let context = self.context.clone();
            self.tasks.spawn(async move {
                let folder = context.paths.container(&record.id);
                clear::container(&context.runc, &context.config.cgroup, &record.id, &folder).await;
            });
        }
        self.show(None);
    }

    async fn run(&mut self, desired: &mut watch::Receiver<Desired>) {
        loop {
            let wait = self.advance().await;
            self.tell();
            if self.over {
                return;
            }
            // Something was done: there may be more to do, unless something happened meanwhile.
            let wait = wait.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            let deadline = self.deadline();
            tokio::select! {
                biased;
                changed = desired.changed() => match changed {
                    Ok(()) => self.desire(&desired.borrow_and_update().clone()),
                    Err(_) => self.gone = true,
                },
                Some(signal) = self.signals.1.recv() => self.signal(signal),
                Some(report) = self.reports.1.recv() => self.report(report),
                () = tokio::time::sleep_until(wait) => {}
                () = until(deadline) => {
                    let message = "Pod was active on the node longer than the specified deadline";
                    self.failed = Some(("DeadlineExceeded".to_owned(), message.to_owned()));
                }
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    /// Does what is next; gives back when to look again.
    async fn advance(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.deleting() || self.failed.is_some() {
            return self.end().await;
        }
        if let Some(time) = self.not_before.filter(|&time| time > now) {
            return Some(time);
        }
        if !self.lives.is_empty() && self.volumes.is_none() && !self.prepare().await {
            // What was taken over runs on; its volumes are to be kept current.
            return self.not_before;
        }
        match decide::next(&self.pod, &self.members, now) {
            Step::Finish => self.end().await,
            Step::Wait => None,
            Step::WaitUntil(time) => Some(time),
            Step::Start(at) => {
                if !self.prepare().await {
                    return self.not_before;
                }
                self.start(at).await;
                Some(Instant::now())
            }
        }
    }

    fn desire(&mut self, desired: &Desired) {
        let sooner = self.deleting()
            && desired.pod.metadata.deletion_grace_period_seconds
                < self.pod.metadata.deletion_grace_period_seconds;
        self.pod = desired.pod.clone();
        self.gone |= desired.gone;
        if sooner {
            for member in &mut self.members {
                member.stopping = false;
            }
        }
        self.pod_tell.send_replace(self.pod.clone());
        for container in super::member::ephemeral(&self.pod) {
            if !self.members.iter().any(|member| member.name() == container.name) {
                let backoff = self.members.first().map(|member| member.backoff.clone());
                let backoff = backoff.unwrap_or_else(|| Backoff::new(RETRY, RETRY_MOST));
                self.members.push(Member::new(container, Role::Ephemeral, "ContainerCreating", backoff));
            }
        }
    }

    fn deleting(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// How long containers have, if they are stopped now.
    fn grace(&self) -> Duration {
        let spec = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let asked = self.pod.metadata.deletion_grace_period_seconds.or(spec).unwrap_or(GRACE_DEFAULT);
        let asked = Duration::from_secs(asked.max(0).unsigned_abs());
        if self.gone { asked.min(GONE_GRACE) } else { asked }
    }

    /// When the pod must have ended.
    fn deadline(&self) -> Option<Instant> {
        let seconds = self.pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds)?;
        if self.failed.is_some() {
            return None;
        }
        let ran = Duration::try_from(jiff::Timestamp::now().duration_since(self.since)).unwrap_or_default();
        Some(Instant::now() + Duration::from_secs(seconds.unsigned_abs()).saturating_sub(ran))
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Counts on where a former podlet stopped, of which nothing else is left.
fn recount(pod: &Pod, members: &mut [Member]) {
    let Some(status) = &pod.status else { return };
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    for old in all {
        if let Some(member) = members.iter_mut().find(|member| member.name() == old.name)
            && old.container_id.is_some()
        {
            member.next_attempt = u32::try_from(old.restart_count).unwrap_or(0) + 1;
        }
    }
    // Without this an init container would be taken for history.
    if members.iter().any(|member| member.role == Role::Init) {
        for member in members.iter_mut().filter(|member| member.role == Role::Main) {
            member.next_attempt = 0;
        }
    }
}
