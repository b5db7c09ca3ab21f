//! Tests of the laboratory itself, with clients that share nothing with the product: what a
//! scenario calls open must answer, and what a rule blocks must not.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use libtest_mimic::Trial;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};

use crate::Outcome;
use crate::clients::{
    Flight, SILENCE, TIMEOUT, ask, expect, https, preface, quic_handshakes, quic_with, tls,
    unspecified,
};
use crate::internet::{self, Family};
use crate::runner::World;
use crate::scenario::Scenario;
use crate::topology::sysctl;
use crate::windows;

/// A behaviour as a scenario writes it, and what is true of what a client then sees.
type Case<T> = (&'static str, fn(&T) -> bool);

/// The trials of the laboratory itself.
pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Outcome| {
        Trial::test(format!("lab::{name}"), move || Ok(test()?))
    };
    vec![
        trial("the-open-world-answers", the_open_world_answers),
        trial("a-drop-rule-drops", a_drop_rule_drops),
        trial("a-reject-rule-answers", a_reject_rule_answers),
        trial("strays-vanish", strays_vanish),
        trial("an-impostor-takes-the-flow", an_impostor_takes_the_flow),
        trial("impostors-misbehave", impostors_misbehave),
        trial("version-negotiation-answers", version_negotiation_answers),
        trial("resolvers-misbehave", resolvers_misbehave),
        trial("a-world-is-built-quickly", a_world_is_built_quickly),
        trial("the-windows-list-holds", windows::list_holds),
    ]
}

fn the_open_world_answers() -> Outcome {
    in_world("", || {
        for address in region_addresses() {
            preface(address)?;
        }
        for host in internet::https_hosts() {
            for address in Family::BOTH
                .map(|family| internet::addresses(host, family))
                .concat()
            {
                https(host, address)?;
            }
        }
        for resolver in internet::RESOLVERS {
            let answer = ask(
                TIMEOUT,
                resolver.parse()?,
                "_v2-origintunneld._tcp.argotunnel.com",
                RecordType::SRV,
            )?;
            expect(answer.answers.len() == 2, "the SRV record has two targets")?;
            let answer = ask(
                TIMEOUT,
                resolver.parse()?,
                internet::REGIONS[0],
                RecordType::AAAA,
            )?;
            expect(
                answer.answers.len() == 10,
                "a region has ten IPv6 addresses",
            )?;
        }
        tls(
            "cloudflare-dns.com",
            SocketAddr::new(internet::DOT.parse()?, 853),
        )
        .map(drop)?;
        quic_handshakes(region_addresses())
    })
}

fn a_drop_rule_drops() -> Outcome {
    in_world(
        "router.forward = ['udp dport 7844 drop', 'tcp dport 7844 ip daddr $region1_v4 drop']",
        || {
            let [first, second] =
                internet::REGIONS.map(|host| internet::addresses(host, Family::Ipv4)[0]);
            let silent = TcpStream::connect_timeout(&SocketAddr::new(first, 7844), SILENCE);
            expect(
                silent.is_err_and(|error| error.kind() == ErrorKind::TimedOut),
                "TCP to region1 is silent",
            )?;
            preface(second)?;
            let quic = quic_with(SILENCE, Flight::Large, "quic.cftunnel.com", vec![second]);
            expect(quic.is_err(), "QUIC is silent")
        },
    )
}

fn a_reject_rule_answers() -> Outcome {
    let rules = "router.forward = ['udp dport 7844 reject with icmpx type port-unreachable', \
                 'tcp dport 7844 reject with tcp reset']";
    in_world(rules, || {
        for family in Family::BOTH {
            let address =
                SocketAddr::new(internet::addresses(internet::REGIONS[0], family)[0], 7844);
            let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
            expect(
                TcpStream::connect_timeout(&address, TIMEOUT).is_err_and(refused),
                "TCP is reset",
            )?;
            let local = unspecified(address.ip());
            let socket = UdpSocket::bind((local, 0))?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            socket.connect(address)?;
            socket.send(b"?")?;
            expect(
                socket.recv(&mut [0; 16]).is_err_and(refused),
                "ICMP answers UDP",
            )?;
        }
        Ok(())
    })
}

