//! Filters that read the handshakes of QUIC.

use std::collections::BTreeMap;

use super::boxes::{Middlebox, TUNNEL_PORT, Verdict, matches};
use super::hello::{self, Hello};
use super::initial::Handshake;
use super::packet::{Direction, Flow, Packet};

/// A filter of QUIC flows. There is nothing like a reset in its reach, so it silences.
pub(super) struct Filter {
    by: By,
    flows: BTreeMap<Flow, State>,
}

enum By {
    Names(Vec<String>),
    Size,
}

enum State {
    Reading(Handshake),
    Passed,
    Cut,
}

impl Filter {
    pub(super) fn by_name(names: Vec<String>) -> Self {
        Self {
            by: By::Names(names),
            flows: BTreeMap::new(),
        }
    }

    /// Cuts the flows of which the first Initial does not hold all of the `ClientHello`.
    pub(super) fn by_size() -> Self {
        Self {
            by: By::Size,
            flows: BTreeMap::new(),
        }
    }
}

impl Middlebox for Filter {
    fn judge(&mut self, packet: &Packet) -> Verdict {
        if !packet.is("udp", TUNNEL_PORT) {
            return Verdict::PASS;
        }
        let state = self
            .flows
            .entry(packet.flow())
            .or_insert_with(|| State::Reading(Handshake::default()));
        if let State::Reading(handshake) = state
            && packet.direction == Direction::ToEdge
            && handshake.take(packet.payload())
            && let Some(cut) = self.by.decides(&hello::read(&handshake.message()))
        {
            *state = if cut { State::Cut } else { State::Passed };
        }
        match state {
            State::Cut => Verdict::DROP,
            State::Reading(_) | State::Passed => Verdict::PASS,
        }
    }
}

impl By {
    /// Whether to cut the flow, once that is known.
    fn decides(&self, hello: &Hello) -> Option<bool> {
        match (self, hello) {
            (Self::Names(_), Hello::Incomplete) => None,
            (Self::Names(names), Hello::Complete(Some(name))) => Some(matches(names, name)),
            (Self::Size, Hello::Incomplete) => Some(true),
            (_, Hello::Complete(_) | Hello::Foreign) => Some(false),
        }
    }
}
