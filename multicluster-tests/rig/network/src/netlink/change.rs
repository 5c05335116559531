//! What can be asked of a network namespace, as values: how a person says it, and how the kernel reads it.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use nix::net::if_::if_nametoindex;

use super::message::Message;

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// One change in a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A pair of links: one end here, the other in another namespace.
    Veth { link: String, mac: Option<Mac>, peer: String, peer_mac: Option<Mac>, peer_namespace: PathBuf },
    /// A bridge.
    Bridge { link: String },
    /// Makes a link a port of a bridge.
    Port { link: String, bridge: String },
    /// Switches a link on or off.
    Switch { link: String, on: bool },
    /// Asks after a link, and so lets the kernel act on what it has noticed of it (since Linux 6.8 before it
    /// answers): a link whose carrier has just come sends only after that.
    Settle { link: String },
    /// Removes a link, and with it the other end of a pair.
    Delete { link: String },
    /// Gives a link an address.
    Address { link: String, address: Ipv4Net },
    /// Sets where packets go.
    Route(Route),
    /// Sets who has an address on a link for ever, so that nobody asks.
    Neighbour { link: String, address: Ipv4Addr, mac: Mac },
    /// Lets another table decide where packets go that came in by a link.
    Rule { link: String, table: u32 },
}

/// Where packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) to: Ipv4Net,
    pub(crate) way: Way,
    /// The address that programs here send from, unless they choose.
    pub(crate) source: Option<Ipv4Addr>,
    /// None is the main table.
    pub(crate) table: Option<u32>,
}

/// How a route gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The receiver is on this link.
    Link(String),
    /// Through this router, which a link reaches already.
    Via(Ipv4Addr),
    /// Through one of these routers, chosen by connection.
    Spread(Vec<Ipv4Addr>),
    /// Nowhere: whoever sends is told at once.
    Unreachable,
    /// As the next table says.
    Throw,
}

impl Route {
    /// A route in the main table.
    pub(crate) fn new(to: Ipv4Net, way: Way) -> Route {
        Route { to, way, source: None, table: None }
    }
}

impl Change {
    /// The request, and descriptors that must live until it is answered.
    pub(super) fn message(&self) -> io::Result<(Message, Option<File>)> {
        let plain = |message| Ok((message, None));
        match self {
            Change::Veth { link, mac, peer, peer_mac, peer_namespace } => {
                let namespace = File::open(peer_namespace)?;
                let message = veth((link, *mac), (peer, *peer_mac), &namespace);
                Ok((message, Some(namespace)))
            }
            Change::Bridge { link } => plain(
                Message::new(libc::RTM_NEWLINK, CREATE)
                    .body(&[&link_body(0, None)])
                    .name(IFLA_IFNAME, link)
                    .nested(IFLA_LINKINFO, |info| info.name(IFLA_INFO_KIND, "bridge")),
            ),
            Change::Port { link, bridge } => plain(
                Message::new(libc::RTM_NEWLINK, ASK)
                    .body(&[&link_body(index(link)?, None)])
                    .attribute(IFLA_MASTER, &index(bridge)?.to_ne_bytes()),
            ),
            Change::Switch { link, on } => {
                plain(Message::new(libc::RTM_NEWLINK, ASK).body(&[&link_body(index(link)?, Some(*on))]))
            }
            Change::Settle { link } => {
                plain(Message::new(libc::RTM_GETLINK, ASK).body(&[&link_body(index(link)?, None)]))
            }
            Change::Delete { link } => {
                plain(Message::new(libc::RTM_DELLINK, ASK).body(&[&link_body(index(link)?, None)]))
            }
            Change::Address { link, address } => plain(
                Message::new(libc::RTM_NEWADDR, REPLACE)
                    .body(&[&[INET, address.prefix_len(), 0, 0], &index(link)?.to_ne_bytes()])
                    .attribute(IFA_LOCAL, &address.addr().octets())
                    .attribute(IFA_ADDRESS, &address.addr().octets()),
            ),
            Change::Route(route) => plain(route.message()?),
            Change::Neighbour { link, address, mac } => plain(
                Message::new(libc::RTM_NEWNEIGH, REPLACE)
                    .body(&[
                        &[INET, 0, 0, 0],
                        &index(link)?.to_ne_bytes(),
                        &NUD_PERMANENT.to_ne_bytes(),
                        &[0, 0],
                    ])
                    .attribute(NDA_DST, &address.octets())
                    .attribute(NDA_LLADDR, mac),
            ),
            Change::Rule { link, table } => plain(
                Message::new(libc::RTM_NEWRULE, CREATE)
                    .body(&[&[INET, 0, 0, 0, 0, 0, 0, FR_ACT_TO_TBL], &[0; 4]])
                    .name(FRA_IIFNAME, link)
                    .attribute(FRA_TABLE, &table.to_ne_bytes()),
            ),
        }
    }
}

