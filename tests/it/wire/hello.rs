//! As much of a `ClientHello` (RFC 8446, section 4.1.2) and an Initial (RFC 9000, section 17.2.2) as
//! the tests look at.

/// A `ClientHello`'s extensions by type.
pub(crate) struct ClientHello {
    extensions: Vec<(u16, Vec<u8>)>,
}

impl ClientHello {
    pub(crate) fn parse(handshake: &[u8]) -> Self {
        assert_eq!(handshake[0], 1, "a ClientHello");
        // Type and length, version, random.
        let mut at = 4 + 2 + 32;
        at += 1 + usize::from(handshake[at]);
        at += 2 + number(handshake, at);
        at += 1 + usize::from(handshake[at]);
        let end = at + 2 + number(handshake, at);
        at += 2;
        let mut extensions = Vec::new();
        while at < end {
            let kind = u16::from_be_bytes([handshake[at], handshake[at + 1]]);
            let length = number(handshake, at + 2);
            extensions.push((kind, handshake[at + 4..at + 4 + length].to_vec()));
            at += 4 + length;
        }
        Self { extensions }
    }

    /// The types of the extensions in their order.
    pub(crate) fn order(&self) -> Vec<u16> {
        self.extensions.iter().map(|(kind, _)| *kind).collect()
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        self.extensions.iter().any(|(k, _)| *k == kind)
    }

    fn extension(&self, kind: u16) -> Option<&[u8]> {
        self.extensions
            .iter()
            .find(|(k, _)| *k == kind)
            .map(|(_, body)| body.as_slice())
    }

    pub(crate) fn server_name(&self) -> &str {
        let body = self.extension(0).expect("server_name");
        std::str::from_utf8(&body[5..]).expect("ASCII")
    }

    pub(crate) fn groups(&self) -> Vec<u16> {
        let body = self.extension(10).expect("supported_groups");
        body[2..]
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect()
    }

    pub(crate) fn key_shares(&self) -> Vec<u16> {
        let body = self.extension(51).expect("key_share");
        let mut at = 2;
        let mut shares = Vec::new();
        while at < body.len() {
            shares.push(u16::from_be_bytes([body[at], body[at + 1]]));
            at += 4 + number(body, at + 2);
        }
        shares
    }

    /// The first protocol offered.
    pub(crate) fn alpn(&self) -> Option<Vec<u8>> {
        self.extension(16)
            .map(|body| body[3..3 + usize::from(body[2])].to_vec())
    }
}

/// The CRYPTO frames of a client's Initial, by offset (RFC 9001, section 5).
pub(crate) fn crypto_frames(datagram: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().expect("TLS 1.3").quic_suite().expect("QUIC");
    let id = initial_destination_id(datagram);
    let keys = suite.keys(id, rustls::Side::Server, rustls::quic::Version::V1);
    let mut packet = datagram.to_vec();
    let mut at = 6 + id.len();
    at += 1 + usize::from(packet[at]);
    assert_eq!(packet[at], 0, "no token");
    let length = number(&packet, at + 1) & 0x3fff;
    at += 3;
    let (header, rest) = packet.split_at_mut(at);
    let sample = rest[4..20].to_vec();
    let (numbers, _) = rest.split_at_mut(4);
    keys.remote
        .header
        .decrypt_in_place(&sample, &mut header[0], numbers)
        .expect("header protection");
    let width = usize::from(header[0] & 3) + 1;
    let packet_number = numbers[..width]
        .iter()
        .fold(0, |n, o| n << 8 | u64::from(*o));
    let (header, payload) = packet.split_at_mut(at + width);
    let payload =
        keys.remote
            .packet
            .decrypt_in_place(packet_number, header, &mut payload[..length - width]);
    frames(payload.expect("an Initial of this connection"))
}

/// PADDING and CRYPTO are all that a first flight has.
fn frames(mut payload: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut found = Vec::new();
    while let [kind, rest @ ..] = payload {
        payload = rest;
        assert!(matches!(kind, 0 | 1 | 6), "a frame of type {kind}");
        if *kind == 6 {
            let offset = take(&mut payload);
            let length = take(&mut payload);
            found.push((offset, payload[..length].to_vec()));
            payload = &payload[length..];
        }
    }
    found
}

fn take(payload: &mut &[u8]) -> usize {
    let width = 1_usize << (payload[0] >> 6);
    let first = usize::from(payload[0] & 0x3f);
    let value = payload[1..width]
        .iter()
        .fold(first, |n, o| n << 8 | usize::from(*o));
    *payload = &payload[width..];
    value
}

/// The octets of a stream whose pieces come in any order.
pub(crate) fn put_together(frames: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut stream = std::collections::BTreeMap::new();
    for (offset, octets) in frames {
        stream.extend((*offset..).zip(octets.iter().copied()));
    }
    assert!(stream.keys().copied().eq(0..stream.len()), "a gap");
    stream.into_values().collect()
}

/// The destination connection id of a QUIC version 1 Initial.
pub(crate) fn initial_destination_id(datagram: &[u8]) -> &[u8] {
    assert_eq!(datagram[0] & 0xf0, 0xc0, "an Initial");
    assert_eq!(datagram[1..5], [0, 0, 0, 1], "version 1");
    let length = usize::from(datagram[5]);
    &datagram[6..6 + length]
}

fn number(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}
