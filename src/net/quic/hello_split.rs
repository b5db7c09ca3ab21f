//! cloudflared's QUIC library cuts its `ClientHello` into pieces and sends them out of order: the
//! second half of the server name goes last, in another datagram than the first. A filter that puts
//! nothing together may cut a hello in one piece and pass cloudflared's, or the other way round, so
//! ours has to be cut alike.
//!
//! The pieces change places before the packet is encrypted: a layer around the QUIC library's
//! Initial key rewrites the CRYPTO frames (RFC 9000, section 19.6) of each packet within its length.

use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use quinn::crypto::{
    ClientConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey,
    Session,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError};

/// A handshake whose `ClientHello` is cut into pieces.
pub(super) struct SplitHello(pub(super) Arc<dyn ClientConfig>);

impl ClientConfig for SplitHello {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let inner = Arc::clone(&self.0).start_session(version, server_name, params)?;
        let cut = Arc::default();
        Ok(Box::new(ScatteredSession { inner, cut }))
    }
}

/// All of the library's session but the key that encrypts Initials.
struct ScatteredSession {
    inner: Box<dyn Session>,
    cut: Arc<Mutex<Option<Cut>>>,
}

impl Session for ScatteredSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        let Keys { header, packet } = self.inner.initial_keys(dst_cid, side);
        let local = Box::new(ScatteringKey {
            inner: packet.local,
            cut: Arc::clone(&self.cut),
        });
        let remote = packet.remote;
        Keys {
            header,
            packet: KeyPair { local, remote },
        }
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.inner.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.inner.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

/// An Initial key that rewrites what it encrypts.
struct ScatteringKey {
    inner: Box<dyn PacketKey>,
    cut: Arc<Mutex<Option<Cut>>>,
}

impl PacketKey for ScatteringKey {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        let end = buf.len().saturating_sub(self.inner.tag_len());
        if let Some(payload) = buf.get_mut(header_len..end) {
            let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
            hello_split(payload, &mut cut);
        }
        self.inner.encrypt(packet, buf, header_len);
    }

    fn decrypt(
        &self,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        self.inner.decrypt(packet, header, payload)
    }

    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.inner.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.inner.integrity_limit()
    }
}

/// The part of the hello that goes last: the second half of the server name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cut {
    range: Range<usize>,
    octets: Vec<u8>,
    /// The length of the whole hello.
    hello: usize,
}

impl Cut {
    /// Finds the cut in the beginning of a `ClientHello` (RFC 8446, section 4.1.2).
    fn find(hello: &[u8]) -> Option<Self> {
        const CLIENT_HELLO: u8 = 1;
        const VERSION_AND_RANDOM: usize = 34;
        let (kind, rest) = hello.split_first()?;
        let (length, _) = rest.split_at_checked(3)?;
        let length = length.iter().fold(0, |sum, o| (sum << 8) | usize::from(*o));
        let mut at = 4 + VERSION_AND_RANDOM;
        at += 1 + usize::from(*hello.get(at)?);
        at += 2 + number(hello, at)?;
        at += 1 + usize::from(*hello.get(at)?);
        at += 2;
        let name = server_name(hello, at)?;
        let range = name.start + name.len() / 2..name.end;
        (*kind == CLIENT_HELLO).then_some(Self {
            octets: hello.get(range.clone())?.to_vec(),
            range,
            hello: 4 + length,
        })
    }
}

/// Where the name of the `server_name` extension (RFC 6066) stands, in extensions from `at` on.
fn server_name(hello: &[u8], mut at: usize) -> Option<Range<usize>> {
    const SERVER_NAME: usize = 0;
    /// Extension type and length, list length, kind of name, length of name.
    const HEADER: usize = 9;
    while number(hello, at)? != SERVER_NAME {
        at += 4 + number(hello, at + 2)?;
    }
    let start = at + HEADER;
    let length = number(hello, at + HEADER - 2)?;
    (hello.len() >= start + length).then_some(start..start + length)
}

fn number(octets: &[u8], at: usize) -> Option<usize> {
    let pair = octets.get(at..)?.first_chunk::<2>()?;
    Some(usize::from(u16::from_be_bytes(*pair)))
}