impl Route {
    fn message(&self) -> io::Result<Message> {
        let scope =
            if matches!(self.way, Way::Link(_)) { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
        let kind = match self.way {
            Way::Unreachable => libc::RTN_UNREACHABLE,
            Way::Throw => libc::RTN_THROW,
            Way::Link(_) | Way::Via(_) | Way::Spread(_) => libc::RTN_UNICAST,
        };
        let table = self.table.unwrap_or(u32::from(libc::RT_TABLE_MAIN));
        let mut message = Message::new(libc::RTM_NEWROUTE, REPLACE)
            .body(&[
                &[INET, self.to.prefix_len(), 0, 0],
                // Tables above 255 do not fit here; the attribute has them all.
                &[libc::RT_TABLE_UNSPEC, libc::RTPROT_STATIC, scope, kind],
                &[0; 4],
            ])
            .attribute(RTA_TABLE, &table.to_ne_bytes())
            .attribute(RTA_DST, &self.to.network().octets());
        if let Some(source) = self.source {
            message = message.attribute(RTA_PREFSRC, &source.octets());
        }
        Ok(match &self.way {
            Way::Link(link) => message.attribute(RTA_OIF, &index(link)?.to_ne_bytes()),
            Way::Via(router) => message.attribute(RTA_GATEWAY, &router.octets()),
            Way::Spread(routers) => message.attribute(RTA_MULTIPATH, &next_hops(routers)),
            Way::Unreachable | Way::Throw => message,
        })
    }
}

/// `struct rtnexthop` with a gateway, once for each router.
fn next_hops(routers: &[Ipv4Addr]) -> Vec<u8> {
    const NEXT_HOP_LEN: u16 = 16;
    const GATEWAY_LEN: u16 = 8;
    let mut bytes = Vec::new();
    for router in routers {
        bytes.extend_from_slice(&NEXT_HOP_LEN.to_ne_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&GATEWAY_LEN.to_ne_bytes());
        bytes.extend_from_slice(&RTA_GATEWAY.to_ne_bytes());
        bytes.extend_from_slice(&router.octets());
    }
    bytes
}

fn veth(here: (&str, Option<Mac>), there: (&str, Option<Mac>), namespace: &File) -> Message {
    let end = |mut message: Message, (name, mac): (&str, Option<Mac>)| {
        if let Some(mac) = mac {
            message = message.attribute(IFLA_ADDRESS, &mac);
        }
        message.name(IFLA_IFNAME, name)
    };
    let message = end(Message::new(libc::RTM_NEWLINK, CREATE).body(&[&link_body(0, None)]), here);
    message.nested(IFLA_LINKINFO, |info| {
        info.name(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, |data| {
            data.nested(VETH_INFO_PEER, |peer| {
                end(peer.body(&[&link_body(0, None)]), there)
                    .attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes())
            })
        })
    })
}

/// `struct ifinfomsg`; `switch` sets or clears IFF_UP.
fn link_body(index: u32, switch: Option<bool>) -> [u8; 16] {
    let up = libc::IFF_UP as u32;
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    if let Some(on) = switch {
        body[8..12].copy_from_slice(&(if on { up } else { 0 }).to_ne_bytes());
        body[12..16].copy_from_slice(&up.to_ne_bytes());
    }
    body
}

fn index(link: &str) -> io::Result<u32> {
    Ok(if_nametoindex(link)?)
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Veth { link, peer, peer_namespace, .. } => {
                write!(f, "link add {link} type veth peer name {peer} netns {}", peer_namespace.display())
            }
            Change::Bridge { link } => write!(f, "link add {link} type bridge"),
            Change::Port { link, bridge } => write!(f, "link set {link} master {bridge}"),
            Change::Switch { link, on } => write!(f, "link set {link} {}", if *on { "up" } else { "down" }),
            Change::Settle { link } => write!(f, "link show {link}"),
            Change::Delete { link } => write!(f, "link delete {link}"),
            Change::Address { link, address } => write!(f, "addr replace {address} dev {link}"),
            Change::Route(route) => write!(f, "{route}"),
            Change::Neighbour { link, address, .. } => write!(f, "neigh replace {address} dev {link}"),
            Change::Rule { link, table } => write!(f, "rule add iif {link} lookup {table}"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.to;
        match &self.way {
            Way::Link(link) => write!(f, "route replace {to} dev {link}")?,
            Way::Via(router) => write!(f, "route replace {to} via {router}")?,
            Way::Spread(routers) => {
                write!(f, "route replace {to}")?;
                routers.iter().try_for_each(|router| write!(f, " nexthop via {router}"))?;
            }
            Way::Unreachable => write!(f, "route replace unreachable {to}")?,
            Way::Throw => write!(f, "route replace throw {to}")?,
        }
        if let Some(table) = self.table {
            write!(f, " table {table}")?;
        }
        Ok(())
    }
}

// Numbers of the kernel's interface: linux/netlink.h, rtnetlink.h, if_link.h, if_addr.h, neighbour.h,
// fib_rules.h, veth.h.
const INET: u8 = libc::AF_INET as u8;
const ASK: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
const CREATE: u16 = ASK | (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const REPLACE: u16 = ASK | (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const FR_ACT_TO_TBL: u8 = 1;
const FRA_IIFNAME: u16 = 3;
const FRA_TABLE: u16 = 15;
