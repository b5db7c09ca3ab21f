//! Library and operating-system errors become failures of the model. Pure: errors in, words out.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CertificateError};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::os::errno;
use crate::model::{
    ContactFailure, DistrustKind, HandshakeFailure, IcmpError, OsError, UntrustedChain,
};

/// An entry of a socket's error queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedError {
    /// The error number that the socket call returned, or would have.
    pub errno: i32,
    /// The ICMP message behind it, if it was one.
    pub icmp: Option<IcmpError>,
}

/// What an error of a socket says of who is behind it, on a system that tells no more than a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorOrigin {
    /// An ICMP error, as a rule of an unknown sender.
    Icmp(IcmpError),
    /// A router's word, or this host's own about a gateway that does not answer.
    Unknown,
}

impl ErrorOrigin {
    /// The ICMP error, if it is known to be one.
    #[must_use]
    pub fn icmp(self) -> Option<IcmpError> {
        match self {
            Self::Icmp(icmp) => Some(icmp),
            Self::Unknown => None,
        }
    }
}

/// Who is "this host itself" for the sender of an ICMP error.
#[must_use]
pub fn is_own_address(from: IpAddr, local: Option<IpAddr>, own: &[IpAddr]) -> bool {
    from.is_loopback() || Some(from) == local || own.contains(&from)
}

/// A failure of `connect` or `send` itself: the host's own decision, taken before anything was sent.
#[must_use]
pub fn local_error(error: &io::Error) -> ContactFailure {
    let os = OsError::from(error);
    match error.raw_os_error() {
        Some(code) if errno::LOCAL_FIREWALL.contains(&code) => ContactFailure::LocalFirewall {
            error: os,
            icmp: None,
        },
        Some(code) if errno::NO_ROUTE.contains(&code) => ContactFailure::NoRoute { error: os },
        Some(errno::TOO_BIG) => ContactFailure::TooBig { error: os },
        _ => ContactFailure::Other { error: os },
    }
}

/// True for a routing decision that knows a route and forbids it, rather than lacks one.
#[must_use]
pub fn route_forbids(error: &io::Error) -> bool {
    let listed = |list: &[i32]| {
        error
            .raw_os_error()
            .is_some_and(|code| list.contains(&code))
    };
    listed(errno::ROUTE_FORBIDS) || listed(errno::LOCAL_FIREWALL)
}

/// An ICMP error that answered a flow of ours.
///
/// This host itself is the sender when its own firewall rejects, and also when the next hop does not
/// answer ARP or neighbour discovery. The latter is told by its code (host or address unreachable)
/// and by the seconds that the kernel spends asking; a firewall answers at once. Whoever asks when the
/// seconds are nearly over waits as little as for a firewall: the diagnosis compares them.
#[must_use]
pub fn icmp_failure(
    icmp: IcmpError,
    own: bool,
    waited: Duration,
    error: OsError,
) -> ContactFailure {
    const NEIGHBOUR_PATIENCE: Duration = Duration::from_millis(500);
    match (
        own,
        icmp.is_host_unreachable() && waited > NEIGHBOUR_PATIENCE,
    ) {
        (true, true) => ContactFailure::NoRoute { error },
        (true, false) => ContactFailure::LocalFirewall {
            error,
            icmp: Some(icmp),
        },
        (false, _) => ContactFailure::Icmp { icmp },
    }
}

/// A TCP connect that failed after its SYN was sent, when the error queue held no ICMP error.
#[must_use]
pub fn connect_error(error: &io::Error) -> ContactFailure {
    match error.raw_os_error() {
        Some(errno::REFUSED | errno::RESET) => ContactFailure::Reset,
        Some(errno::TIMED_OUT) => ContactFailure::Silent,
        _ => local_error(error),
    }
}

/// True for what an ICMP error makes of a call on an established TCP flow (`icmp(7)`), which RFC 1122,
/// section 4.2.3.9, calls a soft error: the flow goes on.
#[must_use]
pub fn is_soft(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| errno::SOFT.contains(&code))
}

/// A TLS handshake over TCP that failed; `received` is what the other side sent first.
#[must_use]
pub fn tls_error(error: &io::Error, received: &[u8]) -> HandshakeFailure {
    if let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        return match tls {
            _ if !looks_like_tls(received) => foreign(received),
            rustls::Error::AlertReceived(alert) => alert_received(*alert),
            other if *other == group_not_offered() => HandshakeFailure::GroupNotOffered {
                error: other.to_string(),
            },
            other => HandshakeFailure::Other {
                error: other.to_string(),
            },
        };
    }
    if !looks_like_tls(received) {
        return foreign(received);
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => HandshakeFailure::Reset,
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted => HandshakeFailure::Closed,
        io::ErrorKind::TimedOut => HandshakeFailure::Silent,
        _ => HandshakeFailure::Other {
            error: error.to_string(),
        },
    }
}

