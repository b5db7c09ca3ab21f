//! QUIC Initial packets as a filter reads them: their keys are no secret (RFC 9001, section 5.2).

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::{DirectionalKeys, Keys, Suite, Version};
use rustls::{Side, SupportedCipherSuite};

use super::pieces::Pieces;

const VERSION_1: u32 = 1;
const SAMPLE: usize = 16;

/// The `ClientHello` of one flow, put together from the CRYPTO frames of its Initials.
#[derive(Default)]
pub(super) struct Handshake {
    keys: Option<DirectionalKeys>,
    pub(super) frames: Pieces,
}

impl Handshake {
    /// Takes the Initials of version 1 out of a client's datagram; says whether there were any.
    pub(super) fn take(&mut self, datagram: &[u8]) -> bool {
        let mut rest = datagram;
        let mut found = false;
        while let Some(packet) = Long::read(rest) {
            rest = &rest[packet.end..];
            if packet.is_initial() {
                found |= self.open(&packet).is_some();
            }
        }
        found
    }

    /// Removes the protection and keeps what the CRYPTO frames carry.
    fn open(&mut self, packet: &Long) -> Option<()> {
        // The keys come from the connection ID of the client's first packet and stay.
        if self.keys.is_none() {
            self.keys = Some(client_keys(packet.destination_id)?);
        }
        let payload = decrypt(self.keys.as_ref()?, packet)?;
        crypto_frames(&payload, &mut self.frames);
        Some(())
    }
}

/// The connection ID of a client's datagram whose Initial was sent before it had heard the server, which
/// then gives it another one to use. Only the first one has the keys in it.
pub(super) fn begun_by(datagram: &[u8]) -> Option<&[u8]> {
    let packet = Long::read(datagram).filter(Long::is_initial)?;
    decrypt(&client_keys(packet.destination_id)?, &packet)?;
    Some(packet.destination_id)
}

/// A packet with a long header (RFC 9000, section 17.2) of version 1.
struct Long<'a> {
    bytes: &'a [u8],
    destination_id: &'a [u8],
    /// Where the packet number begins.
    number_at: usize,
    end: usize,
}

impl<'a> Long<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(5)?;
        let version = u32::from_be_bytes(head[1..].try_into().ok()?);
        if head[0] & 0xc0 != 0xc0 || version != VERSION_1 {
            return None;
        }
        let (destination_id, rest) = short_vector(rest)?;
        let (_, rest) = short_vector(rest)?;
        let mut reader = Reader(rest);
        if kind(head[0]) == INITIAL {
            let token = reader.length()?;
            reader.bytes(token)?;
        }
        let length = reader.length()?;
        let number_at = bytes.len() - reader.0.len();
        reader.bytes(length)?;
        Some(Self {
            bytes,
            destination_id,
            number_at,
            end: number_at + length,
        })
    }

    fn is_initial(&self) -> bool {
        kind(self.bytes[0]) == INITIAL
    }
}

const INITIAL: u8 = 0;

fn kind(first: u8) -> u8 {
    (first & 0x30) >> 4
}

fn client_keys(connection_id: &[u8]) -> Option<DirectionalKeys> {
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_128_GCM_SHA256 else {
        return None;
    };
    let Suite { suite, quic } = suite.quic_suite()?;
    let keys = Keys::initial(Version::V1, suite, quic, connection_id, Side::Server);
    Some(keys.remote)
}

fn decrypt(keys: &DirectionalKeys, packet: &Long) -> Option<Vec<u8>> {
    let mut bytes = packet.bytes[..packet.end].to_vec();
    let (head, tail) = bytes.split_at_mut(packet.number_at);
    let (number, rest) = tail.split_at_mut_checked(4)?;
    let sample = rest.get(..SAMPLE)?.to_vec();
    let first = head.first_mut()?;
    keys.header.decrypt_in_place(&sample, first, number).ok()?;
    let length = usize::from(*first & 0x03) + 1;
    // Initials are few: their numbers are never truncated.
    let full = number[..length]
        .iter()
        .fold(0, |full, octet| full << 8 | u64::from(*octet));
    let (header, payload) = bytes.split_at_mut(packet.number_at + length);
    let payload = keys.packet.decrypt_in_place(full, header, payload).ok()?;
    Some(payload.to_vec())
}

/// Keeps the CRYPTO frames of an Initial's payload (RFC 9000, section 12.4 tells which frames
/// there can be).
fn crypto_frames(payload: &[u8], frames: &mut Pieces) {
    let mut reader = Reader(payload);
    while let Some(frame) = reader.number() {
        let known = match frame {
            0x00 | 0x01 => Some(()),
            0x02 | 0x03 => reader.skip_ack(frame == 0x03),
            0x06 => reader
                .crypto()
                .map(|(offset, bytes)| frames.insert(offset, bytes)),
            _ => None,
        };
        if known.is_none() {
            return;
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A variable-length integer (RFC 9000, section 16).
    fn number(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let bytes = self.bytes(1 << (first >> 6))?;
        let start = u64::from(first & 0x3f);
        Some(
            bytes[1..]
                .iter()
                .fold(start, |n, octet| n << 8 | u64::from(*octet)),
        )
    }

    fn length(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    fn crypto(&mut self) -> Option<(usize, &'a [u8])> {
        let offset = self.length()?;
        let length = self.length()?;
        Some((offset, self.bytes(length)?))
    }

    /// Largest, delay, ranges, the first range, pairs of gap and range, three ECN counts.
    fn skip_ack(&mut self, ecn: bool) -> Option<()> {
        self.number()?;
        self.number()?;
        let ranges = self.number()?;
        for _ in 0..=2 * ranges {
            self.number()?;
        }
        for _ in 0..if ecn { 3 } else { 0 } {
            self.number()?;
        }
        Some(())
    }
}

fn short_vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked((*length).into())
}