/// An address that is not in this world is silent, in both families, and also where the far side forwards.
fn strays_vanish() -> Outcome {
    let scenario = scenario("")?;
    let world = World::build(&scenario)?;
    for forwards in ["0", "1"] {
        let strays = ["198.18.0.7", "2001:db8::7"]
            .map(|address| SocketAddr::new(address.parse().expect("an address"), 7844));
        world
            .topology
            .edge
            .run(move || sysctl("ipv4/ip_forward", forwards))?;
        in_client(&world, move || {
            for stray in strays {
                let socket = UdpSocket::bind((unspecified(stray.ip()), 0))?;
                socket.set_read_timeout(Some(SILENCE))?;
                socket.connect(stray)?;
                // Without this the socket does not hear of an unreachable network.
                setsockopt(&socket, Ipv4RecvErr, &true)?;
                if stray.is_ipv6() {
                    setsockopt(&socket, Ipv6RecvErr, &true)?;
                }
                socket.send(b"?")?;
                let heard = socket.recv(&mut [0; 16]);
                expect(
                    heard
                        .as_ref()
                        .is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
                    &format!("{stray} is silent, with forwarding {forwards}: {heard:?}"),
                )?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn an_impostor_takes_the_flow() -> Outcome {
    let world = "impostors = [{ hosts = ['region1.v2.argotunnel.com'], behaviour = { tls = { issuer = 'inspector' } } }]";
    in_world(world, || {
        let [first, second] =
            internet::REGIONS.map(|host| internet::addresses(host, Family::Ipv6)[0]);
        let error = preface(first)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        expect(
            error.contains("UnknownIssuer"),
            &format!("the inspector's certificate is refused: {error}"),
        )?;
        preface(second)
    })
}

/// What a client that has sent a line gets back within `wait`: bytes, or the kind of error.
fn speak(address: IpAddr, wait: Duration) -> Result<Vec<u8>, ErrorKind> {
    let mut stream = TcpStream::connect_timeout(&(address, 7844).into(), TIMEOUT)
        .map_err(|error| error.kind())?;
    stream
        .set_read_timeout(Some(wait))
        .map_err(|error| error.kind())?;
    stream.write_all(b"hello").map_err(|error| error.kind())?;
    let mut answer = [0; 256];
    let length = stream.read(&mut answer).map_err(|error| error.kind())?;
    Ok(answer[..length].to_vec())
}

fn impostors_misbehave() -> Outcome {
    let cases: [Case<Result<Vec<u8>, ErrorKind>>; 5] = [
        ("portal", |answer| {
            answer
                .as_ref()
                .is_ok_and(|bytes| bytes.starts_with(b"HTTP/1.1 302 Found"))
        }),
        ("plain_text", |answer| {
            answer
                .as_ref()
                .is_ok_and(|bytes| bytes.starts_with(b"220 "))
        }),
        ("tarpit", |answer| answer == &Err(ErrorKind::WouldBlock)),
        ("close", |answer| {
            matches!(answer, Ok(bytes) if bytes.is_empty())
                || answer == &Err(ErrorKind::ConnectionReset)
        }),
        ("reset", |answer| answer == &Err(ErrorKind::ConnectionReset)),
    ];
    for (behaviour, holds) in cases {
        let wait = if behaviour == "tarpit" {
            SILENCE
        } else {
            TIMEOUT
        };
        in_world(
            &format!("impostors = [{{ behaviour = '{behaviour}' }}]"),
            move || {
                for family in Family::BOTH {
                    let answer = speak(internet::addresses(internet::REGIONS[0], family)[0], wait);
                    expect(
                        holds(&answer),
                        &format!("{behaviour} over {}: {answer:?}", family.word()),
                    )?;
                }
                Ok(())
            },
        )?;
    }
    Ok(())
}

fn version_negotiation_answers() -> Outcome {
    in_world(
        "impostors = [{ behaviour = 'version_negotiation' }]",
        || {
            let addresses =
                Family::BOTH.map(|family| internet::addresses(internet::REGIONS[1], family)[3]);
            for address in addresses {
                let mut ping = vec![0; 1200];
                ping[..10].copy_from_slice(&[0xc0, 0x1a, 0x1a, 0x1a, 0x1a, 2, 0xd1, 0xd2, 1, 0x51]);
                let socket = UdpSocket::bind((unspecified(address), 0))?;
                socket.set_read_timeout(Some(TIMEOUT))?;
                socket.connect((address, 7844))?;
                socket.send(&ping)?;
                let mut answer = [0; 64];
                let length = socket.recv(&mut answer)?;
                let wanted = [0x80, 0, 0, 0, 0, 1, 0x51, 2, 0xd1, 0xd2, 0, 0, 0, 1];
                expect(
                    answer[..length] == wanted,
                    "the IDs change places and version 1 is offered",
                )?;
            }
            expect(
                quic_with(
                    SILENCE,
                    Flight::Large,
                    "quic.cftunnel.com",
                    addresses.to_vec(),
                )
                .is_err(),
                "no handshake completes",
            )
        },
    )
}

fn resolvers_misbehave() -> Outcome {
    let cases: [Case<Outcome<Message>>; 8] = [
        ("'nxdomain'", |answer| {
            code(answer) == Some(ResponseCode::NXDomain)
        }),
        ("'nodata'", |answer| {
            code(answer) == Some(ResponseCode::NoError) && count(answer) == Some(0)
        }),
        ("'servfail'", |answer| {
            code(answer) == Some(ResponseCode::ServFail)
        }),
        ("'refused'", |answer| {
            code(answer) == Some(ResponseCode::Refused)
        }),
        ("'silent'", Result::is_err),
        ("'garbage'", Result::is_err),
        ("'truncated'", |answer| {
            answer
                .as_ref()
                .is_ok_and(|message| message.metadata.truncation)
        }),
        ("{ addresses = ['10.1.2.3', '::1'] }", |answer| {
            count(answer) == Some(1)
        }),
    ];
    for (answer, holds) in cases {
        let rule =
            format!("dns = [{{ name = '*argotunnel.com', types = ['A'], answer = {answer} }}]");
        in_world(&rule, move || {
            let resolver = internet::RESOLVERS[0].parse()?;
            let wait = if answer == "'silent'" {
                SILENCE
            } else {
                TIMEOUT
            };
            let actual = ask(wait, resolver, internet::REGIONS[0], RecordType::A);
            expect(holds(&actual), &format!("{answer}: {actual:?}"))?;
            let other = ask(TIMEOUT, resolver, internet::REGIONS[0], RecordType::AAAA);
            expect(
                count(&other) == Some(10),
                "the rule is about A records alone",
            )
        })?;
    }
    Ok(())
}

fn code(answer: &Outcome<Message>) -> Option<ResponseCode> {
    answer
        .as_ref()
        .ok()
        .map(|message| message.metadata.response_code)
}

fn count(answer: &Outcome<Message>) -> Option<usize> {
    answer.as_ref().ok().map(|message| message.answers.len())
}

fn a_world_is_built_quickly() -> Outcome {
    let begun = Instant::now();
    in_world("", || Ok(()))?;
    let elapsed = begun.elapsed();
    println!("a world takes {} ms", elapsed.as_millis());
    expect(
        elapsed < Duration::from_secs(2),
        "a world takes less than 2 s",
    )
}

/// Runs `test` on a thread in the client's namespaces of a world.
pub(crate) fn in_world(lines: &str, test: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    in_client(&World::build(&scenario(lines)?)?, test)
}

/// The scenario of these lines, whose truth is not looked at.
fn scenario(lines: &str) -> Outcome<Scenario> {
    let head = "name = 'lab'\nabout = ''\nexpect.verdict = 'ready'\n";
    Ok(toml::from_str(&format!("{head}{lines}"))?)
}

/// Runs `test` on a thread of its own, which inherits the client's namespaces and may block.
fn in_client(world: &World, test: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    world
        .topology
        .client
        .run(|| std::thread::spawn(test).join())
        .expect("the test does not panic")
}

pub(crate) fn region_addresses() -> Vec<IpAddr> {
    internet::REGIONS
        .iter()
        .flat_map(|host| {
            Family::BOTH
                .map(|family| internet::addresses(host, family))
                .concat()
        })
        .collect()
}