/// What the library makes of a `HelloRetryRequest` for a group that was not offered.
const fn group_not_offered() -> rustls::Error {
    rustls::Error::PeerMisbehaved(
        rustls::PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedNamedGroup,
    )
}

fn alert_received(alert: AlertDescription) -> HandshakeFailure {
    match alert {
        AlertDescription::NoApplicationProtocol => HandshakeFailure::WrongAlpn,
        alert => HandshakeFailure::Alert {
            alert: format!("{alert:?}"),
        },
    }
}

/// True for nothing at all, and for a record header of TLS (RFC 8446, section 5.1).
fn looks_like_tls(received: &[u8]) -> bool {
    matches!(received, [] | [20..=23] | [20..=23, 3, ..])
}

/// What came back is neither TLS nor QUIC.
#[must_use]
pub fn foreign(received: &[u8]) -> HandshakeFailure {
    let (http_status, location) = http_head(received);
    HandshakeFailure::NotTls {
        received: printable(received),
        http_status,
        location,
    }
}

/// Status and Location of an HTTP response, as far as it has come.
#[must_use]
pub fn http_head(received: &[u8]) -> (Option<u16>, Option<String>) {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    if response.parse(received).is_err() {
        // The status line comes first, and is good whatever follows it.
        return (response.code, None);
    }
    let location = response
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("location"));
    (response.code, location.map(|h| printable(h.value)))
}

/// The first bytes as text: what is not printable ASCII becomes a dot.
fn printable(bytes: &[u8]) -> String {
    let printable = |b: &u8| {
        if b.is_ascii_graphic() || *b == b' ' {
            char::from(*b)
        } else {
            '.'
        }
    };
    bytes.iter().take(200).map(printable).collect()
}

/// A QUIC connection attempt that failed although the other side had answered.
#[must_use]
pub fn quic_error(error: &quinn::ConnectionError) -> HandshakeFailure {
    use quinn::ConnectionError as E;
    let by_code = |code: u64, text: String| match code {
        0x178 => HandshakeFailure::WrongAlpn,
        0x100..=0x1ff => {
            let alert = AlertDescription::from(u8::try_from(code & 0xff).unwrap_or_default());
            alert_received(alert)
        }
        _ => HandshakeFailure::Refused { error: text },
    };
    match error {
        E::VersionMismatch => HandshakeFailure::VersionNegotiation,
        E::TimedOut => HandshakeFailure::Silent,
        E::Reset => HandshakeFailure::Reset,
        E::ConnectionClosed(close) => by_code(close.error_code.into(), close.to_string()),
        // quinn keeps the words of the TLS library's error, and not the error.
        E::TransportError(local) if local.reason == group_not_offered().to_string() => {
            HandshakeFailure::GroupNotOffered {
                error: local.reason.clone(),
            }
        }
        E::TransportError(local) => by_code(local.code.into(), local.to_string()),
        other => HandshakeFailure::Refused {
            error: other.to_string(),
        },
    }
}

