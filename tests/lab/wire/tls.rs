//! Filters that read the handshakes of TLS over TCP.

use std::collections::BTreeMap;

use super::boxes::{Action, Answer, Middlebox, TUNNEL_PORT, Verdict, matches};
use super::forge::{self, Error};
use super::hello::{self, Hello};
use super::packet::{ACK, Direction, FIN, Flow, PSH, Packet, RST, SYN, Transport};
use super::pieces::Pieces;

pub(super) struct Filter {
    by: By,
    action: Action,
    flows: BTreeMap<Flow, State>,
}

enum By {
    Names(Vec<String>),
    Size,
}

enum State {
    Reading(Stream),
    Passed,
    Cut,
}

/// What the client has sent, by sequence number.
struct Stream {
    start: u32,
    pieces: Pieces,
}

impl Filter {
    pub(super) fn by_name(names: Vec<String>, action: Action) -> Self {
        Self::new(By::Names(names), action)
    }

    pub(super) fn by_size(action: Action) -> Self {
        Self::new(By::Size, action)
    }

    fn new(by: By, action: Action) -> Self {
        Self {
            by,
            action,
            flows: BTreeMap::new(),
        }
    }
}

impl Middlebox for Filter {
    fn judge(&mut self, packet: &Packet) -> Verdict {
        let Transport::Tcp {
            sequence,
            acknowledged,
            flags,
        } = packet.transport
        else {
            return Verdict::PASS;
        };
        if !packet.is("tcp", TUNNEL_PORT) {
            return Verdict::PASS;
        }
        let to_edge = packet.direction == Direction::ToEdge;
        if to_edge && flags & SYN != 0 {
            let stream = Stream {
                start: sequence.wrapping_add(1),
                pieces: Pieces::default(),
            };
            self.flows.insert(packet.flow(), State::Reading(stream));
            return Verdict::PASS;
        }
        let Some(state) = self.flows.get_mut(&packet.flow()) else {
            return Verdict::PASS;
        };
        if let State::Reading(stream) = state
            && to_edge
            && !packet.payload().is_empty()
            && let Some(cut) = self.by.decides(stream, sequence, packet.payload())
        {
            if cut {
                *state = State::Cut;
                return Verdict {
                    dropped: true,
                    answers: cuts(self.action, packet, sequence, acknowledged),
                };
            }
            *state = State::Passed;
        }
        match state {
            State::Cut => Verdict::DROP,
            State::Reading(_) | State::Passed => Verdict::PASS,
        }
    }
}

impl By {
    /// Whether to cut the flow, once that is known.
    fn decides(&self, stream: &mut Stream, sequence: u32, payload: &[u8]) -> Option<bool> {
        let offset = usize::try_from(sequence.wrapping_sub(stream.start)).ok()?;
        match self {
            Self::Names(names) => {
                stream.pieces.insert(offset, payload);
                match hello::read_records(&stream.pieces.prefix()) {
                    Hello::Incomplete => None,
                    Hello::Complete(Some(name)) => Some(matches(names, &name)),
                    Hello::Complete(None) | Hello::Foreign => Some(false),
                }
            }
            // Such a box looks at the first segment alone and does not put anything together.
            Self::Size if offset == 0 => {
                Some(hello::record_length(payload).is_some_and(|length| length + 5 > payload.len()))
            }
            Self::Size => None,
        }
    }
}

/// What a box sends when it cuts a flow at this packet of the client, which goes no further.
fn cuts(action: Action, packet: &Packet, sequence: u32, acknowledged: u32) -> Vec<Answer> {
    let (client, edge) = (packet.source, packet.destination);
    let swallowed = u32::try_from(packet.payload().len()).expect("a segment");
    let taken = sequence.wrapping_add(swallowed);
    let says = |flags, payload: &[u8]| Answer {
        direction: Direction::ToClient,
        bytes: forge::segment(edge, client, acknowledged, taken, flags, payload),
    };
    let to_client = |flags| says(flags, &[]);
    match action {
        Action::Silent => Vec::new(),
        Action::Reset => vec![
            to_client(RST | ACK),
            Answer {
                direction: Direction::ToEdge,
                bytes: forge::segment(client, edge, sequence, acknowledged, RST | ACK, &[]),
            },
        ],
        Action::Close => vec![to_client(FIN | ACK)],
        // A fatal `unrecognized_name` (RFC 6066, section 3).
        Action::Alert => vec![says(PSH | ACK, &[21, 3, 3, 0, 2, 2, 112])],
        Action::Icmp => vec![Answer {
            direction: Direction::ToClient,
            bytes: forge::icmp_error(packet, Error::AdminProhibited),
        }],
    }
}
