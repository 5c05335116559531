//! The loop of one pod: asks what is next, does it, and waits for what happens.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    Context, Desired, clear,
    decide::{self, Step},
    hooks,
    launch::{self, Launch, StartError},
    member::{Ended, Member, Role, State},
    mounts, publish,
    publish::Told,
    sandbox::Sandbox,
    status::{self, Around},
    stop,
};
use crate::{
    backoff::Backoff,
    bundle::PidNamespace,
    containers::{ContainerId, Running},
    fields::Facts,
    probes::{self, Kind, Verdict},
    registry::{ContainerEntry, PodEntry},
    shim::run::{EXIT, Exit},
    volumes::{self, Keeper, Mounted, Source, VolumeError, folders},
};

/// How many signals may wait for a pod's loop.
const SIGNALS_MAX: usize = 64;
/// A container that ran so long begins again with a short pause.
const RAN_WELL: Duration = Duration::from_secs(600);
/// How much of a container's last words is told.
const LAST_WORDS_MAX: usize = 4096;
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
    HookFailed(ContainerId, String),
}

/// A container that runs.
struct Live {
    running: Running,
    ended: watch::Sender<bool>,
    _probing: Option<probes::Probing>,
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
pub(super) async fn lead(context: Arc<Context>, mut desired: watch::Receiver<Desired>) {
    let pod = desired.borrow_and_update().pod.clone();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let ended = matches!(phase, Some("Succeeded" | "Failed"));
    let (told, telling) = watch::channel(Told::default());
    let publisher = tokio::spawn(publish::publish(context.client.clone(), pod.clone(), telling));
    let mut worker = Worker::new(context, pod, told);
    if ended {
        // It came to its end under a former podlet: nothing but its deletion is left to do.
        while !worker.deleting() && desired.changed().await.is_ok() {
            worker.desire(&desired.borrow_and_update().clone());
        }
    } else {
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
        let mut members = Member::of(&pod, &Backoff::new(first, first * 30));
        recall(&pod, &mut members);
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

    /// Makes the network and the volumes, if they are not there yet.
    async fn prepare(&mut self) -> bool {
        let context = self.context.clone();
        if self.sandbox.is_none() {
            let _permit = context.starting.acquire().await;
            match Sandbox::create(&context, &self.pod).await {
                Ok(sandbox) => {
                    self.sandbox = Some(sandbox);
                    self.retry.reset();
                    self.tell();
                }
                Err(error) => {
                    context.events.warning(&self.pod, None, "FailedCreatePodSandBox", error.to_string());
                    self.not_before = Some(Instant::now() + self.retry.pause());
                    return false;
                }
            }
        }
        if self.volumes.is_none() {
            match self.make_volumes().await {
                Ok(mounted) => {
                    self.volumes = Some(mounted);
                    self.retry.reset();
                }
                Err(error) => {
                    context.events.warning(&self.pod, None, "FailedMount", error.to_string());
                    self.not_before = Some(Instant::now() + self.retry.pause());
                    return false;
                }
            }
        }
        true
    }

    async fn make_volumes(&mut self) -> Result<Mounted, VolumeError> {
        let mut mounted = BTreeMap::new();
        let mut keepers = Vec::new();
        let security = self.pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let group =
            security.and_then(|security| security.fs_group).and_then(|group| u32::try_from(group).ok());
        let around = volumes::files::Around {
            client: self.context.client.clone(),
            objects: self.context.objects.clone(),
            facts: self.facts(),
            group,
        };
        let top = self.context.paths.pod(&self.entry.uid).join("volumes");
        for volume in volumes::plan(&self.pod) {
            let folder = top.join(&volume.name);
            let failed = |cause: std::io::Error| VolumeError::Failed {
                volume: volume.name.clone(),
                why: cause.to_string(),
            };
            let place = match volume.source {
                Source::Refused(why) => return Err(VolumeError::Refused { volume: volume.name, why }),
                Source::Empty { memory } => {
                    folders::empty(&folder, memory, group).map_err(failed)?;
                    folder
                }
                Source::Host { path, kind } => {
                    folders::host(self.context.paths.root(), &path, &kind).map_err(failed)?
                }
                Source::Files(pieces) => {
                    let mut keeper = Keeper::new(&volume.name, &folder, pieces, &around);
                    keeper.write(&self.pod).await?;
                    keepers.push(keeper);
                    folder
                }
            };
            mounted.insert(volume.name, place);
        }
        for keeper in keepers {
            self.keepers.spawn(keeper.keep(self.pod_tell.subscribe()));
        }
        Ok(mounted)
    }

    async fn start(&mut self, at: usize) {
        let context = self.context.clone();
        let (Some(sandbox), Some(volumes)) = (self.sandbox.clone(), self.volumes.clone()) else { return };
        let facts = self.facts();
        let (container, attempt) = (self.members[at].container.clone(), self.members[at].next_attempt);
        let image = container.image.clone().unwrap_or_default();
        let launch = Launch {
            pod: &self.pod,
            container: &container,
            attempt,
            sandbox: &sandbox,
            volumes: &volumes,
            logs: &self.entry.logs,
            pid: self.pid_namespace(&container),
            facts: &facts,
        };
        let started = {
            let _permit = context.starting.acquire().await;
            launch::start(&context, &launch).await
        };
        let name = Some(container.name.as_str());
        match started {
            Ok((running, shim)) => {
                let events = &context.events;
                let message = format!("Container image {image:?} already present on machine");
                events.normal(&self.pod, name, "Pulled", message);
                events.normal(&self.pod, name, "Created", format!("Container created: {}", container.name));
                events.normal(&self.pod, name, "Started", format!("Container started: {}", container.name));
                self.begun(at, running, shim);
            }
            Err(StartError::Image(error)) => {
                let pause = self.members[at].backoff.pause();
                let member = &mut self.members[at];
                let again = matches!(
                    &member.state,
                    State::Waiting { reason: "ErrImagePull" | "ImagePullBackOff", .. }
                );
                let reason = if again { "ImagePullBackOff" } else { "ErrImagePull" };
                member.state = State::Waiting { reason, message: Some(error.to_string()) };
                member.not_before = Some(Instant::now() + if again { pause } else { RETRY });
                context.events.warning(
                    &self.pod,
                    name,
                    "Failed",
                    format!("Failed to pull image {image:?}: {error}"),
                );
            }
            Err(StartError::Config(why)) => {
                let member = &mut self.members[at];
                member.state =
                    State::Waiting { reason: "CreateContainerConfigError", message: Some(why.clone()) };
                member.not_before = Some(Instant::now() + RETRY);
                context.events.warning(&self.pod, name, "Failed", format!("Error: {why}"));
            }
            Err(StartError::Run(why)) => {
                context.events.warning(&self.pod, name, "Failed", format!("Error: {why}"));
                self.members[at].next_attempt += 1;
                let now = jiff::Timestamp::now();
                let ended = Ended {
                    id: ContainerId::fresh().ok(),
                    code: 128,
                    signal: None,
                    reason: "StartError".to_owned(),
                    message: Some(why),
                    started: None,
                    finished: now,
                };
                self.ended(at, ended);
            }
        }
    }

    fn begun(&mut self, at: usize, running: Running, mut shim: tokio::process::Child) {
        let id = running.id.clone();
        let member = &mut self.members[at];
        if let State::Ended(ended) = &member.state {
            member.last = Some(ended.clone());
        }
        member.state = State::Running { id: id.clone(), started: jiff::Timestamp::now() };
        member.next_attempt += 1;
        member.not_before = None;
        member.stopping = false;
        member.started = member.container.startup_probe.is_none();
        member.ready = member.started && member.container.readiness_probe.is_none();
        let container = member.container.clone();
        let address = self.sandbox.as_ref().and_then(|sandbox| sandbox.ips.first().copied());
        let (signals, folder) = (self.signals.0.clone(), running.folder.clone());
        let ending = id.clone();
        self.tasks.spawn(async move {
            let _ = shim.wait().await;
            let text = std::fs::read(folder.join(EXIT)).unwrap_or_default();
            let lost = || Exit { code: 137, signal: None, at: jiff::Timestamp::now() };
            let exit = serde_json::from_slice(&text).unwrap_or_else(|_| lost());
            let _ = signals.send(Signal::Ended(ending, exit)).await;
        });
        if let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone()) {
            let (signals, runc) = (self.signals.0.clone(), self.context.runc.clone());
            let (container, id) = (container.clone(), id.clone());
            self.tasks.spawn(async move {
                let most = Duration::from_secs(3600);
                if let Err(why) = hooks::run(&hook, &container, &id, address, &runc, most).await {
                    let _ = signals.send(Signal::HookFailed(id, why)).await;
                }
            });
        }
        let probing = address.map(|address| {
            let runc = self.context.runc.clone();
            let target = probes::Target { container, running: running.clone(), address, runc };
            probes::watch(target, self.reports.0.clone())
        });
        self.lives.insert(id, Live { running, ended: watch::channel(false).0, _probing: probing });
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Ended(id, exit) => {
                let Some(live) = self.lives.remove(&id) else { return };
                live.ended.send_replace(true);
                let Some(at) = self.members.iter().position(|member| member.running() == Some(&id)) else {
                    return;
                };
                let started = match &self.members[at].state {
                    State::Running { started, .. } => Some(*started),
                    _ => None,
                };
                let reason = if exit.code == 0 { "Completed" } else { "Error" };
                let ended = Ended {
                    id: Some(id.clone()),
                    code: exit.code,
                    signal: exit.signal,
                    reason: reason.to_owned(),
                    message: last_words(&live.running, exit.code, &self.members[at].container),
                    started,
                    finished: exit.at,
                };
                let (context, folder) = (self.context.clone(), live.running.folder.clone());
                self.tasks.spawn(async move {
                    clear::container(&context.runc, &context.config.cgroup, &id, &folder).await;
                });
                self.ended(at, ended);
            }
            Signal::HookFailed(id, why) => {
                let Some(member) = self.members.iter().find(|member| member.running() == Some(&id)) else {
                    return;
                };
                let name = member.name().to_owned();
                self.context.events.warning(
                    &self.pod,
                    Some(&name),
                    "FailedPostStartHook",
                    format!("PostStartHook failed: {why}"),
                );
                self.stop(&name, "FailedPostStartHook", self.grace());
            }
        }
    }

