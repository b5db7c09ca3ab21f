//! A stream from pieces that come in any order.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Pieces(BTreeMap<usize, Vec<u8>>);

impl Pieces {
    /// Keeps what was sent at this offset; of several that begin there, the longest.
    pub(super) fn insert(&mut self, offset: usize, bytes: &[u8]) {
        let kept = self.0.entry(offset).or_default();
        if kept.len() < bytes.len() {
            *kept = bytes.to_vec();
        }
    }

    /// Whether this stands in one of the pieces as it was sent.
    pub(super) fn any_holds(&self, text: &[u8]) -> bool {
        let holds = |piece: &Vec<u8>| piece.windows(text.len()).any(|part| part == text);
        self.0.values().any(holds)
    }

    /// The stream from its beginning, as far as it goes without a gap.
    pub(super) fn prefix(&self) -> Vec<u8> {
        let mut stream = Vec::new();
        for (offset, bytes) in &self.0 {
            match stream.len().checked_sub(*offset) {
                Some(known) => stream.extend_from_slice(bytes.get(known..).unwrap_or_default()),
                None => break,
            }
        }
        stream
    }
}
