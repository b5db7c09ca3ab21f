//! Whoever answers in the edge's place. The router's NAT hands the flows to a port on the router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::scenario::Behaviour;
use crate::servers::{edge, listen_everywhere, udp};
use crate::{Outcome, pki};

/// Starts an impostor on this port of the router.
pub(crate) fn start(behaviour: &Behaviour, port: u16) -> Outcome {
    match behaviour {
        Behaviour::Tls {
            issuer,
            key_exchange,
            preface,
        } => {
            let tls = pki::server_with(*issuer, None, *key_exchange)?;
            let (acceptor, preface) = (TlsAcceptor::from(tls), *preface);
            listen_everywhere(port, move |stream| {
                edge::serve_tls(acceptor.clone(), stream, preface)
            })
        }
        Behaviour::Portal => listen_everywhere(port, portal),
        Behaviour::PlainText => listen_everywhere(port, greet),
        Behaviour::Tarpit => listen_everywhere(port, tarpit),
        Behaviour::Close => listen_everywhere(port, |stream| async move { drop(stream) }),
        Behaviour::Reset => listen_everywhere(port, reset),
        Behaviour::Alert => listen_everywhere(port, alert),
        Behaviour::AsksForP256 => listen_everywhere(port, ask_for_p256),
        Behaviour::Quic {
            issuer,
            key_exchange,
            alpn,
        } => edge::serve_quic((*issuer, *key_exchange), alpn, port),
        Behaviour::RefusesQuic => edge::refuse_quic(port),
        Behaviour::VersionNegotiation => answer_datagrams(port, |datagram| {
            let known = datagram.get(1..5) == Some(&VERSION_1);
            (!known).then(|| version_negotiation(datagram, VERSION_1))?
        }),
        Behaviour::OtherVersion => {
            answer_datagrams(port, |datagram| version_negotiation(datagram, VERSION_2))
        }
        Behaviour::Nonsense => {
            answer_datagrams(port, |_| Some(b"HTTP/1.1 302 Found\r\n\r\n".to_vec()))
        }
    }
}

/// Something that speaks first, and no TLS.
async fn greet(mut stream: TcpStream) {
    let mut ignored = [0; 4096];
    if stream
        .write_all(b"220 mail.example.com ESMTP\r\n")
        .await
        .is_ok()
    {
        drop(stream.read(&mut ignored).await);
    }
}

/// A captive portal: whatever is said to it, it answers in plain HTTP.
async fn portal(mut stream: TcpStream) {
    let mut ignored = [0; 4096];
    if stream
        .read(&mut ignored)
        .await
        .is_ok_and(|length| length > 0)
    {
        let answer = b"HTTP/1.1 302 Found\r\nLocation: http://portal.example.com/login\r\n\
            Content-Length: 0\r\nConnection: close\r\n\r\n";
        drop(stream.write_all(answer).await);
        drop(stream.shutdown().await);
    }
}

/// Holds the connection for longer than any client waits.
async fn tarpit(stream: TcpStream) {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    drop(stream);
}

/// Closes with a reset once the client has spoken.
async fn reset(mut stream: TcpStream) {
    let mut first_flight = [0; 4096];
    drop(stream.read(&mut first_flight).await);
    drop(socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
}

/// Refuses the handshake once the client has spoken: `handshake_failure` (RFC 8446, section 6).
async fn alert(mut stream: TcpStream) {
    let mut first_flight = [0; 4096];
    drop(stream.read(&mut first_flight).await);
    drop(stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await);
    drop(stream.shutdown().await);
    // Until the client has read it: unread data would make a reset of the end.
    while stream
        .read(&mut first_flight)
        .await
        .is_ok_and(|length| length > 0)
    {}
}

/// Answers the first `ClientHello` with a `HelloRetryRequest` (RFC 8446, section 4.1.4) for P-256, and
/// waits.
async fn ask_for_p256(mut stream: TcpStream) {
    /// What the random of such a message is.
    const RANDOM: [u8; 32] = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8,
        0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8,
        0x33, 0x9c,
    ];
    /// `TLS_AES_128_GCM_SHA256`, no compression, TLS 1.3 and the key share that is asked for.
    const REST: [u8; 17] = [
        0x13, 0x01, 0, 0, 12, 0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 0x17,
    ];
    /// Where a record's hello has its session ID: behind two headers, the version and the random.
    const SESSION_ID: usize = 5 + 4 + 2 + 32;
    let mut flight = [0; 4096];
    let Ok(length) = stream.read(&mut flight).await else {
        return;
    };
    let Some((session_id, _)) = flight[..length].get(SESSION_ID..).and_then(connection_id) else {
        return;
    };
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&RANDOM);
    hello.push(u8::try_from(session_id.len()).unwrap_or_default());
    hello.extend_from_slice(session_id);
    hello.extend_from_slice(&REST);
    let length = u8::try_from(hello.len()).unwrap_or_default();
    let mut record = vec![22, 3, 3, 0, length + 4, 2, 0, 0, length];
    record.extend_from_slice(&hello);
    drop(stream.write_all(&record).await);
    tarpit(stream).await;
}

/// RFC 9000, and RFC 9369.
const VERSION_1: [u8; 4] = [0, 0, 0, 1];
const VERSION_2: [u8; 4] = [0x6b, 0x33, 0x43, 0xcf];

/// Answers the datagrams for which `answer` has one.
fn answer_datagrams(port: u16, answer: fn(&[u8]) -> Option<Vec<u8>>) -> Outcome {
    for address in [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Ipv6Addr::UNSPECIFIED.into(),
    ] {
        let socket = udp(address, port)?;
        tokio::spawn(async move {
            let mut datagram = [0; 2048];
            loop {
                if let Ok((length, client)) = socket.recv_from(&mut datagram).await
                    && let Some(answer) = answer(&datagram[..length])
                {
                    drop(socket.send_to(&answer, client).await);
                }
            }
        });
    }
    Ok(())
}

/// Answers a long header as a server does that supports this version alone.
///
/// RFC 9000, section 17.2.1: both connection IDs change places, then the versions supported.
fn version_negotiation(datagram: &[u8], supported: [u8; 4]) -> Option<Vec<u8>> {
    let long_header = datagram.first()? & 0x80 != 0;
    if !long_header || datagram.len() < 1200 {
        return None;
    }
    let (destination, rest) = connection_id(datagram.get(5..)?)?;
    let (source, _) = connection_id(rest)?;
    let mut answer = vec![0x80, 0, 0, 0, 0];
    for id in [source, destination] {
        answer.push(u8::try_from(id.len()).ok()?);
        answer.extend_from_slice(id);
    }
    answer.extend_from_slice(&supported);
    Some(answer)
}

fn connection_id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}
