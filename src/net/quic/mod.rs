//! A QUIC handshake as cloudflared begins it (RFC 9000, 9001), closed at once.

mod datagrams;
mod hello_split;
mod socket;
mod version_probe;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{HandshakeData, QuicClientConfig};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, TokioRuntime, TransportConfig};
use rustls::pki_types::{CertificateDer, ServerName};

use self::hello_split::SplitHello;
use self::socket::ProbeSocket;
use super::classify;
use super::trust::Trust;
use super::{Trace, TraceState, certificate_name};
use crate::catalog;
use crate::model::{ContactFailure, HandshakeFailure, OsError, Outcome, Profile, Secured, Service};

/// One fresh QUIC flow: where to, and how to begin.
#[derive(Debug, Clone)]
pub struct QuicProbe {
    /// The other side.
    pub remote: SocketAddr,
    /// The local address to bind to, if one was asked for.
    pub bind: Option<IpAddr>,
    /// The server name to present.
    pub sni: String,
    /// UDP payload of every datagram in octets.
    pub datagram_size: u16,
    /// Which first flight to send.
    pub profile: Profile,
}

/// Runs the probe to its end. It has no deadline of its own but cloudflared's: dropping it gives it
/// up, and `trace` tells how far it came.
pub async fn probe(probe: &QuicProbe, trust: &Trust, own: &[IpAddr], trace: &Trace) -> Outcome {
    let socket = match ProbeSocket::connect(probe.remote, probe.bind, own.into(), trace.clone()) {
        Ok(socket) => Arc::new(socket),
        Err(error) => {
            return Outcome::Unanswered {
                failure: classify::local_error(&error),
            };
        }
    };
    let watcher = AbortOnDrop(tokio::spawn(Arc::clone(&socket).watch_errors()).abort_handle());
    let outcome = if probe.profile == Profile::VersionPing {
        version_probe::ping(&socket, probe.datagram_size, trace).await
    } else {
        match handshake(probe, trust, Arc::clone(&socket), trace).await {
            Ok(secured) => Outcome::Secured { secured },
            Err(outcome) => outcome,
        }
    };
    drop(watcher);
    outcome
}

