//! Tests of the wire: it does what it is told and nothing else.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use super::Wire;
use super::packet::Direction;
use super::schedule::Schedule;
use crate::Outcome;
use crate::clients::{
    Flight, SILENCE, TIMEOUT, expect, preface, quic_from, quic_handshakes, quic_with, tls,
    tls_with, unspecified,
};
use crate::internet::{self, Family};
use crate::ready::{ECHO_PORT, EDGE_V4, EDGE_V6};
use crate::sandbox::tool;
use crate::selftest::{in_world, region_addresses};

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Outcome| {
        Trial::test(format!("wire::{name}"), move || Ok(test()?))
    };
    vec![
        trial("a-plain-wire-carries-everything", a_plain_wire),
        trial("delay-is-what-was-asked-for", delay),
        trial("loss-and-jitter-are-what-was-asked-for", loss_and_jitter),
        trial("a-seed-decides", a_seed_decides),
        trial("a-seed-decides-what-a-client-sees", a_client_sees_the_seed),
        trial("tls-filters-cut", tls_filters_cut),
        trial("quic-filters-cut", quic_filters_cut),
        trial("a-port-is-used-again", a_port_is_used_again),
        trial("big-datagrams-are-told-so", big_datagrams),
        trial("forged-errors-arrive", forged_errors),
        trial("errors-are-held-back", held_errors),
        trial("a-narrow-path-is-narrow", a_narrow_path),
    ]
}

fn one(family: Family) -> SocketAddr {
    SocketAddr::new(internet::addresses(internet::REGIONS[0], family)[0], 7844)
}

fn a_plain_wire() -> Outcome {
    in_world("wire = {}", || {
        for address in region_addresses() {
            preface(address)?;
        }
        quic_handshakes(region_addresses())
    })
}

/// A socket that waits this long for each answer.
fn connected(peer: SocketAddr, wait: Duration) -> Outcome<UdpSocket> {
    let socket = UdpSocket::bind((unspecified(peer.ip()), 0))?;
    socket.set_read_timeout(Some(wait))?;
    socket.connect(peer)?;
    Ok(socket)
}

fn delay() -> Outcome {
    in_world("wire = { delay_ms = 10.5 }", || {
        for address in [EDGE_V4, EDGE_V6] {
            let socket = connected(SocketAddr::new(address, ECHO_PORT), TIMEOUT)?;
            // The quickest of many: on a busy machine the others wait for a processor. None is too quick.
            let mut least = Duration::MAX;
            let deadline = Instant::now() + TIMEOUT;
            while least >= Duration::from_millis(23) && Instant::now() < deadline {
                let begun = Instant::now();
                socket.send(b"?")?;
                socket.recv(&mut [0; 8])?;
                least = least.min(begun.elapsed());
            }
            expect(
                (Duration::from_millis(21)..Duration::from_millis(23)).contains(&least),
                &format!("a round trip of 21 ms, and it takes {least:?}"),
            )?;
        }
        Ok(())
    })
}

/// When each of many packets arrives, in order of departure; none for one that was lost.
fn arrivals(wire: &Wire, others: u64) -> Vec<Option<Duration>> {
    const PACKETS: u32 = 20_000;
    let mut schedule = Schedule::new(wire);
    let begun = Instant::now();
    for number in 0..PACKETS {
        for _ in 0..others {
            schedule.enter(begun, Direction::ToClient, false, Vec::new());
        }
        let bytes = number.to_be_bytes().to_vec();
        schedule.enter(begun, Direction::ToEdge, false, bytes);
    }
    let mut arrivals = vec![None; 20_000];
    while let Some(at) = schedule.next() {
        let (direction, bytes) = schedule.due(at).expect("it is due");
        if direction == Direction::ToEdge {
            let number = u32::from_be_bytes(bytes.try_into().expect("a number"));
            arrivals[number as usize] = Some(at - begun);
        }
    }
    arrivals
}

fn wire(text: &str) -> Outcome<Wire> {
    Ok(toml::from_str(text)?)
}

fn loss_and_jitter() -> Outcome {
    let wire = wire("delay_ms = 5\njitter_ms = 100\nloss_percent = 20\nseed = 4")?;
    let arrivals = arrivals(&wire, 0);
    let times: Vec<Duration> = arrivals.iter().flatten().copied().collect();
    let lost = arrivals.len() - times.len();
    expect(
        (3800..=4200).contains(&lost),
        &format!("4000 of 20000 are lost, within reason: {lost}"),
    )?;
    let mean = times.iter().sum::<Duration>() / u32::try_from(times.len())?;
    let (least, most) = (times.iter().min(), times.iter().max());
    let within = |time: Option<&Duration>, from, to| {
        time.is_some_and(|time| {
            (Duration::from_millis(from)..Duration::from_millis(to)).contains(time)
        })
    };
    expect(
        within(least, 5, 6) && within(most, 104, 106) && within(Some(&mean), 53, 57),
        &format!("5 ms, and 0 to 100 ms more: {least:?} to {most:?}, {mean:?} in the mean"),
    )
}

