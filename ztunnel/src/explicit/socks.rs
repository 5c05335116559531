//! SOCKS version 5 (RFC 1928) with user and password (RFC 1929): CONNECT only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use mesh::{Denial, Reason};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Asked, Form, Target, TokenHash, Turned, host};

/// The first byte of every message.
pub(super) const VERSION: u8 = 5;
const METHOD_PASSWORD: u8 = 2;
const METHOD_NONE: u8 = 0xff;
const PASSWORD_VERSION: u8 = 1;
const COMMAND_CONNECT: u8 = 1;
const ADDRESS_V4: u8 = 1;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_V6: u8 = 4;

/// What is answered to a request (RFC 1928, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Opened = 0,
    Failed = 1,
    NotAllowed = 2,
    HostUnreachable = 4,
    CommandUnknown = 7,
    AddressUnknown = 8,
}

impl Reply {
    /// The reply that says a refusal best.
    pub(super) fn of(reason: Reason) -> Self {
        match reason {
            Reason::ControlPlaneSilent
            | Reason::UnknownDestination
            | Reason::UnknownPort
            | Reason::NoEndpoint
            | Reason::NoGateway
            | Reason::Unreachable
            | Reason::DeliveryFailed => Self::HostUnreachable,
            Reason::TooMuch | Reason::Draining | Reason::NoCertificate => Self::Failed,
            _ => Self::NotAllowed,
        }
    }
}

/// A reply; the bound address is not told.
pub(super) fn reply(reply: Reply) -> [u8; 10] {
    [VERSION, reply as u8, 0, ADDRESS_V4, 0, 0, 0, 0, 0, 0]
}

/// Reads everything after the first byte.
pub(super) async fn ask<S>(client: &mut S, token: &TokenHash) -> Result<Asked, Turned>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let methods = counted(client).await?;
    if !methods.contains(&METHOD_PASSWORD) {
        answer(client, &[VERSION, METHOD_NONE]).await;
        return Err(Turned::wrong_token());
    }
    answer(client, &[VERSION, METHOD_PASSWORD]).await;
    if byte(client).await? != PASSWORD_VERSION {
        return Err(Turned::malformed("no SOCKS5 password request"));
    }
    let _user = counted(client).await?;
    let password = counted(client).await?;
    if !token.admits(std::str::from_utf8(&password).ok()) {
        answer(client, &[PASSWORD_VERSION, 1]).await;
        return Err(Turned::wrong_token());
    }
    answer(client, &[PASSWORD_VERSION, 0]).await;
    let mut head = [0; 4];
    exact(client, &mut head).await?;
    let [version, command, _, kind] = head;
    if version != VERSION {
        return Err(Turned::malformed("no SOCKS5 request"));
    }
    let target = match kind {
        ADDRESS_V4 => {
            let mut ip = [0; 4];
            exact(client, &mut ip).await?;
            address(Ipv4Addr::from(ip).into(), port(client).await?)
        }
        ADDRESS_V6 => {
            let mut ip = [0; 16];
            exact(client, &mut ip).await?;
            address(Ipv6Addr::from(ip).into(), port(client).await?)
        }
        ADDRESS_NAME => {
            let name = counted(client).await?;
            let port = port(client).await?;
            std::str::from_utf8(&name).ok().and_then(|name| host::of(name, port))
        }
        _ => None,
    };
    if command != COMMAND_CONNECT {
        answer(client, &reply(Reply::CommandUnknown)).await;
        return Err(Turned { denial: Denial::plain(Reason::NotBuilt, "of SOCKS5 only CONNECT is served") });
    }
    let Some(target) = target else {
        answer(client, &reply(Reply::AddressUnknown)).await;
        return Err(Turned::malformed("the destination is neither an address nor a name"));
    };
    Ok(Asked { target, first: Bytes::new(), form: Form::Socks })
}

fn address(ip: IpAddr, port: u16) -> Option<Target> {
    (port != 0).then(|| Target::Address(SocketAddr::new(ip, port)))
}

async fn port(client: &mut (impl AsyncRead + Unpin)) -> Result<u16, Turned> {
    let mut port = [0; 2];
    exact(client, &mut port).await?;
    Ok(u16::from_be_bytes(port))
}

/// A byte that says how many follow, and these.
async fn counted(client: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Turned> {
    let mut bytes = vec![0; byte(client).await?.into()];
    exact(client, &mut bytes).await?;
    Ok(bytes)
}

async fn byte(client: &mut (impl AsyncRead + Unpin)) -> Result<u8, Turned> {
    let mut byte = [0];
    exact(client, &mut byte).await?;
    Ok(byte[0])
}

async fn exact(client: &mut (impl AsyncRead + Unpin), bytes: &mut [u8]) -> Result<(), Turned> {
    client
        .read_exact(bytes)
        .await
        .map_err(|_| Turned::malformed("the client left in the middle of SOCKS5"))?;
    Ok(())
}

async fn answer(client: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    // A client that is gone is noticed at the next read.
    let _ = client.write_all(bytes).await;
}
