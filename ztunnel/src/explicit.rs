//! A workload's explicit proxy: SOCKS5, HTTP CONNECT and plain HTTP in absolute form, on one port.
//!
//! There is no namespace that proves who calls, so the caller shows its workload's token, and, where the workload
//! names a uid, the process at the other end must have it. The parsing is in `socks`, `http` and `body`, pure.

mod body;
pub(crate) mod config;
mod exchange;
mod http;
mod inbox;
mod socks;
mod token;

use std::{sync::Arc, time::Duration};

use mesh::{
    Denial, Reason,
    hop::Destination,
    names::WorkloadUid,
    resource::{ExplicitProxy, Placement},
};
use tokio::time::timeout;
use transport::{Socket, Stream, owner::peer_uid};

use crate::{
    connections::Direction,
    node::Node,
    outbound::{self, Failed, Made},
    report::{Outcome, Party, denied},
};
pub use config::Config;
use inbox::{Inbox, InboxError};

/// Bytes of a refused client that are still read.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// How long they are read.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves one connection of an application.
pub(crate) async fn serve(node: Arc<Node>, workload: WorkloadUid, socket: Socket) {
    let Some(proxy) =
        node.world.load().snapshot.placement(&workload).and_then(|it: &Arc<Placement>| it.proxy.clone())
    else {
        return;
    };
    if let Err(denial) = owned(&socket, proxy.uid) {
        refuse(&node, &workload, denial);
        return socket.reset();
    }
    let mut inbox = Inbox::new(socket.into());
    let greeted = timeout(node.explicit.head_timeout, async {
        match inbox.first().await? {
            socks::VERSION => socks(&node, &workload, &proxy, &mut inbox).await,
            _ => http(&node, &workload, &proxy, &mut inbox).await,
        }
    });
    match greeted.await {
        Ok(Ok(Some(asked))) => go(&node, &workload, asked, inbox.into_stream()).await,
        // It was answered with a refusal.
        Ok(Ok(None)) => linger(inbox.into_stream()).await,
        Ok(Err(InboxError::Gone)) => {}
        Ok(Err(InboxError::TooLarge)) => refuse(&node, &workload, too_much("it says too much")),
        Err(_) => refuse(&node, &workload, too_much("it took too long to say what it wants")),
    }
}

fn too_much(why: &str) -> Denial {
    Denial::plain(Reason::TooMuch, why)
}

/// What a client asked for, and how it is answered.
struct Asked {
    to: Destination,
    answer: Answer,
}

/// In which protocol the answer is.
enum Answer {
    Socks,
    Connect,
    Exchange { head: Vec<u8>, body: body::Body },
}

fn owned(socket: &Socket, uid: Option<u32>) -> Result<(), Denial> {
    let Some(uid) = uid else { return Ok(()) };
    match peer_uid(socket) {
        Ok(found) if found == uid => Ok(()),
        Ok(found) => Err(Denial::plain(Reason::WrongUid, format!("only uid {uid} may, got {found}"))),
        Err(error) => Err(Denial::plain(
            Reason::WrongUid,
            format!("only uid {uid} may, and whose it is is unknown: {error}"),
        )),
    }
}

fn wrong_token(workload: &WorkloadUid) -> Denial {
    Denial::plain(Reason::WrongToken, format!("the token of {workload} is missing or wrong"))
}

async fn socks(
    node: &Node,
    workload: &WorkloadUid,
    proxy: &ExplicitProxy,
    inbox: &mut Inbox,
) -> Result<Option<Asked>, InboxError> {
    let malformed = |error: socks::SocksError| Denial::plain(Reason::Malformed, error.to_string());
    match inbox.read(socks::greeting).await? {
        Ok(true) => inbox.write(&socks::SEND_PASSWORD).await?,
        Ok(false) => {
            refuse(node, workload, wrong_token(workload));
            inbox.write(&socks::NO_METHOD).await?;
            return Ok(None);
        }
        Err(error) => {
            refuse(node, workload, malformed(error));
            return Ok(None);
        }
    }
    match inbox.read(socks::password).await? {
        Ok(password) if token::fits(&password, &proxy.token_sha256) => {
            inbox.write(&socks::PASSWORD_GOOD).await?;
        }
        Ok(_) | Err(_) => {
            refuse(node, workload, wrong_token(workload));
            inbox.write(&socks::PASSWORD_BAD).await?;
            return Ok(None);
        }
    }
    match inbox.read(socks::request).await? {
        Ok(to) => Ok(Some(Asked { to, answer: Answer::Socks })),
        Err(error) => {
            refuse(node, workload, malformed(error));
            let reply = match error {
                socks::SocksError::Command => socks::Reply::NoSuchCommand,
                socks::SocksError::AddressType => socks::Reply::NoSuchAddress,
                _ => socks::Reply::Failure,
            };
            inbox.write(&reply.bytes()).await?;
            Ok(None)
        }
    }
}

