//! Plain clients that share nothing with the product, for the self-test.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::servers::edge::PREFACE;
use crate::{Outcome, pki};

/// How long to wait where no answer is right. What must answer gets [`TIMEOUT`].
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// How long something that must answer may take on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(8);

/// An error unless `holds`.
pub(crate) fn expect(holds: bool, what: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(format!("not so: {what}").into())
    }
}

/// Where a socket for this peer is bound.
pub(crate) fn unspecified(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// How long a client's first flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flight {
    /// With the key share of X25519MLKEM768, as cloudflared's.
    Large,
    /// With an elliptic curve's alone.
    Small,
}

fn client_config(alpn: Option<&str>, flight: Flight) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(pki::lab_root())?;
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if flight == Flight::Small {
        provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn
        .map(|name| name.as_bytes().to_vec())
        .into_iter()
        .collect();
    Ok(config)
}

/// A TLS handshake that trusts the laboratory's root alone.
pub(crate) fn tls(
    name: &str,
    address: SocketAddr,
) -> Outcome<StreamOwned<ClientConnection, TcpStream>> {
    tls_with(TIMEOUT, Flight::Large, name, address)
}

/// The same with a first flight of this length, and this long a wait for each answer.
pub(crate) fn tls_with(
    wait: Duration,
    flight: Flight,
    name: &str,
    address: SocketAddr,
) -> Outcome<StreamOwned<ClientConnection, TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .map_err(|error| format!("{address}: {error}"))?;
    stream.set_read_timeout(Some(wait))?;
    let config = Arc::new(client_config(None, flight)?);
    let connection = ClientConnection::new(config, name.to_owned().try_into()?)?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream
            .conn
            .complete_io(&mut stream.sock)
            .map_err(|error| format!("{address}: {error}"))?;
    }
    Ok(stream)
}

/// What a connector does: a handshake, then the edge's HTTP/2 preface.
pub(crate) fn preface(address: IpAddr) -> Outcome {
    let mut bytes = [0; PREFACE.len()];
    tls("h2.cftunnel.com", SocketAddr::new(address, 7844))?.read_exact(&mut bytes)?;
    expect(bytes == PREFACE, "the edge sends the HTTP/2 preface")
}

/// One request to a host of port 443.
pub(crate) fn https(host: &str, address: IpAddr) -> Outcome {
    let mut stream = tls(host, SocketAddr::new(address, 443))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    expect(&answer == b"HTTP/1.1 404", "443 answers HTTP")
}

/// One question over UDP; no answer within `wait` is an error.
pub(crate) fn ask(
    wait: Duration,
    resolver: IpAddr,
    name: &str,
    kind: RecordType,
) -> Outcome<Message> {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(format!("{name}."))?, kind));
    let socket = UdpSocket::bind((unspecified(resolver), 0))?;
    socket.set_read_timeout(Some(wait))?;
    socket.connect((resolver, 53))?;
    socket.send(&question.to_vec()?)?;
    let mut datagram = [0; 4096];
    let length = socket.recv(&mut datagram)?;
    Ok(Message::from_vec(&datagram[..length])?)
}

/// A handshake with each address, all of them from one socket a family.
pub(crate) fn quic_handshakes(addresses: Vec<IpAddr>) -> Outcome {
    quic_with(TIMEOUT, Flight::Large, "quic.cftunnel.com", addresses)
}

/// The same with a first flight of this length, under this name, and with this long a wait for each.
pub(crate) fn quic_with(
    wait: Duration,
    flight: Flight,
    name: &str,
    addresses: Vec<IpAddr>,
) -> Outcome {
    quic_from(0, wait, flight, name, addresses)
}

/// A socket on this address. A program that is being started beside this has a copy of every socket until
/// it runs, so one that was closed just now may still hold its port.
fn bound(local: SocketAddr) -> std::io::Result<UdpSocket> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match UdpSocket::bind(local) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            bound => return bound,
        }
    }
}

/// The same from this port, or from any where it is 0.
pub(crate) fn quic_from(
    port: u16,
    wait: Duration,
    flight: Flight,
    name: &str,
    addresses: Vec<IpAddr>,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let tls = QuicClientConfig::try_from(client_config(Some("argotunnel"), flight)?)?;
        let config = quinn::ClientConfig::new(Arc::new(tls));
        for address in addresses {
            let local = unspecified(address);
            let endpoint = quinn::Endpoint::new(
                quinn::EndpointConfig::default(),
                None,
                bound((local, port).into())?,
                Arc::new(quinn::TokioRuntime),
            )?;
            let attempt = endpoint.connect_with(config.clone(), (address, 7844).into(), name)?;
            let connection = tokio::time::timeout(wait, attempt)
                .await
                .map_err(|_| format!("{address}: QUIC is silent"))??;
            connection.close(0u8.into(), b"");
        }
        Ok(())
    })
}
