//! Orders to the WAN while it runs: JSON, a line each way, on a Unix socket.
//!
//! ```text
//! > {"set":{"from":1,"to":2,"shape":{"delay_us":25000,"loss":0.01}}}
//! < "done"
//! > "show"
//! < {"ways":[{"from":1,"to":2,"shape":{…},"counts":{"delivered":7,…}}]}
//! ```

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::engine::Orders;
use super::shape::Shape;
use super::switch::Way;

/// How long an order or an answer may be, in bytes.
const LINE_LEN_MAX: u64 = 64 * 1024;
/// How many may give orders at a time.
const CONNECTIONS_MAX: usize = 16;
/// How long one who has connected may be silent.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer may take, and how long one waits for an emulator that is about to start.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is tried to connect meanwhile.
const CONNECT_PERIOD: Duration = Duration::from_millis(10);

/// An order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Ask {
    /// Set how packets fare in one direction.
    Set { from: u8, to: u8, shape: Shape },
    /// Tell all directions.
    Show,
}

/// What became of an order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Answer {
    Done,
    Ways(Vec<Way>),
    Refused(String),
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The emulator is not there, or silent.
    #[error("the WAN's emulator does not answer on {} (is the rig up, and its program wan running?)", socket.display())]
    Silent {
        /// Where it should listen.
        socket: PathBuf,
        /// Why it is not reached.
        #[source]
        cause: io::Error,
    },
    /// It refuses.
    #[error("the WAN refuses: {0}")]
    Refused(String),
}

/// Gives orders to a WAN that runs in another process.
#[derive(Clone, Debug)]
pub struct Control {
    socket: PathBuf,
}

impl Control {
    /// The WAN that listens on this socket: [`crate::Plan::wan_socket`].
    pub fn at(socket: &Path) -> Control {
        Control { socket: socket.to_owned() }
    }

    /// Sets how packets fare from one cluster to another. When this returns, no packet fares otherwise.
    pub fn set(&self, from: u8, to: u8, shape: &Shape) -> Result<(), ControlError> {
        match self.ask(&Ask::Set { from, to, shape: shape.clone() })? {
            Answer::Done => Ok(()),
            Answer::Refused(why) => Err(ControlError::Refused(why)),
            Answer::Ways(_) => Err(self.silent(io::Error::other("it answers another question"))),
        }
    }

    /// All directions: how packets fare and what became of them.
    pub fn show(&self) -> Result<Vec<Way>, ControlError> {
        match self.ask(&Ask::Show)? {
            Answer::Ways(ways) => Ok(ways),
            Answer::Refused(why) => Err(ControlError::Refused(why)),
            Answer::Done => Err(self.silent(io::Error::other("it answers another question"))),
        }
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, ControlError> {
        self.exchange(ask).map_err(|cause| self.silent(cause))
    }

    fn exchange(&self, ask: &Ask) -> io::Result<Answer> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(format!("{}\n", serde_json::to_string(ask)?).as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream.take(LINE_LEN_MAX)).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            match UnixStream::connect(&self.socket) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
                        && Instant::now() < deadline =>
                {
                    std::thread::sleep(CONNECT_PERIOD);
                }
                other => return other,
            }
        }
    }

    fn silent(&self, cause: io::Error) -> ControlError {
        ControlError::Silent { socket: self.socket.clone(), cause }
    }
}

/// Takes orders from whoever connects, for ever.
pub(super) async fn take_orders(listener: &UnixListener, orders: &Orders) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
        // A connection that fails before it is one concerns nobody else.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let orders = orders.clone();
        tokio::spawn(async move {
            // Who goes away in the middle hears nothing more.
            let _ = converse(stream, &orders).await;
            drop(place);
        });
    }
}

async fn converse(stream: tokio::net::UnixStream, orders: &Orders) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = tokio::io::BufReader::new(reader);
    loop {
        let mut line = String::new();
        let mut bounded = (&mut reader).take(LINE_LEN_MAX);
        if timeout(IDLE_TIMEOUT, bounded.read_line(&mut line)).await?? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str(&line) {
            Err(error) => Answer::Refused(format!("this is no order: {error}")),
            Ok(ask) => match orders.give(ask).await {
                Some(answer) => answer,
                None => return Ok(()),
            },
        };
        let text = format!("{}\n", serde_json::to_string(&answer)?);
        timeout(IDLE_TIMEOUT, writer.write_all(text.as_bytes())).await??;
    }
}
