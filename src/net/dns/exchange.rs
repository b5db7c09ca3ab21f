//! One question to one resolver: UDP, TCP after truncation, or TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::Type;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::message::{Question, Received, Reply, decode, encode};
use crate::catalog;
use crate::model::{ContactFailure, LookupStatus, Transport};
use crate::net::awake::{self, Clock};
use crate::net::trust::Trust;
use crate::net::{Trace, classify, new_socket, next_icmp, os, queued_error, stream};

/// When the question is sent again, since the start; Go's resolver sends it once, and we must not
/// take loss for silence.
const RESEND: [Duration; 8] = [
    Duration::from_millis(300),
    Duration::from_millis(700),
    Duration::from_millis(1100),
    Duration::from_millis(1600),
    Duration::from_millis(2100),
    Duration::from_millis(2700),
    Duration::from_millis(3300),
    Duration::from_secs(4),
];

/// Asks over UDP, and over TCP when the answer is truncated, which the second value tells.
pub(super) async fn ask(server: SocketAddr, question: &Question, limit: Duration) -> (Reply, bool) {
    let mut clock = Clock::start();
    match ask_udp(server, question, limit, &mut clock).await {
        Ok(Received::Answer(reply)) | Err(reply) => (reply, false),
        Ok(Received::Truncated) => {
            let left = limit.saturating_sub(clock.now());
            let mut reply = ask_tcp(server, question, left).await;
            reply.detail = Some(match reply.detail {
                None => "truncated over UDP, asked again over TCP".to_owned(),
                Some(detail) => format!("truncated over UDP; over TCP: {detail}"),
            });
            (reply, true)
        }
        Ok(Received::Foreign(what)) => (Reply::failed(LookupStatus::Malformed, &what), false),
    }
}

/// Asks over TLS at 1.1.1.1:853 (RFC 7858), as cloudflared does for the SRV record alone.
pub(super) async fn ask_dot(question: &Question, trust: &Trust, limit: Duration) -> Reply {
    let exchange = async {
        let stream = connect(catalog::DOT_SERVER).await?;
        let failed =
            |error: &dyn ToString| Reply::failed(LookupStatus::Unreachable, &error.to_string());
        let name = ServerName::try_from(catalog::DOT_SERVER_NAME).map_err(|e| failed(&e))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&trust.dot));
        let tls = connector
            .connect(name, stream)
            .await
            .map_err(|e| failed(&e))?;
        ask_stream(tls, question).await
    };
    within(limit, exchange).await
}

/// Asks over TCP alone.
pub(super) async fn ask_tcp(server: SocketAddr, question: &Question, limit: Duration) -> Reply {
    within(limit, async {
        ask_stream(connect(server).await?, question).await
    })
    .await
}

async fn within(limit: Duration, exchange: impl Future<Output = Result<Reply, Reply>>) -> Reply {
    match awake::within(limit, exchange).await {
        Some(Ok(reply) | Err(reply)) => reply,
        None => Reply::failed(LookupStatus::TimedOut, "no answer"),
    }
}

async fn connect(server: SocketAddr) -> Result<tokio::net::TcpStream, Reply> {
    let own = os::interface_addresses();
    stream::connect(server, &own, &Trace::start())
        .await
        .map_err(|failure| unreachable(&failure))
}

fn unreachable(failure: &ContactFailure) -> Reply {
    let detail = match failure {
        ContactFailure::Silent => return Reply::failed(LookupStatus::TimedOut, "no answer"),
        ContactFailure::Reset => "connection refused".to_owned(),
        ContactFailure::Icmp { icmp } => icmp.to_string(),
        ContactFailure::LocalFirewall { error, .. } => {
            format!("this host's own firewall refuses to send: {error}")
        }
        ContactFailure::NoRoute { error }
        | ContactFailure::TooBig { error }
        | ContactFailure::Other { error } => error.to_string(),
    };
    Reply::failed(LookupStatus::Unreachable, &detail)
}