fn a_seed_decides() -> Outcome {
    let text = "jitter_ms = 20\nloss_percent = 10\nseed = ";
    let [first, second] = ["1", "2"].map(|seed| wire(&format!("{text}{seed}")));
    let (first, second) = (first?, second?);
    let once = arrivals(&first, 0);
    expect(once == arrivals(&first, 0), "a seed gives one sequence")?;
    expect(
        once == arrivals(&first, 3),
        "what comes the other way has no influence",
    )?;
    expect(
        once != arrivals(&second, 0),
        "another seed gives another sequence",
    )
}

/// Which of many echoes come back over a wire that loses packets.
fn echoes() -> Outcome<BTreeSet<u32>> {
    // Few enough for the buffers of the sockets at both ends.
    const PACKETS: u32 = 200;
    let (sender, answers) = std::sync::mpsc::channel();
    let world = "wire = { loss_percent = 20, seed = 7 }";
    in_world(world, move || {
        let socket = connected(SocketAddr::new(EDGE_V6, ECHO_PORT), SILENCE)?;
        for number in 0..PACKETS {
            socket.send(&number.to_be_bytes())?;
        }
        let mut answered = BTreeSet::new();
        let mut bytes = [0; 4];
        while socket.recv(&mut bytes).is_ok() {
            answered.insert(u32::from_be_bytes(bytes));
        }
        Ok(sender.send(answered)?)
    })?;
    Ok(answers.recv()?)
}

fn a_client_sees_the_seed() -> Outcome {
    let answered = echoes()?;
    let count = answered.len();
    expect(
        (100..=156).contains(&count),
        &format!("128 of 200 come back, within reason: {count}"),
    )?;
    expect(answered == echoes()?, "the same ones come back again")
}

/// What becomes of a connection whose first flight is `bytes`.
fn fate(address: SocketAddr, bytes: &[u8]) -> Result<usize, ErrorKind> {
    let talk = || {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(bytes)?;
        stream.read(&mut [0; 64])
    };
    talk().map_err(|error: std::io::Error| error.kind())
}

fn tls_filters_cut() -> Outcome {
    let cases = [
        ("silent", "os error 11"),
        ("reset", "os error 104"),
        ("close", "unexpected end of file"),
    ];
    for (action, error) in cases {
        let world = format!(
            "wire.boxes = [{{ tls_sni = {{ names = ['h2.*', '*2.cftunnel.com'], action = '{action}' }} }}]"
        );
        in_world(&world, move || {
            for address in Family::BOTH.map(one) {
                let wait = if action == "silent" { SILENCE } else { TIMEOUT };
                let cut = tls_with(wait, Flight::Large, "h2.cftunnel.com", address).err();
                let cut = cut.map(|error| error.to_string()).unwrap_or_default();
                expect(cut.contains(error), &format!("{action}: {cut:?}"))?;
                tls("probe.cftunnel.com", address)?;
            }
            Ok(())
        })?;
    }
    // The record's header announces more than the segment holds.
    let large = [&[22, 3, 1, 8, 0, 1, 0, 7, 252][..], &[0; 600]].concat();
    in_world(
        "wire.boxes = [{ tls_large_hello = { action = 'reset' } }]",
        move || {
            for address in Family::BOTH.map(one) {
                let fate = fate(address, &large);
                expect(
                    fate == Err(ErrorKind::ConnectionReset),
                    &format!("{fate:?}"),
                )?;
                tls_with(TIMEOUT, Flight::Small, "h2.cftunnel.com", address)?;
            }
            Ok(())
        },
    )
}

fn quic_filters_cut() -> Outcome {
    let addresses = || Family::BOTH.map(|family| one(family).ip());
    in_world(
        "wire.boxes = [{ quic_sni = { names = ['quic.cftunnel.com'] } }]",
        move || {
            for address in addresses() {
                for flight in [Flight::Large, Flight::Small] {
                    let cut = quic_with(SILENCE, flight, "quic.cftunnel.com", vec![address]);
                    expect(cut.is_err(), &format!("{flight:?}: the name is silenced"))?;
                    quic_with(TIMEOUT, flight, "probe.cftunnel.com", vec![address])?;
                }
            }
            Ok(())
        },
    )?;
    // A client that does not cut its hello within the name is found frame by frame as well.
    in_world(
        "wire.boxes = [{ quic_sni = { names = ['quic.cftunnel.com'], assembles = false } }]",
        move || {
            for address in addresses() {
                let cut = quic_with(SILENCE, Flight::Small, "quic.cftunnel.com", vec![address]);
                expect(cut.is_err(), "the name is found in one frame")?;
                quic_with(TIMEOUT, Flight::Small, "probe.cftunnel.com", vec![address])?;
            }
            Ok(())
        },
    )?;
    in_world("wire.boxes = ['quic_large_hello']", move || {
        for address in addresses() {
            let cut = quic_with(SILENCE, Flight::Large, "quic.cftunnel.com", vec![address]);
            expect(cut.is_err(), "two datagrams are too many")?;
            quic_with(TIMEOUT, Flight::Small, "quic.cftunnel.com", vec![address])?;
        }
        Ok(())
    })
}

