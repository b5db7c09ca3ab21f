//! Tests of the laboratory itself, with clients that share nothing with the product: what a
//! scenario calls open must answer, and what a rule blocks must not.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use libtest_mimic::Trial;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::internet::{self, Family};
use crate::runner::World;
use crate::scenario::Scenario;
use crate::servers::edge::PREFACE;
use crate::{Outcome, pki};

/// Everything answers at once here, so this long a silence is one.
const SILENCE: Duration = Duration::from_millis(400);

/// The trials of the laboratory itself.
pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Outcome| {
        Trial::test(format!("lab::{name}"), move || Ok(test()?))
    };
    vec![
        trial("the-open-world-answers", the_open_world_answers),
        trial("a-drop-rule-drops", a_drop_rule_drops),
        trial("a-reject-rule-answers", a_reject_rule_answers),
        trial("an-impostor-takes-the-flow", an_impostor_takes_the_flow),
        trial("a-world-is-built-quickly", a_world_is_built_quickly),
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
                resolver.parse()?,
                "_v2-origintunneld._tcp.argotunnel.com",
                RecordType::SRV,
            )?;
            expect(answer.answers.len() == 2, "the SRV record has two targets")?;
            let answer = ask(resolver.parse()?, internet::REGIONS[0], RecordType::AAAA)?;
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
            expect(quic_handshakes(vec![second]).is_err(), "QUIC is silent")
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
                TcpStream::connect_timeout(&address, SILENCE).is_err_and(refused),
                "TCP is reset",
            )?;
            let local = unspecified(address.ip());
            let socket = UdpSocket::bind((local, 0))?;
            socket.set_read_timeout(Some(SILENCE))?;
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
fn in_world(lines: &str, test: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    let head = "name = 'lab'\nabout = ''\nexpect.verdict = 'ready'\n";
    let scenario: Scenario = toml::from_str(&format!("{head}{lines}"))?;
    let world = World::build(&scenario)?;
    // A thread inherits the namespaces, and may block as it likes.
    world
        .topology
        .client
        .run(|| std::thread::spawn(test).join())
        .expect("the test does not panic")
}

fn unspecified(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn region_addresses() -> Vec<IpAddr> {
    internet::REGIONS
        .iter()
        .flat_map(|host| {
            Family::BOTH
                .map(|family| internet::addresses(host, family))
                .concat()
        })
        .collect()
}

fn expect(holds: bool, what: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(format!("not so: {what}").into())
    }
}

fn client_config(alpn: Option<&str>) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(pki::lab_root())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn
        .map(|name| name.as_bytes().to_vec())
        .into_iter()
        .collect();
    Ok(config)
}

fn tls(name: &str, address: SocketAddr) -> Outcome<StreamOwned<ClientConnection, TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, SILENCE)
        .map_err(|error| format!("{address}: {error}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let connection =
        ClientConnection::new(Arc::new(client_config(None)?), name.to_owned().try_into()?)?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream
            .conn
            .complete_io(&mut stream.sock)
            .map_err(|error| format!("{address}: {error}"))?;
    }
    Ok(stream)
}

fn preface(address: IpAddr) -> Outcome {
    let mut bytes = [0; PREFACE.len()];
    tls("h2.cftunnel.com", SocketAddr::new(address, 7844))?.read_exact(&mut bytes)?;
    expect(bytes == PREFACE, "the edge sends the HTTP/2 preface")
}

fn https(host: &str, address: IpAddr) -> Outcome {
    let mut stream = tls(host, SocketAddr::new(address, 443))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    expect(&answer == b"HTTP/1.1 404", "443 answers HTTP")
}

fn ask(resolver: IpAddr, name: &str, kind: RecordType) -> Outcome<Message> {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(format!("{name}."))?, kind));
    let socket = UdpSocket::bind((unspecified(resolver), 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect((resolver, 53))?;
    socket.send(&question.to_vec()?)?;
    let mut datagram = [0; 4096];
    let length = socket.recv(&mut datagram)?;
    Ok(Message::from_vec(&datagram[..length])?)
}

/// A handshake with each address, all of them from one socket a family.
fn quic_handshakes(addresses: Vec<IpAddr>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let tls = QuicClientConfig::try_from(client_config(Some("argotunnel"))?)?;
        let config = quinn::ClientConfig::new(Arc::new(tls));
        for address in addresses {
            let local = unspecified(address);
            let endpoint = quinn::Endpoint::client((local, 0).into())?;
            let attempt = endpoint.connect_with(
                config.clone(),
                (address, 7844).into(),
                "quic.cftunnel.com",
            )?;
            let connection = tokio::time::timeout(SILENCE, attempt)
                .await
                .map_err(|_| format!("{address}: QUIC is silent"))??;
            connection.close(0u8.into(), b"");
        }
        Ok(())
    })
}
