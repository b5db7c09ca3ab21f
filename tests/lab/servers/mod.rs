//! The servers of the laboratory's internet. Each is started on the thread of the namespace in
//! which it is to listen, and runs on that thread's tokio runtime until the namespace is dropped.

pub(crate) mod dns;
pub(crate) mod edge;
pub(crate) mod impostor;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::Outcome;
use crate::namespace::Namespace;
use crate::scenario::{DnsRule, Scenario};
use crate::topology::{Topology, impostor_port};

/// Starts every server of a scenario. All listen when this returns.
pub(crate) fn start(topology: &Topology, scenario: &Scenario) -> Outcome {
    start_edge(&topology.edge, scenario.dns.clone())?;
    for (index, impostor) in scenario.impostors.iter().enumerate() {
        let behaviour = impostor.behaviour.clone();
        topology
            .router
            .run(move || impostor::start(&behaviour, impostor_port(index)))?;
    }
    Ok(())
}

fn start_edge(edge: &Namespace, rules: Vec<DnsRule>) -> Outcome {
    edge.run(move || {
        dns::start(rules)?;
        edge::start_http2()?;
        edge::start_quic()?;
        edge::start_https()
    })
}

/// Accepts connections for both families on every address and hands each to `serve`.
fn listen_everywhere<Serve>(
    port: u16,
    serve: impl Fn(TcpStream) -> Serve + Send + 'static,
) -> Outcome
where
    Serve: Future<Output = ()> + Send + 'static,
{
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    listen(
        socket,
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        serve,
    )
}

/// Accepts connections on one address and hands each to `serve`.
fn listen_on<Serve>(
    address: SocketAddr,
    serve: impl Fn(TcpStream) -> Serve + Send + 'static,
) -> Outcome
where
    Serve: Future<Output = ()> + Send + 'static,
{
    listen(
        Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?,
        address,
        serve,
    )
}

fn listen<Serve>(
    socket: Socket,
    address: SocketAddr,
    serve: impl Fn(TcpStream) -> Serve + Send + 'static,
) -> Outcome
where
    Serve: Future<Output = ()> + Send + 'static,
{
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket
        .bind(&address.into())
        .map_err(|error| format!("tcp {address}: {error}"))?;
    socket.listen(1024)?;
    let listener = TcpListener::from_std(socket.into())?;
    tokio::spawn(async move {
        // A connection that was aborted in the queue is the client's affair.
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                // Go's servers do so too; with Nagle's algorithm the preface waits for 40 ms.
                drop(stream.set_nodelay(true));
                tokio::spawn(serve(stream));
            }
        }
    });
    Ok(())
}

/// A UDP socket on one address; for IPv6 it leaves IPv4 alone.
fn datagram_socket(address: IpAddr, port: u16) -> Outcome<std::net::UdpSocket> {
    let address = SocketAddr::from((address, port));
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket
        .bind(&address.into())
        .map_err(|error| format!("udp {address}: {error}"))?;
    Ok(socket.into())
}

fn udp(address: IpAddr, port: u16) -> Outcome<UdpSocket> {
    Ok(UdpSocket::from_std(datagram_socket(address, port)?)?)
}

/// Sends every datagram back (RFC 862), for whoever waits for a path.
pub(crate) fn echo(address: IpAddr, port: u16) -> Outcome {
    let socket = udp(address, port)?;
    tokio::spawn(async move {
        let mut datagram = [0; 64];
        loop {
            if let Ok((length, client)) = socket.recv_from(&mut datagram).await {
                drop(socket.send_to(&datagram[..length], client).await);
            }
        }
    });
    Ok(())
}
