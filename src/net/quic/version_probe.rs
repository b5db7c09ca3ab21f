//! A datagram of a QUIC version that nobody speaks: whoever speaks QUIC answers with the versions that
//! it does speak (RFC 9000, section 6). So it shows whether UDP reaches a QUIC server where no
//! handshake comes about.

use rustls::crypto::aws_lc_rs;
use tokio::time::{Instant, timeout_at};

use super::failure_from_errors;
use super::socket::ProbeSocket;
use crate::catalog;
use crate::model::{HandshakeFailure, Outcome};
use crate::net::Trace;

/// From the range that is reserved to force the answer (RFC 9000, section 15).
const VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];

/// Octets of either connection id.
const ID: usize = 8;

/// Sends the ping as often as cloudflared sends an Initial, until it is answered.
pub(super) async fn ping(socket: &ProbeSocket, size: u16, trace: &Trace) -> Outcome {
    let ping = match Ping::new(size) {
        Ok(ping) => ping,
        Err(error) => return super::defect(&error),
    };
    let answered = tokio::select! {
        () = exchange(socket, &ping) => true,
        () = socket.hopeless() => false,
        () = tokio::time::sleep(super::HANDSHAKE_IDLE) => false,
    };
    if answered {
        super::unsecured(HandshakeFailure::VersionNegotiation)
    } else {
        let failure = failure_from_errors(&trace.state());
        Outcome::Unanswered { failure }
    }
}

/// Returns once the answer has come.
async fn exchange(socket: &ProbeSocket, ping: &Ping) {
    let started = Instant::now();
    let mut schedule = catalog::QUIC_SCHEDULE.iter().copied().skip(1);
    loop {
        socket.send(&ping.datagram).await;
        let next = schedule.next();
        let until = started + next.unwrap_or(super::HANDSHAKE_IDLE);
        let mut answer = [0; 2048];
        while let Ok(length) = timeout_at(until, socket.recv(&mut answer)).await {
            if answer
                .get(..length)
                .is_some_and(|answer| ping.is_answered_by(answer))
            {
                return;
            }
        }
        if next.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// The ping and what its answer must repeat.
struct Ping {
    ids: [u8; 2 * ID],
    datagram: Vec<u8>,
}

impl Ping {
    fn new(size: u16) -> Result<Self, String> {
        let mut ids = [0; 2 * ID];
        let random = aws_lc_rs::default_provider().secure_random;
        random
            .fill(&mut ids)
            .map_err(|error| format!("{error:?}"))?;
        Ok(Self::with_ids(ids, size))
    }

    /// A long header with both connection ids, filled up with zeros.
    fn with_ids(ids: [u8; 2 * ID], size: u16) -> Self {
        const LONG_HEADER: u8 = 0xc0;
        let mut datagram = vec![LONG_HEADER];
        datagram.extend(VERSION);
        for id in ids.chunks(ID) {
            datagram.extend(u8::try_from(id.len()));
            datagram.extend(id);
        }
        datagram.resize(size.into(), 0);
        Self { ids, datagram }
    }

    /// Version Negotiation (RFC 9000, section 17.2.1) with both ids in each other's place, which
    /// nobody can send who has not seen the ping.
    fn is_answered_by(&self, answer: &[u8]) -> bool {
        let (destination, source) = self.ids.split_at(ID);
        let mut expected = vec![0, 0, 0, 0];
        for id in [source, destination] {
            expected.extend(u8::try_from(id.len()));
            expected.extend(id);
        }
        matches!(answer, [0x80..=0xff, rest @ ..] if rest.starts_with(&expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mirrored_version_negotiation_is_an_answer() {
        let ids: [u8; 2 * ID] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let ping = Ping::with_ids(ids, 1232);
        assert_eq!(ping.datagram.len(), 1232);
        let answer = |version: [u8; 4], first: &[u8], second: &[u8]| {
            [
                &[0x80][..],
                &version,
                &[8],
                first,
                &[8],
                second,
                &[0, 0, 0, 1],
            ]
            .concat()
        };
        let (destination, source) = ids.split_at(ID);
        assert!(ping.is_answered_by(&answer([0; 4], source, destination)));
        assert!(!ping.is_answered_by(&answer([0; 4], destination, source)));
        assert!(!ping.is_answered_by(&answer([0, 0, 0, 1], source, destination)));
        assert!(!ping.is_answered_by(&ping.datagram), "an echo is no answer");
        assert!(!ping.is_answered_by(&[]));
    }
}
