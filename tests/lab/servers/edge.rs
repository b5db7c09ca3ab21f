//! Cloudflare's edge as `cloudflared` meets it: HTTP/2 over TLS and QUIC on 7844, HTTPS on 443.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::Outcome;
use crate::pki::{self, Issuer, KeyExchange};
use crate::servers::{datagram_socket, listen_everywhere};

const TUNNEL_PORT: u16 = 7844;
/// The HTTP/2 client preface and an empty SETTINGS frame (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// TLS on TCP 7844 of every address; after the handshake the edge speaks first, as the client of
/// HTTP/2.
pub(crate) fn start_http2() -> Outcome {
    let acceptor = TlsAcceptor::from(pki::server(Issuer::Lab, None)?);
    listen_everywhere(TUNNEL_PORT, move |stream| {
        serve_tls(acceptor.clone(), stream, true)
    })
}

/// Completes a handshake, sends the preface or not, and listens until the client leaves.
pub(crate) async fn serve_tls(acceptor: TlsAcceptor, stream: TcpStream, preface: bool) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    if preface && stream.write_all(PREFACE).await.is_err() {
        return;
    }
    let mut ignored = [0; 1024];
    while stream
        .read(&mut ignored)
        .await
        .is_ok_and(|length| length > 0)
    {}
}

/// QUIC on UDP 7844 of every address.
pub(crate) fn start_quic() -> Outcome {
    serve_quic((Issuer::Lab, KeyExchange::Any), "argotunnel", TUNNEL_PORT)
}

/// A QUIC server on every address of both families. quinn answers from the address that was
/// addressed (`IP_PKTINFO`), which the self-test holds it to.
pub(crate) fn serve_quic(tls: (Issuer, KeyExchange), alpn: &str, port: u16) -> Outcome {
    accept_quic(tls, alpn, port, |incoming| {
        tokio::spawn(async move {
            if let Ok(connection) = incoming.await {
                connection.closed().await;
            }
        });
    })
}

/// A QUIC server that refuses every connection (`CONNECTION_REFUSED`).
pub(crate) fn refuse_quic(port: u16) -> Outcome {
    let tls = (Issuer::Lab, KeyExchange::Any);
    accept_quic(tls, "argotunnel", port, Incoming::refuse)
}

fn accept_quic(
    (issuer, key_exchange): (Issuer, KeyExchange),
    alpn: &str,
    port: u16,
    each: fn(Incoming),
) -> Outcome {
    let tls = pki::server_with(issuer, Some(alpn), key_exchange)?;
    let tls = Arc::unwrap_or_clone(tls);
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    for address in [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Ipv6Addr::UNSPECIFIED.into(),
    ] {
        let socket = datagram_socket(address, port)?;
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            Some(config.clone()),
            socket,
            Arc::new(TokioRuntime),
        )?;
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                each(incoming);
            }
        });
    }
    Ok(())
}

/// HTTPS on 443 of every address: one short answer a connection.
pub(crate) fn start_https() -> Outcome {
    let acceptor = TlsAcceptor::from(pki::server(Issuer::Lab, None)?);
    listen_everywhere(443, move |stream| serve_https(acceptor.clone(), stream))
}

async fn serve_https(acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if stream
            .read_buf(&mut request)
            .await
            .map_or(true, |length| length == 0)
        {
            return;
        }
    }
    let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    drop(stream.write_all(answer).await);
    drop(stream.shutdown().await);
}