/// The failure that the errors of a flow amount to, when no datagram ever came back.
#[must_use]
pub fn failure_from_errors(state: &TraceState) -> ContactFailure {
    let silent = ContactFailure::Silent;
    let failures = state.stray.iter().map(|stray| match &stray.icmp {
        Some(icmp) => {
            let waited = stray.at_ms.duration();
            classify::icmp_failure(icmp.clone(), stray.local, waited, stray.error.clone())
        }
        None => stray.error.code.map_or(silent.clone(), |code| {
            classify::local_error(&std::io::Error::from_raw_os_error(code))
        }),
    });
    // What this host itself says outweighs what comes from elsewhere: its packets never left.
    let weight = |failure: &ContactFailure| match failure {
        ContactFailure::LocalFirewall { .. } => 4,
        ContactFailure::NoRoute { .. } | ContactFailure::TooBig { .. } => 3,
        ContactFailure::Icmp { .. } => 2,
        ContactFailure::Other { .. } | ContactFailure::Reset => 1,
        ContactFailure::Silent => 0,
    };
    failures
        .fold(None, |best: Option<ContactFailure>, next| match best {
            Some(best) if weight(&best) >= weight(&next) => Some(best),
            _ => Some(next),
        })
        .unwrap_or(silent)
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn handshake(
    probe: &QuicProbe,
    trust: &Trust,
    socket: Arc<ProbeSocket>,
    trace: &Trace,
) -> Result<Secured, Outcome> {
    let name = certificate_name(probe.profile, Service::Quic, &probe.sni);
    let name = ServerName::try_from(name).map_err(|error| defect(&error))?;
    let tls = match probe.profile {
        Profile::SmallHello => &trust.small_quic,
        _ => &trust.tunnel_quic,
    };
    let config = client_config(tls, probe.datagram_size).map_err(|error| defect(&error))?;
    let endpoint = Endpoint::new_with_abstract_socket(
        EndpointConfig::default(),
        None,
        Arc::clone(&socket) as Arc<dyn quinn::AsyncUdpSocket>,
        Arc::new(TokioRuntime),
    )
    .map_err(|error| defect(&error))?;
    let connecting = endpoint
        .connect_with(config, probe.remote, &probe.sni)
        .map_err(|error| defect(&error))?;
    let connection = tokio::select! {
        connected = connecting => connected.map_err(|error| failed(&error, &trace.state()))?,
        () = socket.hopeless() => {
            return Err(Outcome::Unanswered { failure: failure_from_errors(&trace.state()) });
        }
    };
    trace.handshake();
    let chain = peer_chain(&connection);
    let judged = trust.judge_edge(&chain, &name);
    let secured = describe(&connection, &chain);
    close(&connection, endpoint);
    judged.map_err(|chain| unsecured(HandshakeFailure::Untrusted { chain }))?;
    Ok(secured)
}

fn unsecured(failure: HandshakeFailure) -> Outcome {
    Outcome::Unsecured { failure }
}

/// An error that no network causes.
fn defect(error: &dyn ToString) -> Outcome {
    let error = OsError {
        code: None,
        text: error.to_string(),
    };
    Outcome::Unanswered {
        failure: ContactFailure::Other { error },
    }
}

fn failed(error: &quinn::ConnectionError, state: &TraceState) -> Outcome {
    if state.received == 0 {
        return Outcome::Unanswered {
            failure: failure_from_errors(state),
        };
    }
    unsecured(match cut_by(state) {
        HandshakeFailure::Silent => classify::quic_error(error),
        foreign => foreign,
    })
}

/// Why a flow that was answered came to nothing, when it went silent in the end.
#[must_use]
pub fn cut_by(state: &TraceState) -> HandshakeFailure {
    let foreign = state.foreign.as_ref();
    foreign.map_or(HandshakeFailure::Silent, |datagram| {
        classify::foreign(datagram)
    })
}

/// Every datagram has cloudflared's size, also those after the first (`min_mtu`), and Initials are
/// sent again when cloudflared sends them again.
fn client_config(
    tls: &Arc<rustls::ClientConfig>,
    datagram_size: u16,
) -> Result<ClientConfig, String> {
    let crypto = QuicClientConfig::try_from(Arc::clone(tls)).map_err(|error| error.to_string())?;
    let mut transport = TransportConfig::default();
    transport
        .initial_mtu(datagram_size)
        .min_mtu(datagram_size)
        .mtu_discovery_config(None)
        .initial_rtt(catalog::QUIC_INITIAL_RTT)
        .max_idle_timeout(HANDSHAKE_IDLE.try_into().ok())
        .enable_segmentation_offload(false);
    let mut config = ClientConfig::new(Arc::new(SplitHello(Arc::new(crypto))));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// cloudflared's own limit on a silent QUIC handshake (`supervisor/tunnel.go`).
const HANDSHAKE_IDLE: Duration = Duration::from_secs(5);

fn peer_chain(connection: &Connection) -> Vec<CertificateDer<'static>> {
    connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .map_or_else(Vec::new, |chain| *chain)
}

fn describe(connection: &Connection, chain: &[CertificateDer<'_>]) -> Secured {
    let data = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok());
    let alpn = data.and_then(|data| data.protocol);
    Secured {
        version: "TLSv1_3".to_owned(),
        group: None,
        alpn: alpn.map(|alpn| String::from_utf8_lossy(&alpn).into_owned()),
        issuer: classify::issuer_of(chain.first()),
        preface: None,
        http_status: None,
        http_error: None,
    }
}

/// Says goodbye, so that the edge keeps no half-dead connection, without holding up the verdict.
fn close(connection: &Connection, endpoint: Endpoint) {
    connection.close(0_u32.into(), b"");
    tokio::spawn(async move {
        const FAREWELL: Duration = Duration::from_millis(500);
        // Whether the farewell was heard does not matter.
        drop(tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await);
    });
}