/// Takes the cut out of the hello in a packet's frames, and puts it behind the hello's end.
///
/// A packet that this cannot be done with stays as it is, which is another order of the same octets.
fn hello_split(payload: &mut [u8], cut: &mut Option<Cut>) {
    /// What fits into two octets of a variable-length integer; no hello is that long.
    const LONGEST: usize = 0x4000;
    let Some((others, pieces)) = frames(payload) else {
        return;
    };
    if pieces
        .iter()
        .any(|(offset, octets)| offset + octets.len() >= LONGEST)
    {
        return;
    }
    let found = || pieces.iter().find(|(offset, _)| *offset == 0);
    let known = cut.take().or_else(|| Cut::find(found()?.1));
    let Some(known) = known else { return };
    let mut scattered = others;
    for (offset, octets) in &pieces {
        let end = offset + octets.len();
        for part in [
            *offset..end.min(known.range.start),
            (*offset).max(known.range.end)..end,
        ] {
            if let Some(octets) =
                octets.get(part.start.saturating_sub(*offset)..part.end.saturating_sub(*offset))
                && !octets.is_empty()
            {
                put_crypto(&mut scattered, part.start, octets);
            }
        }
        if end == known.hello {
            put_crypto(&mut scattered, known.range.start, &known.octets);
        }
    }
    if !pieces.is_empty() && scattered.len() <= payload.len() {
        // What is left over is PADDING, which is zeros.
        scattered.resize(payload.len(), 0);
        payload.copy_from_slice(&scattered);
    }
    *cut = Some(known);
}

type Piece<'a> = (usize, &'a [u8]);

/// The frames of an Initial (RFC 9000, section 12.4): CRYPTO with their offsets, and all others but
/// PADDING as they are. Nothing for a packet with frames that no handshake begins with.
fn frames(payload: &[u8]) -> Option<(Vec<u8>, Vec<Piece<'_>>)> {
    let (mut others, mut pieces) = (Vec::new(), Vec::new());
    let mut rest = payload;
    while let Some(kind) = rest.first() {
        let start = rest;
        rest = rest.get(1..)?;
        match *kind {
            0 => continue,
            1 => {}
            6 => {
                let offset = take_number(&mut rest)?;
                let length = take_number(&mut rest)?;
                let (octets, after) = rest.split_at_checked(length)?;
                pieces.push((offset, octets));
                rest = after;
                continue;
            }
            2 => skip_acknowledgement(&mut rest, 0)?,
            3 => skip_acknowledgement(&mut rest, 3)?,
            _ => return None,
        }
        others.extend_from_slice(start.get(..start.len() - rest.len())?);
    }
    Some((others, pieces))
}

/// Largest acknowledged, delay, count of ranges, first range, the ranges, the counts of ECN.
fn skip_acknowledgement(rest: &mut &[u8], counts: usize) -> Option<()> {
    let [_, _, ranges, _] = [(); 4].map(|()| take_number(rest));
    for _ in 0..2 * ranges? + counts {
        take_number(rest)?;
    }
    Some(())
}

/// A variable-length integer (RFC 9000, section 16).
fn take_number(rest: &mut &[u8]) -> Option<usize> {
    let first = *rest.first()?;
    let length = 1_usize << (first >> 6);
    let (octets, after) = rest.split_at_checked(length)?;
    *rest = after;
    let tail = octets.iter().skip(1);
    Some(tail.fold(usize::from(first & 0x3f), |sum, octet| {
        (sum << 8) | usize::from(*octet)
    }))
}

fn put_crypto(packet: &mut Vec<u8>, offset: usize, octets: &[u8]) {
    const CRYPTO: u8 = 6;
    packet.push(CRYPTO);
    put_number(packet, offset);
    put_number(packet, octets.len());
    packet.extend_from_slice(octets);
}

/// A number of less than 16,384.
fn put_number(packet: &mut Vec<u8>, number: usize) {
    let [.., high, low] = number.to_be_bytes();
    match number {
        0..64 => packet.push(low),
        _ => packet.extend([high | 0x40, low]),
    }
}

#[cfg(test)]
mod tests;
