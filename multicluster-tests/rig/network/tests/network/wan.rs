//! The WAN as programs on both sides of it meet it, in figures.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rig_network::wan::{Control, Shape, serve_seeded};
use rig_network::{Namespace, Reach};

use crate::place::{Place, SILENCE, TIMEOUT, ip, whole};

/// Two clusters with a WAN that runs, and an echo in the second.
struct Wan {
    place: Place,
    control: Control,
    question: UdpSocket,
    echo: SocketAddr,
}

impl Wan {
    fn up(reach: Reach) -> Option<Wan> {
        let place = Place::build(2, 1, reach)?;
        let plan = place.plan.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            if let Err(error) = runtime.block_on(serve_seeded(&plan, 1)) {
                eprintln!("{}", whole(&error));
            }
        });
        let control = Control::at(&place.plan.wan_socket());
        control.show().unwrap();
        let server = place.node(2, 1).udp_bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let echo = SocketAddr::from(([10, 52, 0, 11], server.local_addr().unwrap().port()));
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((len, from)) = server.recv_from(&mut buffer) {
                let _ = server.send_to(&buffer[..len], from);
            }
        });
        let question = place.node(1, 1).udp_bind("0.0.0.0:0".parse().unwrap()).unwrap();
        question.set_read_timeout(Some(SILENCE)).unwrap();
        Some(Wan { place, control, question, echo })
    }

    fn both(&self, shape: &Shape) {
        self.control.set(1, 2, shape).unwrap();
        self.control.set(2, 1, shape).unwrap();
    }

    /// How long a question and its echo take; none if it does not come.
    fn round_trip(&self) -> Option<Duration> {
        let begin = Instant::now();
        self.question.send_to(b"?", self.echo).unwrap();
        self.question.recv_from(&mut [0; 16]).ok().map(|_| begin.elapsed())
    }
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_delay_of_25_ms_each_way_is_a_round_trip_of_50() {
    let Some(wan) = Wan::up(Reach::Flat) else { return };
    let mut plain: Vec<Duration> = (0..20).map(|_| wan.round_trip().unwrap()).collect();
    wan.both(&Shape { delay: milliseconds(25), ..Shape::default() });
    let mut took: Vec<Duration> = (0..20).map(|_| wan.round_trip().unwrap()).collect();
    plain.sort();
    took.sort();
    eprintln!(
        "round trips: {:?} plain, {:?} to {:?} with 25 ms each way, {:?} in the middle",
        plain[10], took[0], took[19], took[10]
    );
    assert!(took[0] >= milliseconds(50), "{took:?}");
    // On a machine that is busy with other things some are later, by no fault of the WAN's.
    assert!(took[5] <= milliseconds(52), "{took:?}");
    // One direction is nothing to the other.
    wan.control.set(2, 1, &Shape::default()).unwrap();
    let one_way = wan.round_trip().unwrap();
    assert!(one_way >= milliseconds(25) && one_way < milliseconds(50), "{one_way:?}");
}

#[test]
fn two_percent_lost_are_two_percent_lost() {
    let Some(wan) = Wan::up(Reach::Flat) else { return };
    const SENT: u32 = 5000;
    wan.control.set(1, 2, &Shape { loss: 0.02, ..Shape::default() }).unwrap();
    let mut echoed = 0;
    for number in 0..SENT {
        wan.question.send_to(&number.to_be_bytes(), wan.echo).unwrap();
        // A few under way at a time, so that no socket's buffer is the one that loses them.
        if number % 32 == 31 || number == SENT - 1 {
            wan.question.set_read_timeout(Some(milliseconds(20))).unwrap();
            while wan.question.recv_from(&mut [0; 16]).is_ok() {
                echoed += 1;
            }
        }
    }
    let way = wan.control.show().unwrap().into_iter().find(|way| way.from == 1).unwrap();
    eprintln!("{} of {SENT} were lost, {echoed} echoed; the WAN says {:?}", SENT - echoed, way.counts);
    assert!((60..=140).contains(&(SENT - echoed)), "{echoed} of {SENT} echoed");
    assert_eq!(way.counts.lost + way.counts.delivered, u64::from(SENT));
}

