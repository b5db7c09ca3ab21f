//! DNS messages (RFC 1035): the question as Go's resolver puts it, and what an answer says. Pure.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType as WireType};

use crate::catalog;
use crate::model::{Answer, LookupStatus, RecordType};

/// A name and a record type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, without the root's dot.
    pub name: String,
    /// The record type.
    pub record_type: RecordType,
}

/// What an answer says, or why it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: LookupStatus,
    pub(super) answers: Vec<Answer>,
    pub(super) detail: Option<String>,
}

impl Reply {
    pub(super) fn failed(status: LookupStatus, detail: &(impl ToString + ?Sized)) -> Self {
        Self {
            status,
            answers: Vec::new(),
            detail: Some(detail.to_string()),
        }
    }
}

/// What a received message is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Received {
    /// The answer.
    Answer(Reply),
    /// The answer did not fit into a datagram (RFC 1035, section 4.1.1): ask again over TCP.
    Truncated,
    /// No answer to our question; the real one may still come.
    Foreign(String),
}

/// The question as octets, with an id to know the answer by.
///
/// # Errors
/// A name that DNS cannot carry.
pub(super) fn encode(question: &Question) -> Result<(u16, Vec<u8>), String> {
    /// What Go's resolver offers to receive (`net/dnsclient_unix.go`).
    const GO_MAX_PAYLOAD: u16 = 1232;
    let name = Name::from_ascii(format!("{}.", question.name)).map_err(|e| e.to_string())?;
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Query;
    message.metadata.recursion_desired = true;
    message
        .queries
        .push(Query::query(name, wire_type(question.record_type)));
    let mut edns = Edns::new();
    edns.set_max_payload(GO_MAX_PAYLOAD);
    message.edns = Some(edns);
    message
        .to_vec()
        .map(|octets| (message.metadata.id, octets))
        .map_err(|e| e.to_string())
}

/// Reads what came back.
pub(super) fn decode(octets: &[u8], id: u16, question: &Question) -> Received {
    let message = match Message::from_vec(octets) {
        Ok(message) => message,
        Err(error) => {
            return Received::Foreign(format!(
                "{} bytes are not a DNS message: {error}",
                octets.len()
            ));
        }
    };
    let header = &message.metadata;
    if header.message_type != MessageType::Response || header.id != id {
        return Received::Foreign("a message that is not a response to this query".to_owned());
    }
    let asks_the_same = |query: &Query| {
        same_name(&query.name().to_ascii(), &question.name)
            && query.query_type() == wire_type(question.record_type)
    };
    if !matches!(message.queries.as_slice(), [only] if asks_the_same(only)) {
        return Received::Foreign("a response to another question".to_owned());
    }
    if header.truncation {
        return Received::Truncated;
    }
    let failed = |status| Received::Answer(Reply::failed(status, &header.response_code));
    match header.response_code {
        ResponseCode::NoError if is_lame_referral(&message) => {
            let detail = "a lame referral: neither an answer nor the offer to find one";
            Received::Answer(Reply::failed(LookupStatus::ServerFailure, detail))
        }
        ResponseCode::NoError => Received::Answer(read_answers(&message, question)),
        ResponseCode::NXDomain => failed(LookupStatus::NoSuchName),
        ResponseCode::Refused => failed(LookupStatus::Refused),
        ResponseCode::FormErr => failed(LookupStatus::Malformed),
        _ => failed(LookupStatus::ServerFailure),
    }
}

/// Those of `answers` that the documentation does not list for `name`; none for undocumented names.
pub(super) fn unexpected(name: &str, answers: &[Answer]) -> Vec<Answer> {
    let expected = |answer: &Answer| match answer {
        Answer::Address(address) => {
            let family = crate::model::Family::of(*address);
            catalog::documented(name, family).is_empty() || catalog::is_documented(name, *address)
        }
        Answer::Service { target, .. } => catalog::is_usual_target(target),
    };
    answers
        .iter()
        .filter(|answer| !expected(answer))
        .cloned()
        .collect()
}

/// Whether the server points elsewhere instead of answering, as Go's resolver tells it: it then asks
/// the next server. Any additional record, EDNS's own included, makes it a denial.
fn is_lame_referral(message: &Message) -> bool {
    let header = &message.metadata;
    let has_additional = !message.additionals.is_empty() || message.edns.is_some();
    let offers = header.authoritative || header.recursion_available;
    message.answers.is_empty() && !offers && !has_additional
}

fn read_answers(message: &Message, question: &Question) -> Reply {
    let answers: Vec<_> = message
        .answers
        .iter()
        .filter_map(|record| answer(&record.data, question.record_type))
        .collect();
    let bogus: Vec<_> = answers
        .iter()
        .filter(|answer| matches!(answer, Answer::Address(address) if !is_plausible(&question.name, *address)))
        .map(ToString::to_string)
        .collect();
    if answers.is_empty() {
        return Reply {
            status: LookupStatus::NoRecords,
            answers,
            detail: None,
        };
    }
    if bogus.is_empty() {
        return Reply {
            status: LookupStatus::Ok,
            answers,
            detail: None,
        };
    }
    let detail = Some(format!(
        "no public server has the address {}",
        bogus.join(", ")
    ));
    Reply {
        status: LookupStatus::Suspicious,
        answers,
        detail,
    }
}

fn answer(data: &RData, asked: RecordType) -> Option<Answer> {
    match (data, asked) {
        (RData::A(a), RecordType::A) => Some(Answer::Address(a.0.into())),
        (RData::AAAA(aaaa), RecordType::Aaaa) => Some(Answer::Address(aaaa.0.into())),
        (RData::SRV(srv), RecordType::Srv) => Some(Answer::Service {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv
                .target
                .to_ascii()
                .trim_end_matches('.')
                .to_ascii_lowercase(),
        }),
        _ => None,
    }
}

/// Whether a server of that name can have the address. Other names than the edge's may well lead into
/// a private network, through a forward proxy for example.
fn is_plausible(name: &str, address: IpAddr) -> bool {
    /// What all names of the edge end in.
    const EDGE: &str = ".v2.argotunnel.com";
    let address = address.to_canonical();
    let of_nobody = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    let is_edge = name
        .trim_end_matches('.')
        .to_ascii_lowercase()
        .ends_with(EDGE);
    !of_nobody && (!is_edge || can_be_public(address))
}

/// Whether a public server can have the address: not one that is reserved for hosts, links or private
/// networks (RFC 6890). Proxies with fake answers use 198.18.0.0/15, sinkholes 0.0.0.0. The ranges
/// for documentation count as public, since laboratories use them, and so does the prefix of NAT64
/// (RFC 6052), behind which a DNS64 resolver puts the whole of IPv4.
fn can_be_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let benchmark = a == 198 && (18..20).contains(&b);
            let protocol = a == 192 && b == 0 && c == 0;
            let reserved = a == 0 || a >= 240;
            !(v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || shared
                || benchmark
                || protocol
                || reserved)
        }
        IpAddr::V6(v6) => {
            let global_unicast = v6.segments()[0] & 0xe000 == 0x2000;
            let nat64 = v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
            global_unicast || nat64
        }
    }
}

const fn wire_type(record_type: RecordType) -> WireType {
    match record_type {
        RecordType::A => WireType::A,
        RecordType::Aaaa => WireType::AAAA,
        RecordType::Srv => WireType::SRV,
    }
}

fn same_name(a: &str, b: &str) -> bool {
    a.trim_end_matches('.')
        .eq_ignore_ascii_case(b.trim_end_matches('.'))
}

#[cfg(test)]
mod tests;
