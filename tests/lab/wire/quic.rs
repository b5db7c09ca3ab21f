//! Filters that read the handshakes of QUIC.

use std::collections::BTreeMap;

use super::boxes::{Middlebox, TUNNEL_PORT, Verdict, matches};
use super::hello::{self, Hello};
use super::initial::{self, Handshake};
use super::packet::{Direction, Flow, Packet};

/// A filter of QUIC flows. There is nothing like a reset in its reach, so it silences.
pub(super) struct Filter {
    by: By,
    flows: BTreeMap<Flow, Connection>,
}

/// The latest connection of a flow.
struct Connection {
    /// The connection ID of its first packet; empty before that.
    id: Vec<u8>,
    state: State,
}

impl Connection {
    fn new(id: Vec<u8>) -> Self {
        Self {
            id,
            state: State::Reading(Handshake::default()),
        }
    }
}

/// What a flow is cut for.
pub(super) enum By {
    /// Its server name is one of these.
    Name(Vec<String>),
    /// One of these stands in a CRYPTO frame.
    Bytes(Vec<String>),
    /// The first Initial does not hold all of the `ClientHello`.
    Size,
}

enum State {
    Reading(Handshake),
    Passed,
    Cut,
}

impl Filter {
    pub(super) fn new(by: By) -> Self {
        Self {
            by,
            flows: BTreeMap::new(),
        }
    }
}

impl Middlebox for Filter {
    fn judge(&mut self, packet: &Packet) -> Verdict {
        if !packet.is("udp", TUNNEL_PORT) {
            return Verdict::PASS;
        }
        let to_edge = packet.direction == Direction::ToEdge;
        let first = || Connection::new(Vec::new());
        let connection = self.flows.entry(packet.flow()).or_insert_with(first);
        // The system gives a port again, and what was true of its last connection is over.
        if to_edge
            && let Some(id) = initial::begun_by(packet.payload())
            && id != connection.id
        {
            *connection = Connection::new(id.to_vec());
        }
        let state = &mut connection.state;
        if let State::Reading(handshake) = state
            && to_edge
            && handshake.take(packet.payload())
            && let Some(cut) = self.by.decides(handshake)
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
    fn decides(&self, handshake: &Handshake) -> Option<bool> {
        let hello = hello::read(&handshake.frames.prefix());
        let is_complete = hello != Hello::Incomplete;
        match (self, hello) {
            (Self::Bytes(names), _) => {
                let found = |name: &String| handshake.frames.any_holds(name.as_bytes());
                names
                    .iter()
                    .any(found)
                    .then_some(true)
                    .or(is_complete.then_some(false))
            }
            (Self::Name(_), Hello::Incomplete) => None,
            (Self::Name(names), Hello::Complete(Some(name))) => Some(matches(names, &name)),
            (Self::Size, Hello::Incomplete) => Some(true),
            (_, Hello::Complete(_) | Hello::Foreign) => Some(false),
        }
    }
}