/// Why a chain is not trusted, and who presents it.
#[must_use]
pub fn untrusted_chain(chain: &[CertificateDer<'_>], error: &rustls::Error) -> UntrustedChain {
    let leaf = chain
        .first()
        .and_then(|der| X509Certificate::from_der(der).ok());
    let leaf = leaf.as_ref().map(|(_, certificate)| certificate);
    let unreadable = || "an unreadable certificate".to_owned();
    let time = |time: x509_parser::time::ASN1Time| {
        jiff::Timestamp::from_second(time.timestamp())
            .ok()
            .map(|stamp| stamp.to_string())
    };
    UntrustedChain {
        reason: error.to_string(),
        kind: distrust_kind(error),
        subject: leaf.map_or_else(unreadable, |c| c.subject().to_string()),
        issuer: leaf.map_or_else(unreadable, |c| c.issuer().to_string()),
        not_before: leaf.and_then(|c| time(c.validity().not_before)),
        not_after: leaf.and_then(|c| time(c.validity().not_after)),
        above: chain.iter().skip(1).map(|der| subject_of(der)).collect(),
    }
}

/// The issuer of a leaf certificate, or a remark that it cannot be read.
#[must_use]
pub fn issuer_of(leaf: Option<&CertificateDer<'_>>) -> String {
    leaf.and_then(|der| X509Certificate::from_der(der).ok())
        .map_or_else(
            || "unreadable".to_owned(),
            |(_, certificate)| certificate.issuer().to_string(),
        )
}

fn subject_of(der: &CertificateDer<'_>) -> String {
    X509Certificate::from_der(der).map_or_else(
        |_| "unreadable".to_owned(),
        |(_, certificate)| certificate.subject().to_string(),
    )
}

fn distrust_kind(error: &rustls::Error) -> DistrustKind {
    use CertificateError as E;
    let rustls::Error::InvalidCertificate(error) = error else {
        return DistrustKind::Invalid;
    };
    match error {
        E::UnknownIssuer => DistrustKind::UnknownIssuer,
        E::NotValidForName | E::NotValidForNameContext { .. } => DistrustKind::WrongName,
        E::Expired | E::ExpiredContext { .. } => DistrustKind::Expired,
        E::NotValidYet | E::NotValidYetContext { .. } => DistrustKind::NotYetValid,
        _ => DistrustKind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(code: i32) -> OsError {
        OsError::from(&io::Error::from_raw_os_error(code))
    }

    #[test]
    fn a_refused_connect_without_icmp_is_a_reset() {
        let error = io::Error::from_raw_os_error(errno::REFUSED);
        assert_eq!(connect_error(&error), ContactFailure::Reset);
    }

    #[test]
    fn the_sender_tells_a_local_rejection_from_a_remote_one() {
        let quick = Duration::from_millis(1);
        let remote = icmp_failure(IcmpError::v4(3, 13), false, quick, os(113));
        assert!(matches!(remote, ContactFailure::Icmp { .. }));
        let local = icmp_failure(IcmpError::v4(3, 3), true, quick, os(111));
        assert!(matches!(
            local,
            ContactFailure::LocalFirewall { icmp: Some(_), .. }
        ));
    }

    #[test]
    fn a_silent_gateway_is_no_firewall() {
        let slow = Duration::from_secs(3);
        let neighbour = icmp_failure(IcmpError::v4(3, 1), true, slow, os(113));
        assert!(matches!(neighbour, ContactFailure::NoRoute { .. }));
        let rejected = icmp_failure(IcmpError::v4(3, 1), true, Duration::from_millis(1), os(113));
        assert!(matches!(rejected, ContactFailure::LocalFirewall { .. }));
    }

    #[test]
    fn routing_decisions_are_told_from_firewalls() {
        for code in errno::NO_ROUTE {
            let error = io::Error::from_raw_os_error(*code);
            assert!(
                matches!(local_error(&error), ContactFailure::NoRoute { .. }),
                "{code}"
            );
        }
        let error = io::Error::from_raw_os_error(errno::LOCAL_FIREWALL[0]);
        assert!(matches!(
            local_error(&error),
            ContactFailure::LocalFirewall { .. }
        ));
    }

    #[test]
    fn a_portal_is_read_with_its_location() {
        let portal = b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\x1b[2J\r\n\r\n";
        let HandshakeFailure::NotTls {
            http_status,
            location,
            ..
        } = foreign(portal)
        else {
            panic!("not TLS expected")
        };
        assert_eq!(http_status, Some(302));
        assert_eq!(
            location, None,
            "a header with a control character is not read"
        );
        let (_, location) = http_head(b"HTTP/1.1 302 Found\r\nLocation: http://p.example/\r\n\r\n");
        assert_eq!(location.as_deref(), Some("http://p.example/"));
    }

    #[test]
    fn nothing_received_is_no_protocol() {
        let eof = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(tls_error(&eof, b""), HandshakeFailure::Closed);
        assert!(matches!(
            tls_error(&eof, b"SSH-2.0-x"),
            HandshakeFailure::NotTls { .. }
        ));
    }

    #[test]
    fn a_server_without_the_tunnels_protocol_says_so_in_an_alert() {
        let told = |alert| {
            let tls = rustls::Error::AlertReceived(alert);
            let error = io::Error::new(io::ErrorKind::InvalidData, tls);
            tls_error(&error, &[21, 3, 3])
        };
        let no_protocol = told(AlertDescription::NoApplicationProtocol);
        assert_eq!(no_protocol, HandshakeFailure::WrongAlpn);
        let other = told(AlertDescription::HandshakeFailure);
        assert!(matches!(other, HandshakeFailure::Alert { .. }));
    }
}