    /// Takes note of an end, and of the pause before the next life.
    fn ended(&mut self, at: usize, ended: Ended) {
        let policy = self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.clone()).unwrap_or_default();
        let stopping = self.deleting() || self.failed.is_some();
        let member = &mut self.members[at];
        (member.started, member.ready, member.stopping) = (false, false, false);
        let well = ended.started.is_some_and(|started| {
            Duration::try_from(ended.finished.duration_since(started)).is_ok_and(|ran| ran > RAN_WELL)
        });
        if well {
            member.backoff.reset();
        }
        let again = match (member.role, policy.as_str()) {
            (Role::Ephemeral, _) => false,
            (Role::Sidecar, _) | (Role::Main, "Always" | "") => true,
            (Role::Init, "Never") | (Role::Main, "Never") => false,
            (Role::Init | Role::Main, _) => ended.code != 0,
        };
        if let State::Ended(before) = &member.state {
            member.last = Some(before.clone());
        }
        // The first time it is started again at once.
        if again && !stopping && member.next_attempt > 1 && !well {
            let pause = member.backoff.pause();
            member.not_before = Some(Instant::now() + pause);
            let message = format!(
                "back-off {}s restarting failed container={} pod={}_{}",
                pause.as_secs_f32(),
                member.name(),
                self.pod.metadata.name.as_deref().unwrap_or_default(),
                self.pod.metadata.namespace.as_deref().unwrap_or_default()
            );
            let name = member.name().to_owned();
            self.context.events.warning(&self.pod, Some(&name), "BackOff", message.clone());
            member.last = Some(ended);
            member.state = State::Waiting { reason: "CrashLoopBackOff", message: Some(message) };
        } else {
            member.state = State::Ended(ended);
        }
    }

    fn report(&mut self, report: probes::Report) {
        let running = Some(&report.running);
        let Some(member) = self.members.iter_mut().find(|member| member.running() == running) else { return };
        let (name, kind) = (member.name().to_owned(), report.kind);
        let word = match kind {
            Kind::Startup => "Startup",
            Kind::Readiness => "Readiness",
            Kind::Liveness => "Liveness",
        };
        match (report.verdict, kind) {
            (Verdict::Passed, Kind::Startup) => {
                member.started = true;
                member.ready = member.container.readiness_probe.is_none();
            }
            (Verdict::Passed, Kind::Readiness) => member.ready = member.started,
            (Verdict::Passed, Kind::Liveness) => {}
            (Verdict::Missed(why), _) => {
                let message = format!("{word} probe failed: {why}");
                self.context.events.warning(&self.pod, Some(&name), "Unhealthy", message);
            }
            (Verdict::Failed(why), _) => {
                let probe = match kind {
                    Kind::Startup => member.container.startup_probe.as_ref(),
                    Kind::Readiness => None,
                    Kind::Liveness => member.container.liveness_probe.as_ref(),
                };
                let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
                member.ready = false;
                let message = format!("{word} probe failed: {why}");
                self.context.events.warning(&self.pod, Some(&name), "Unhealthy", message);
                if kind != Kind::Readiness {
                    let grace =
                        own.map_or_else(|| self.grace(), |own| Duration::from_secs(own.unsigned_abs()));
                    let word = word.to_lowercase();
                    self.stop(&name, &format!("failed {word} probe, will be restarted"), grace);
                }
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

    /// Stops what runs: sidecars after the others. When nothing does, gives everything back.
    async fn end(&mut self) -> Option<Instant> {
        let others =
            self.members.iter().any(|member| member.role != Role::Sidecar && member.running().is_some());
        let now: Vec<String> = self
            .members
            .iter()
            .filter(|member| member.running().is_some() && !member.stopping)
            .filter(|member| !others || member.role != Role::Sidecar)
            .map(|member| member.name().to_owned())
            .collect();
        for name in now {
            self.stop(&name, "", self.grace());
        }
        if !self.lives.is_empty() {
            return None;
        }
        for member in &mut self.members {
            if let (State::Waiting { .. }, Some(last)) = (&member.state, member.last.clone()) {
                member.state = State::Ended(last);
            }
        }
        self.release().await;
        if self.deleting() {
            self.over = true;
        }
        None
    }

    fn stop(&mut self, name: &str, why: &str, grace: Duration) {
        let Some(member) = self.members.iter_mut().find(|member| member.name() == name) else { return };
        let Some(live) = member.running().and_then(|id| self.lives.get(id)) else { return };
        if member.stopping {
            return;
        }
        member.stopping = true;
        let message = match why {
            "" => format!("Stopping container {name}"),
            why => format!("Container {name} {why}"),
        };
        self.context.events.normal(&self.pod, Some(name), "Killing", message);
        let order = stop::Order {
            pod: self.pod.clone(),
            container: member.container.clone(),
            running: live.running.clone(),
            address: self.sandbox.as_ref().and_then(|sandbox| sandbox.ips.first().copied()),
            grace,
            ended: live.ended.subscribe(),
        };
        self.tasks.spawn(stop::stop(self.context.clone(), order));
    }

    /// Gives back network and volumes; nothing runs any more.
    async fn release(&mut self) {
        self.keepers.shutdown().await;
        while self.tasks.join_next().await.is_some() {}
        if let Some(sandbox) = self.sandbox.take() {
            sandbox.destroy(&self.context.chain, &self.context.paths).await;
        }
        self.volumes = None;
        if let Err(error) = mounts::remove(&self.context.paths.pod(&self.entry.uid)) {
            tracing::warn!(uid = self.entry.uid, %error, "a pod left something behind");
        }
    }

    /// Takes the pod out of everybody's sight.
    async fn leave(&mut self) {
        self.release().await;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let meta = &self.pod.metadata;
        self.context.registry.remove(&text(&meta.namespace), &text(&meta.name), &self.entry.uid);
        let links = std::fs::read_dir(self.context.paths.log_links()).into_iter().flatten().flatten();
        let own = format!("{}_{}_", text(&meta.name), text(&meta.namespace));
        for link in links.filter(|link| link.file_name().to_string_lossy().starts_with(&own)) {
            let _ = std::fs::remove_file(link.path());
        }
        let _ = std::fs::remove_dir_all(&self.entry.logs);
    }

    /// Shows what is: to the kubelet's API and, by the publisher, to the API server.
    fn tell(&mut self) {
        let around = Around {
            host_ip: self.context.config.node_address,
            ips: self.sandbox.as_ref().map(|sandbox| sandbox.ips.clone()).unwrap_or_default(),
            sandbox: self.sandbox.is_some(),
            since: self.since,
            failed: self.failed.clone(),
            now: jiff::Timestamp::now(),
        };
        let status = status::status(&self.pod, &self.members, &around, &self.conditions);
        self.conditions = status.conditions.clone().unwrap_or_default();
        let mut pod = (*self.pod).clone();
        pod.status = Some(status.clone());
        let containers = self.members.iter().map(|member| {
            let live = member.running().and_then(|id| self.lives.get(id));
            let waiting = match &member.state {
                State::Waiting { reason, .. } => Some((*reason).to_owned()),
                _ => None,
            };
            let attempt = member.next_attempt.checked_sub(1);
            let running = live.map(|live| live.running.clone());
            (member.name().to_owned(), ContainerEntry { running, attempt, waiting })
        });
        let (containers, sandbox) = (containers.collect(), self.sandbox.as_ref());
        self.entry.update(|state| {
            state.pod = Arc::new(pod);
            state.netns = sandbox.and_then(|sandbox| sandbox.own.as_ref()).map(|own| own.netns.clone());
            state.networked = sandbox.is_some();
            state.containers = containers;
        });
        let status = Some(status);
        self.told.send_if_modified(|told| {
            let new = told.status != status;
            told.status = status;
            new
        });
    }

    fn facts(&self) -> Facts {
        Facts {
            host_ip: self.context.config.node_address,
            pod_ips: self.sandbox.as_ref().map(|sandbox| sandbox.ips.clone()).unwrap_or_default(),
            cpus: self.context.config.cpus,
            memory_gib: self.context.config.memory_gib,
        }
    }

    /// Whose processes a container sees: an ephemeral one those of its target; with a shared
    /// namespace the pod's first container leads.
    fn pid_namespace(&self, container: &k8s_openapi::api::core::v1::Container) -> PidNamespace {
        let spec = self.pod.spec.as_ref();
        if spec.and_then(|spec| spec.host_pid) == Some(true) {
            return PidNamespace::Host;
        }
        let pid = |name: &str| {
            let member = self.members.iter().find(|member| member.name() == name)?;
            Some(self.lives.get(member.running()?)?.running.pid)
        };
        let ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_ref()).into_iter().flatten();
        let target = ephemeral
            .filter(|one| one.name == container.name)
            .find_map(|one| one.target_container_name.clone());
        let shared = spec.and_then(|spec| spec.share_process_namespace) == Some(true);
        let leader = || self.members.iter().filter(|_| shared).find_map(|member| pid(member.name()));
        let found = target.and_then(|target| pid(&target)).or_else(leader);
        found.map_or(PidNamespace::Own, PidNamespace::Of)
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

/// Counts on where a former podlet stopped.
fn recall(pod: &Pod, members: &mut [Member]) {
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

/// What a container left as its last words, or the end of its log if it asks for that.
fn last_words(
    running: &Running,
    code: i32,
    container: &k8s_openapi::api::core::v1::Container,
) -> Option<String> {
    let text = std::fs::read(running.folder.join(launch::LAST_WORDS_FILE)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..text.len().min(LAST_WORDS_MAX)]).into_owned();
    if !text.is_empty() {
        return Some(text);
    }
    let falls_back = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if !falls_back || code == 0 {
        return None;
    }
    let log = std::fs::read_to_string(&running.log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let from = lines.len().saturating_sub(80);
    let mut text = lines[from..].join("\n");
    while text.len() > LAST_WORDS_MAX / 2 {
        text.remove(0);
    }
    (!text.is_empty()).then_some(text)
}
