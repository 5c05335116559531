//! Carries packets: reads them from the device, holds them until they are due, writes them back.
//!
//! One thread does nothing else, so that a packet waits for the clock alone. Orders come to it between packets:
//! when one is answered, no packet is treated by the old order any more.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::control::{self, Answer, Ask};
use super::direction::Fate;
use super::switch::Switch;
use super::tun;
use crate::layout::WAN_LINK;
use crate::namespace::Namespace;
use crate::plan::Plan;
use crate::running;

/// The largest IPv4 packet.
const PACKET_LEN_MAX: usize = 65_535;
/// How many packets are read before those that are due have their turn.
const BATCH: usize = 64;
/// Seeds chance where nobody asked for another seed.
const SEED: u64 = 5;
/// The engine's thread is served before others: a late packet would be a fault that nobody asked for.
const NICE: libc::c_int = -10;

/// Why there is no WAN any more.
#[derive(Debug, thiserror::Error)]
pub enum WanError {
    /// The device is not there or taken.
    #[error("cannot open the WAN's device {WAN_LINK} in the namespace {namespace}")]
    Device {
        /// Where it should be.
        namespace: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Nobody could give orders.
    #[error("cannot listen for orders on {}", socket.display())]
    Listen {
        /// Where.
        socket: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Packets cannot be carried any more.
    #[error("the WAN's device fails")]
    Carry(#[source] io::Error),
}

/// An order under way to the engine.
pub(super) struct Order {
    pub(super) ask: Ask,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Gives orders to the engine; it ends when all of these are gone.
#[derive(Clone)]
pub(super) struct Orders {
    sender: Sender<Order>,
    bell: Arc<Bell>,
}

/// Wakes the engine, at the latest when nobody is left who could ring.
struct Bell(EventFd);

impl Drop for Bell {
    fn drop(&mut self) {
        let _ = self.0.write(1);
    }
}

impl Orders {
    /// The engine's answer; none if it has ended.
    pub(super) async fn give(&self, ask: Ask) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.sender.send(Order { ask, answer }).ok()?;
        // It fails only when so many rings are unheard that one more makes no difference.
        let _ = self.bell.0.write(1);
        answered.await.ok()
    }
}

/// Carries the packets between a plan's clusters and takes orders on its WAN socket, until it fails.
pub async fn serve(plan: &Plan) -> Result<(), WanError> {
    serve_seeded(plan, SEED).await
}

/// As [`serve`], with chance seeded by the caller: the same packets in the same order fare alike.
pub async fn serve_seeded(plan: &Plan, seed: u64) -> Result<(), WanError> {
    let namespace = plan.wan_namespace();
    let opened = Namespace::named(&namespace).enter(|| {
        let device = tun::open(WAN_LINK)?;
        running::wait(&[WAN_LINK])?;
        Ok(device)
    });
    let device = opened.and_then(|opened| opened).map_err(|cause| WanError::Device { namespace, cause })?;
    let socket = plan.wan_socket();
    let listener = listen(&socket).map_err(|cause| WanError::Listen { socket, cause })?;
    let (orders, mut ended) = start(device, Switch::new(plan, seed)).map_err(WanError::Carry)?;
    tokio::select! {
        end = &mut ended => {
            Err(WanError::Carry(end.unwrap_or_else(|_| io::Error::other("the engine's thread ended"))))
        }
        () = control::take_orders(&listener, &orders) => Ok(()),
    }
}

fn listen(socket: &PathBuf) -> io::Result<UnixListener> {
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(socket)
}

/// Starts the engine. It tells by the second value why it ended.
fn start(device: File, switch: Switch) -> io::Result<(Orders, oneshot::Receiver<io::Error>)> {
    let (sender, receiver) = channel();
    let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
    let heard = bell.as_fd().try_clone_to_owned()?;
    let (end, ended) = oneshot::channel();
    thread::Builder::new().name("wan".to_owned()).spawn(move || {
        // SAFETY: 0 is this thread. Without the right to it we are merely less punctual.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        if let Err(error) = carry(device, switch, &receiver, File::from(heard)) {
            let _ = end.send(error);
        }
    })?;
    Ok((Orders { sender, bell: Arc::new(Bell(bell)) }, ended))
}

fn carry(mut device: File, mut switch: Switch, orders: &Receiver<Order>, mut bell: File) -> io::Result<()> {
    let mut buffer = vec![0; PACKET_LEN_MAX];
    loop {
        if !obey(&mut switch, orders) {
            return Ok(());
        }
        let now = Instant::now();
        while let Some(packet) = switch.due(now) {
            deliver(&mut device, &packet)?;
        }
        let drained = take_in(&mut device, &mut switch, &mut buffer)?;
        if drained {
            wait(&device, &bell, switch.next())?;
            // Reading it silences it; when nobody rang there is nothing to read.
            let _ = bell.read(&mut [0; 8]);
        }
    }
}

/// Reads packets until there are none, or a batch is full; true if there are none.
fn take_in(device: &mut File, switch: &mut Switch, buffer: &mut [u8]) -> io::Result<bool> {
    for _ in 0..BATCH {
        let len = match device.read(buffer) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if switch.offer(Instant::now(), &buffer[..len]) == Fate::Arrives {
            deliver(device, &buffer[..len])?;
        }
    }
    Ok(false)
}

/// Carries out what was ordered; false when nobody can order any more.
fn obey(switch: &mut Switch, orders: &Receiver<Order>) -> bool {
    loop {
        match orders.try_recv() {
            Ok(Order { ask, answer }) => {
                // Who asked may have gone.
                let _ = answer.send(carry_out(switch, ask));
            }
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}

fn carry_out(switch: &mut Switch, ask: Ask) -> Answer {
    match ask {
        Ask::Show => Answer::Ways(switch.ways()),
        Ask::Set { from, to, shape } => match shape.check() {
            Err(error) => Answer::Refused(error.to_string()),
            Ok(()) if switch.reshape(Instant::now(), from, to, shape) => Answer::Done,
            Ok(()) => Answer::Refused(format!("there is no way from c{from} to c{to}")),
        },
    }
}

fn deliver(device: &mut File, packet: &[u8]) -> io::Result<()> {
    match device.write(packet) {
        // The kernel takes whole packets. Short of memory, or with the link off, it takes none: lost, as anywhere.
        Ok(_) => Ok(()),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EAGAIN | libc::ENOBUFS | libc::EINVAL | libc::EIO)
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Waits for a packet, an order, or the time of the next arrival.
fn wait(device: &File, bell: &File, until: Option<Instant>) -> io::Result<()> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    if left == Some(Duration::ZERO) {
        return Ok(());
    }
    let timeout = left.map(|left| libc::timespec {
        tv_sec: left.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(left.subsec_nanos()),
    });
    let readable = |file: &File| libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut files = [readable(device), readable(bell)];
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: two valid entries, a timeout that is null or valid, no signal mask.
    let code = unsafe { libc::ppoll(files.as_mut_ptr(), 2, timeout, std::ptr::null()) };
    let error = io::Error::last_os_error();
    if code < 0 && error.kind() != ErrorKind::Interrupted { Err(error) } else { Ok(()) }
}