async fn http(
    node: &Node,
    workload: &WorkloadUid,
    proxy: &ExplicitProxy,
    inbox: &mut Inbox,
) -> Result<Option<Asked>, InboxError> {
    let head = match inbox.read(http::head).await? {
        Ok(head) => head,
        Err(error) => {
            let (reason, status, phrase) = match error {
                http::HeadError::TooLarge => (Reason::TooMuch, 431, "Request Header Fields Too Large"),
                _ => (Reason::Malformed, 400, "Bad Request"),
            };
            refuse(node, workload, Denial::plain(reason, error.to_string()));
            inbox.write(&answer(status, phrase, None, &error.to_string())).await?;
            return Ok(None);
        }
    };
    if !head.token.is_some_and(|found| token::fits(&found, &proxy.token_sha256)) {
        refuse(node, workload, wrong_token(workload));
        let asks = "proxy-authenticate: Basic realm=\"strait\"\r\n";
        inbox
            .write(&answer(407, "Proxy Authentication Required", Some(asks), "show this workload's token"))
            .await?;
        return Ok(None);
    }
    let answer = match head.asks {
        http::Asks::Connect => Answer::Connect,
        http::Asks::Exchange { head, body } => Answer::Exchange { head, body },
    };
    Ok(Some(Asked { to: head.to, answer }))
}

/// Makes the connection, answers, relays.
async fn go(node: &Node, workload: &WorkloadUid, asked: Asked, mut application: Stream) {
    let _guard = node.drain.guard();
    let made = outbound::make(node, workload, asked.to).await;
    let words = match (&made, &asked.answer) {
        (Ok(_), Answer::Socks) => socks::Reply::Succeeded.bytes().to_vec(),
        (Ok(_), Answer::Connect) => b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(),
        (Ok(_), Answer::Exchange { .. }) => Vec::new(),
        (Err(failed), Answer::Socks) => reply(failed).bytes().to_vec(),
        (Err(failed), Answer::Connect | Answer::Exchange { .. }) => refusal(failed),
    };
    let told = words.is_empty() || application.write_chunks([words.into()]).await.is_ok();
    match (made, asked.answer) {
        (Ok(made), _) if !told => gone(node, made),
        (Ok(made), Answer::Exchange { head, body }) => {
            exchange::run(node, made, application, head, body).await
        }
        (Ok(made), Answer::Socks | Answer::Connect) => made.relay(node, application).await,
        (Err(_), _) => linger(application).await,
    }
}

/// Ends a connection whose client was told why: who closes with unread bytes resets, and the client might never read
/// what it was told.
async fn linger(mut client: Stream) {
    let reading = async {
        // It may have gone already.
        if client.finish().await.is_err() {
            return;
        }
        let mut left = LINGER_BYTES_MAX;
        while let Ok(Some(chunk)) = client.read_chunk().await {
            match left.checked_sub(chunk.len()) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Whether it ended by itself makes no difference now.
    let _ = timeout(LINGER_TIMEOUT, reading).await;
}

/// The application went away while the connection was made.
fn gone(node: &Node, made: Made) {
    let (stream, guard, record) = made.into_parts();
    stream.reset();
    let cause = std::io::ErrorKind::BrokenPipe.into();
    let end = transport::relay::End::Failed { side: transport::relay::Side::First, cause };
    node.finish(&guard, record, &transport::Relayed { sent: 0, received: 0, end });
}

/// Reports a refusal before anything was asked for.
fn refuse(node: &Node, workload: &WorkloadUid, denial: Denial) {
    let mut record = node.report.begin(Direction::Outbound, "explicit proxy", None);
    // The port is the workload's; that its process calls is just what was not shown.
    record.source =
        Party { workload: node.world.load().snapshot.workload(workload).cloned(), identity: None };
    let refusal = node.report.refuse(&record, denial);
    node.report.ended(record, &Outcome::Refused(&refusal));
}

fn reply(failed: &Failed) -> socks::Reply {
    match failed {
        Failed::There { status: 401, .. } => socks::Reply::NotAllowed,
        Failed::There { .. } => socks::Reply::Refused,
        Failed::Here(refusal) => match http_status(refusal.denial.reason).0 {
            403 => socks::Reply::NotAllowed,
            404 | 504 => socks::Reply::HostUnreachable,
            502 => socks::Reply::Refused,
            _ => socks::Reply::Failure,
        },
    }
}

fn refusal(failed: &Failed) -> Vec<u8> {
    let ((status, phrase), said) = match failed {
        Failed::There { status: 401, denied } => ((403, "Forbidden"), denied.to_string()),
        Failed::There { denied, .. } => ((502, "Bad Gateway"), denied.to_string()),
        Failed::Here(refusal) => (http_status(refusal.denial.reason), denied(refusal)),
    };
    // What the other end said is text of a header already; a line end in it would begin another field.
    let said: String = said.chars().filter(|character| !character.is_control()).collect();
    answer(status, phrase, Some(&format!("x-strait-denied: {said}\r\n")), &said)
}

fn http_status(reason: Reason) -> (u16, &'static str) {
    match reason {
        Reason::UnknownDestination | Reason::UnknownPort => (404, "Not Found"),
        Reason::Malformed => (400, "Bad Request"),
        Reason::ControlPlaneSilent => (504, "Gateway Timeout"),
        Reason::Unreachable | Reason::DeliveryFailed | Reason::HandshakeFailed | Reason::WrongPeer => {
            (502, "Bad Gateway")
        }
        Reason::NoEndpoint
        | Reason::NoGateway
        | Reason::WaypointMissing
        | Reason::TooMuch
        | Reason::NoCertificate
        | Reason::Draining
        | Reason::NotBuilt => (503, "Service Unavailable"),
        _ => (403, "Forbidden"),
    }
}

fn answer(status: u16, phrase: &str, field: Option<&str>, text: &str) -> Vec<u8> {
    let field = field.unwrap_or_default();
    format!(
        "HTTP/1.1 {status} {phrase}\r\n{field}content-type: text/plain\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{text}\n",
        text.len() + 1
    )
    .into_bytes()
}
