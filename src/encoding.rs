//! What files of other programs are written in.

/// The text of a file in UTF-16, as `PowerShell` 5.1 writes it when output goes to a file; `None` where no
/// byte order mark says that it is one. What is no character is replaced (U+FFFD).
pub(crate) fn utf16(bytes: &[u8]) -> Option<String> {
    let from: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let (pairs, _) = bytes[2..].as_chunks::<2>();
    let units: Vec<_> = pairs.iter().map(|pair| from(*pair)).collect();
    Some(String::from_utf16_lossy(&units))
}
