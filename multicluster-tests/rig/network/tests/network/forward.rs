//! The way in from the machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rig_network::{Namespace, Reach, forward};

use crate::place::{Place, TIMEOUT};

#[test]
fn a_port_of_loopback_leads_to_a_server_inside_both_ways_and_to_its_end() {
    let Some(place) = Place::build(1, 1, Reach::Separate) else { return };
    let inside = place.control_plane(1).tcp_listen("0.0.0.0:0".parse().unwrap()).unwrap();
    let to = SocketAddr::from(([10, 51, 0, 2], inside.local_addr().unwrap().port()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outside = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = outside.local_addr().unwrap();
    outside.set_nonblocking(true).unwrap();
    let namespace = Namespace::named(&place.plan.cluster(1).unwrap().control_plane_namespace());
    std::thread::spawn(move || {
        runtime.block_on(async {
            let outside = tokio::net::TcpListener::from_std(outside).unwrap();
            forward::serve_on(outside, namespace, to).await;
        });
    });
    let mut caller = TcpStream::connect(port).unwrap();
    caller.set_read_timeout(Some(TIMEOUT)).unwrap();
    let (mut server, _) = inside.accept().unwrap();
    server.set_read_timeout(Some(TIMEOUT)).unwrap();
    caller.write_all(b"question").unwrap();
    caller.shutdown(std::net::Shutdown::Write).unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "question");
    server.write_all(b"answer").unwrap();
    drop(server);
    heard.clear();
    caller.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "answer");
}