#[test]
fn a_partition_stops_everything_at_once_and_heals_at_once() {
    let Some(wan) = Wan::up(Reach::Flat) else { return };
    assert!(wan.round_trip().is_some());
    wan.both(&Shape { delay: milliseconds(50), ..Shape::default() });
    // This one is under way when the cable is cut.
    wan.question.send_to(b"?", wan.echo).unwrap();
    wan.control.set(1, 2, &Shape { partition: true, ..Shape::default() }).unwrap();
    wan.control.set(2, 1, &Shape::default()).unwrap();
    assert!(wan.question.recv_from(&mut [0; 16]).is_err(), "what was under way is gone");
    assert!(wan.round_trip().is_none());
    wan.both(&Shape::default());
    let healed = wan.round_trip().expect("the very first question is answered");
    assert!(healed < milliseconds(50), "{healed:?}");
}

#[test]
fn a_rate_is_kept_by_tcp_and_without_one_the_wan_is_fast() {
    let Some(wan) = Wan::up(Reach::Flat) else { return };
    let plain = transfer(&wan, 40 << 20);
    wan.both(&Shape { rate: Some(40_000_000), ..Shape::default() });
    let shaped = transfer(&wan, 4 << 20);
    eprintln!("TCP over the WAN: {plain:.0} MB/s plain, {shaped:.2} MB/s at 5 MB/s asked");
    assert!(plain > 10.0 && (3.5..5.1).contains(&shaped), "{plain} and {shaped}");
}

/// Megabytes in a second from the first cluster to the second.
fn transfer(wan: &Wan, len: usize) -> f64 {
    let listener = wan.place.node(2, 1).tcp_listen("0.0.0.0:0".parse().unwrap()).unwrap();
    let at = SocketAddr::from(([10, 52, 0, 11], listener.local_addr().unwrap().port()));
    let mut sender = wan.place.node(1, 1).tcp_connect(at, TIMEOUT).unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    let begin = Instant::now();
    let sending = std::thread::spawn(move || sender.write_all(&vec![7; len]));
    let mut received = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match receiver.read(&mut buffer).unwrap() {
            0 => break,
            count => received += count,
        }
    }
    sending.join().unwrap().unwrap();
    assert_eq!(received, len);
    len as f64 / 1e6 / begin.elapsed().as_secs_f64()
}

#[test]
fn orders_that_cannot_be_are_refused_with_a_reason() {
    let Some(wan) = Wan::up(Reach::Flat) else { return };
    let refused = |from, to, shape: &Shape| wan.control.set(from, to, shape).unwrap_err().to_string();
    assert_eq!(refused(1, 3, &Shape::default()), "the WAN refuses: there is no way from c1 to c3");
    let loss = Shape { loss: 2.0, ..Shape::default() };
    assert_eq!(refused(1, 2, &loss), "the WAN refuses: a loss of 2: it is a share, from 0 to 1");
    assert!(wan.round_trip().is_some());
}

#[test]
fn separate_clusters_reach_load_balancers_of_the_other_over_the_wan_and_nothing_else() {
    let Some(wan) = Wan::up(Reach::Separate) else { return };
    let (from, to): (Namespace, Namespace) = (wan.place.node(1, 1), wan.place.node(2, 1));
    let added = to.command("ip").unwrap().args("addr add 10.52.1.7/32 dev lo".split(' ')).status().unwrap();
    assert!(added.success());
    let seen = crate::place::reached(&from, &to, ip("10.52.1.7"), TIMEOUT);
    assert_eq!(seen, Some(ip("10.51.0.1").into()), "the other cluster's router is seen");
    assert!(wan.round_trip().is_none(), "a node of the other cluster is not reached");
    wan.both(&Shape { partition: true, ..Shape::default() });
    assert_eq!(crate::place::reached(&from, &to, ip("10.52.1.7"), SILENCE), None);
    assert!(crate::place::reached(&wan.place.fabric.client(), &to, ip("10.52.1.7"), TIMEOUT).is_some());
}

#[test]
fn without_its_emulator_the_wan_is_down_and_never_without_faults() {
    let Some(place) = Place::build(2, 1, Reach::Flat) else { return };
    assert_eq!(crate::place::reached(&place.node(1, 1), &place.node(2, 1), ip("10.52.0.11"), SILENCE), None);
}
