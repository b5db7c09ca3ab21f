//! Middleboxes: what on the wire reads packets, and what it does to them.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::forge::{self, Error};
use super::packet::{Direction, Flow, Packet, Transport};
use super::{quic, tls};

/// The port of the tunnel, the only one that boxes look at.
pub(super) const TUNNEL_PORT: u16 = 7844;

/// A box as a scenario describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Kind {
    /// Reads the server name of QUIC handshakes, and silences the flows that ask for one of these.
    QuicSni {
        names: Vec<String>,
        /// Whether it puts the CRYPTO frames together, or looks for the names in each by itself.
        #[serde(default = "yes")]
        assembles: bool,
    },
    /// Silences QUIC flows whose `ClientHello` does not fit into one datagram.
    QuicLargeHello,
    /// Reads the server name of TLS over TCP, and cuts the flows that ask for one of these.
    TlsSni { names: Vec<String>, action: Action },
    /// Cuts the flows whose first segment does not hold all of the `ClientHello`'s record.
    TlsLargeHello { action: Action },
    /// Drops datagrams of more than so many octets of UDP payload, in silence or with the ICMP
    /// error that tells the MTU.
    MaxDatagram {
        octets: usize,
        #[serde(default)]
        icmp: bool,
    },
    /// Passes everything, and answers the first packet of a flow with an ICMP error all the same.
    ForgedIcmp { on: Victim, error: Forged },
}

fn yes() -> bool {
    true
}

/// What happens to a TCP flow that is cut.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Nothing of it passes any more.
    Silent,
    /// Both ends get a reset in the other one's name.
    Reset,
    /// The client gets a FIN in the edge's name.
    Close,
    /// The client gets a TLS alert in the edge's name.
    Alert,
    /// The client gets an ICMP error, and nothing of the flow passes any more.
    Icmp,
}

/// Which packet of which flows is answered with a forged ICMP error.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Victim {
    /// The first datagram.
    Udp,
    /// The first segment with data: an error about the SYN ends any connect, cloudflared's too.
    Tcp,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Forged {
    PortUnreachable,
    AdminProhibited,
}

/// A packet that a box makes up.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) direction: Direction,
    pub(super) bytes: Vec<u8>,
}

/// What becomes of a packet.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) dropped: bool,
    pub(super) answers: Vec<Answer>,
}

impl Verdict {
    pub(super) const PASS: Self = Self {
        dropped: false,
        answers: Vec::new(),
    };
    pub(super) const DROP: Self = Self {
        dropped: true,
        answers: Vec::new(),
    };
}

/// Something that reads every packet in both directions.
pub(super) trait Middlebox: Send {
    fn judge(&mut self, packet: &Packet) -> Verdict;
}

impl Kind {
    pub(super) fn build(&self) -> Box<dyn Middlebox> {
        match self.clone() {
            Self::QuicSni { names, assembles } => {
                let by = if assembles {
                    quic::By::Name(names)
                } else {
                    quic::By::Bytes(names)
                };
                Box::new(quic::Filter::new(by))
            }
            Self::QuicLargeHello => Box::new(quic::Filter::new(quic::By::Size)),
            Self::TlsSni { names, action } => Box::new(tls::Filter::by_name(names, action)),
            Self::TlsLargeHello { action } => Box::new(tls::Filter::by_size(action)),
            Self::MaxDatagram { octets, icmp } => Box::new(MaxDatagram { octets, icmp }),
            Self::ForgedIcmp { on, error } => Box::new(ForgedIcmp {
                on,
                error,
                known: BTreeSet::new(),
            }),
        }
    }
}

/// Whether a name is among these, of which `*.suffix` stands for many.
pub(super) fn matches(names: &[String], name: &str) -> bool {
    names.iter().any(|wanted| match wanted.strip_prefix('*') {
        Some(suffix) => name.ends_with(suffix),
        None => name == wanted,
    })
}

struct MaxDatagram {
    octets: usize,
    icmp: bool,
}

impl Middlebox for MaxDatagram {
    fn judge(&mut self, packet: &Packet) -> Verdict {
        if !packet.is("udp", TUNNEL_PORT) || packet.payload().len() <= self.octets {
            return Verdict::PASS;
        }
        let headers = packet.bytes.len() - packet.payload().len();
        let mtu = u16::try_from(self.octets + headers).expect("an MTU");
        let answer = self.icmp.then(|| Answer {
            direction: packet.direction.back(),
            bytes: forge::icmp_error(packet, Error::TooBig(mtu)),
        });
        Verdict {
            dropped: true,
            answers: answer.into_iter().collect(),
        }
    }
}

struct ForgedIcmp {
    on: Victim,
    error: Forged,
    known: BTreeSet<Flow>,
}

impl Middlebox for ForgedIcmp {
    fn judge(&mut self, packet: &Packet) -> Verdict {
        let right = match self.on {
            Victim::Udp => packet.transport == Transport::Udp,
            Victim::Tcp => packet.is("tcp", TUNNEL_PORT) && !packet.payload().is_empty(),
        };
        let is_ours = right
            && packet.direction == Direction::ToEdge
            && packet.destination.port() == TUNNEL_PORT;
        if !is_ours || !self.known.insert(packet.flow()) {
            return Verdict::PASS;
        }
        let error = match self.error {
            Forged::PortUnreachable => Error::PortUnreachable,
            Forged::AdminProhibited => Error::AdminProhibited,
        };
        Verdict {
            dropped: false,
            answers: vec![Answer {
                direction: Direction::ToClient,
                bytes: forge::icmp_error(packet, error),
            }],
        }
    }
}
