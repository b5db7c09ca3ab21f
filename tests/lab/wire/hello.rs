//! What a filter reads of a TLS `ClientHello` (RFC 8446, section 4.1.2).

/// As much as the bytes so far tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// The message goes on.
    Incomplete,
    /// These bytes begin no `ClientHello`.
    Foreign,
    /// All of it is there, with this server name.
    Complete(Option<String>),
}

const CLIENT_HELLO: u8 = 1;
const HANDSHAKE_RECORD: u8 = 22;
const SERVER_NAME: u16 = 0;

/// Reads a handshake message, as the CRYPTO frames of QUIC carry it.
pub(super) fn read(message: &[u8]) -> Hello {
    let Some((head, rest)) = message.split_at_checked(4) else {
        return Hello::Incomplete;
    };
    if head[0] != CLIENT_HELLO {
        return Hello::Foreign;
    }
    let length = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
    match rest.get(..length) {
        None => Hello::Incomplete,
        Some(body) => Hello::Complete(server_name(body)),
    }
}

/// Reads the beginning of a TCP stream: the handshake message in one record or several.
pub(super) fn read_records(mut stream: &[u8]) -> Hello {
    let mut message = Vec::new();
    loop {
        match read(&message) {
            Hello::Incomplete => {}
            answer => return answer,
        }
        match stream.first() {
            None => return Hello::Incomplete,
            Some(&HANDSHAKE_RECORD) => {}
            Some(_) => return Hello::Foreign,
        }
        let Some(length) = record_length(stream) else {
            return Hello::Incomplete;
        };
        let body = stream.get(5..5 + length).unwrap_or(&stream[5..]);
        message.extend_from_slice(body);
        stream = stream.get(5 + length..).unwrap_or_default();
    }
}

/// The length in the header of a handshake record, without the header.
pub(super) fn record_length(record: &[u8]) -> Option<usize> {
    let head = record.get(..5)?;
    let length = u16::from_be_bytes([head[3], head[4]]);
    (head[0] == HANDSHAKE_RECORD).then(|| length.into())
}

/// Version, random, session, cipher suites, compression methods, extensions.
fn server_name(body: &[u8]) -> Option<String> {
    let rest = body.get(34..)?;
    let (_, rest) = vector8(rest)?;
    let (_, rest) = vector16(rest)?;
    let (_, rest) = vector8(rest)?;
    let (mut extensions, _) = vector16(rest)?;
    while let Some((kind, rest)) = extensions.split_at_checked(2) {
        let (content, rest) = vector16(rest)?;
        if kind == SERVER_NAME.to_be_bytes() {
            // A list of names, of which the first has type 0: a host name (RFC 6066, section 3).
            let (list, _) = vector16(content)?;
            let (name, _) = vector16(list.get(1..)?)?;
            return String::from_utf8(name.to_vec()).ok();
        }
        extensions = rest;
    }
    None
}

fn vector8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked((*length).into())
}

fn vector16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(2)?;
    rest.split_at_checked(u16::from_be_bytes([length[0], length[1]]).into())
}