/// The message with its length in front (RFC 1035, section 4.2.2).
async fn ask_stream<S>(mut stream: S, question: &Question) -> Result<Reply, Reply>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (id, query) = encode(question).map_err(|e| Reply::failed(LookupStatus::Malformed, &e))?;
    let failed = |error: io::Error| Reply::failed(LookupStatus::Unreachable, &error);
    let length = u16::try_from(query.len()).unwrap_or(u16::MAX);
    stream
        .write_all(&[&length.to_be_bytes(), query.as_slice()].concat())
        .await
        .map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut octets = vec![0; length.into()];
    stream.read_exact(&mut octets).await.map_err(failed)?;
    match decode(&octets, id, question) {
        Received::Answer(reply) => Ok(reply),
        Received::Truncated => Err(Reply::failed(LookupStatus::Malformed, "truncated over TCP")),
        Received::Foreign(what) => Err(Reply::failed(LookupStatus::Malformed, &what)),
    }
}

/// Sends until an answer comes; something else than an answer is remembered for the end. One error
/// may be a passing one: the second transmission has to fail too.
async fn ask_udp(
    server: SocketAddr,
    question: &Question,
    limit: Duration,
    clock: &mut Clock,
) -> Result<Received, Reply> {
    let (id, query) = encode(question).map_err(|e| Reply::failed(LookupStatus::Malformed, &e))?;
    let local = |error: io::Error| unreachable(&classify::local_error(&error));
    let socket = open(server).map_err(local)?;
    let mut resend = RESEND.into_iter();
    let mut foreign = None;
    let (mut failed, mut sent_again) = (None, false);
    socket.send(&query).await.map_err(local)?;
    let mut next = resend.next();
    loop {
        tokio::select! {
            received = receive(&socket) => match received {
                Err(error) if failed.is_some() && sent_again => return Err(error),
                Err(error) => {
                    failed.get_or_insert(error);
                    sent_again = false;
                }
                Ok(octets) if octets.is_empty() => {}
                Ok(octets) => match decode(&octets, id, question) {
                    Received::Foreign(what) => foreign = Some(what),
                    answer => return Ok(answer),
                },
            },
            () = clock.until(next.unwrap_or(limit).min(limit)) => {
                if clock.now() >= limit {
                    let silent = || Reply::failed(LookupStatus::TimedOut, "no answer");
                    return foreign.map(Received::Foreign)
                        .ok_or_else(|| failed.unwrap_or_else(silent));
                }
                match socket.send(&query).await {
                    Ok(_) => sent_again = true,
                    Err(error) if failed.is_some() => return Err(local(error)),
                    Err(error) => failed = Some(local(error)),
                }
                next = resend.next();
            }
        }
    }
}

fn open(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(server, None, Type::DGRAM)?;
    socket.connect(&server.into())?;
    UdpSocket::from_std(socket.into())
}

/// Waits for a datagram or for an ICMP error, which does not wake a reader by itself.
async fn receive(socket: &UdpSocket) -> Result<Vec<u8>, Reply> {
    let mut octets = vec![0; 4096];
    tokio::select! {
        received = socket.recv(&mut octets) => match received {
            Ok(length) => {
                octets.truncate(length);
                Ok(octets)
            }
            Err(error) => Err(explain(socket, &error)),
        },
        queued = queued_error(socket) => match queued {
            Ok(queued) => {
                let error = io::Error::from_raw_os_error(queued.errno);
                let detail = queued.icmp.map_or_else(|| error.to_string(), |icmp| icmp.to_string());
                Err(Reply::failed(LookupStatus::Unreachable, &detail))
            }
            Err(error) => Err(Reply::failed(LookupStatus::Unreachable, &error)),
        },
    }
}

fn explain(socket: &UdpSocket, error: &io::Error) -> Reply {
    let told = || {
        let server = socket.peer_addr().ok()?;
        os::behind(error, Transport::Udp, server)?.icmp()
    };
    let icmp = next_icmp(socket).or_else(told);
    let detail = icmp.map_or_else(|| error.to_string(), |icmp| icmp.to_string());
    Reply::failed(LookupStatus::Unreachable, &detail)
}