/// What became of a flow says nothing about the next one from the same port.
fn a_port_is_used_again() -> Outcome {
    const PORT: u16 = 40_000;
    in_world("wire.boxes = ['quic_large_hello']", move || {
        for address in Family::BOTH.map(|family| one(family).ip()) {
            let from =
                |wait, flight| quic_from(PORT, wait, flight, "quic.cftunnel.com", vec![address]);
            from(TIMEOUT, Flight::Small)?;
            let cut = from(SILENCE, Flight::Large);
            expect(cut.is_err(), "cut after a flow that passed")?;
            from(TIMEOUT, Flight::Small).map_err(|error| format!("after a cut: {error}"))?;
        }
        Ok(())
    })
}

fn big_datagrams() -> Outcome {
    let world = "wire.boxes = [{ max_datagram = { octets = 1240, icmp = true } }]";
    in_world(world, || {
        for (family, mtu) in [(Family::Ipv4, "mtu 1268"), (Family::Ipv6, "mtu 1288")] {
            let address = one(family);
            let socket = connected(address, TIMEOUT)?;
            socket.send(&[0; 1241])?;
            // What the kernel knows of a path it has from an ICMP error that it believed.
            let deadline = Instant::now() + TIMEOUT;
            loop {
                let route = tool("ip", &["route", "get", &address.ip().to_string()], "")?;
                if route.contains(mtu) {
                    break;
                }
                expect(Instant::now() < deadline, &format!("{mtu}: {route}"))?;
            }
        }
        quic_handshakes(vec![one(Family::Ipv4).ip()])
    })
}

fn forged_errors() -> Outcome {
    let world = "wire.boxes = [{ forged_icmp = { on = 'udp', error = 'port_unreachable' } }]";
    in_world(world, || {
        for family in Family::BOTH {
            let socket = connected(one(family), TIMEOUT)?;
            socket.send(b"?")?;
            let error = socket.recv(&mut [0; 16]).map_err(|error| error.kind());
            expect(
                error == Err(ErrorKind::ConnectionRefused),
                &format!("an error about a flow that passes: {error:?}"),
            )?;
        }
        let both: Vec<IpAddr> = Family::BOTH.map(|family| one(family).ip()).to_vec();
        quic_handshakes(both)
    })?;
    // A socket that does not ask for the errors of its connection, as none of Go's does, works on.
    let world = "wire.boxes = [{ forged_icmp = { on = 'tcp', error = 'admin_prohibited' } }]";
    in_world(world, || {
        let [v4, v6] = Family::BOTH.map(|family| one(family).ip());
        preface(v4)?;
        preface(v6)
    })
}

fn held_errors() -> Outcome {
    let world = "wire.icmp_delay_ms = 300\n\
                 edge.input = ['udp dport 7844 reject with icmpx type port-unreachable']";
    in_world(world, || {
        for address in Family::BOTH.map(one) {
            let socket = connected(address, TIMEOUT)?;
            let begun = Instant::now();
            socket.send(b"?")?;
            let error = socket.recv(&mut [0; 16]).map_err(|error| error.kind());
            let elapsed = begun.elapsed();
            expect(
                error == Err(ErrorKind::ConnectionRefused) && elapsed >= Duration::from_millis(300),
                &format!("an error after 300 ms: {error:?} after {elapsed:?}"),
            )?;
        }
        Ok(())
    })
}

fn a_narrow_path() -> Outcome {
    let narrow = "router.ip = ['route replace default via 10.0.2.2 mtu 1280', \
                  'route replace ::/0 via 2a01:4f8:2::2 mtu 1280']\n";
    in_world(narrow, || {
        for address in Family::BOTH.map(one) {
            tls("h2.cftunnel.com", address)?;
        }
        Ok(())
    })?;
    let silence = "router.output = ['icmp type destination-unreachable drop', \
                   'icmpv6 type packet-too-big drop']";
    in_world(&format!("{narrow}{silence}"), || {
        for address in Family::BOTH.map(one) {
            let large = tls_with(SILENCE, Flight::Large, "h2.cftunnel.com", address);
            expect(large.is_err(), "a full segment vanishes")?;
            tls_with(TIMEOUT, Flight::Small, "h2.cftunnel.com", address)?;
        }
        Ok(())
    })
}
