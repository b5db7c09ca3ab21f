//! Resolvers: UDP and TCP 53 on their addresses, DNS over TLS (RFC 7858) on Cloudflare's.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio_rustls::TlsAcceptor;

use crate::Outcome;
use crate::internet::{self, Family};
use crate::pki::{self, Issuer};
use crate::scenario::{Answer, DnsRule, Via};
use crate::servers::{listen_on, udp};

const TTL: u32 = 300;
const TUNNEL_PORT: u16 = 7844;

/// Starts the resolvers and the server of DNS over TLS.
pub(crate) fn start(rules: Vec<DnsRule>) -> Outcome {
    let rules: Arc<[DnsRule]> = rules.into();
    for address in internet::RESOLVERS {
        let address: IpAddr = address.parse()?;
        let zone = Zone {
            rules: rules.clone(),
            resolver: address,
            asked: Arc::default(),
        };
        let socket = Arc::new(udp(address, 53)?);
        tokio::spawn(serve_udp(zone.clone(), socket));
        listen_on(SocketAddr::new(address, 53), move |stream| {
            serve_stream(zone.clone(), Via::Tcp, stream)
        })?;
    }
    let dot: IpAddr = internet::DOT.parse()?;
    let zone = Zone {
        rules,
        resolver: dot,
        asked: Arc::default(),
    };
    let acceptor = TlsAcceptor::from(pki::server(Issuer::Lab, None)?);
    listen_on(SocketAddr::new(dot, 853), move |stream| {
        let (zone, acceptor) = (zone.clone(), acceptor.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_stream(zone, Via::Dot, stream).await;
            }
        }
    })
}

async fn serve_udp(zone: Zone, socket: Arc<UdpSocket>) {
    let mut datagram = [0; 4096];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut datagram).await else {
            continue;
        };
        let Ok(question) = Message::from_vec(&datagram[..length]) else {
            continue;
        };
        let (zone, socket) = (zone.clone(), socket.clone());
        tokio::spawn(async move {
            if let Some(answer) = zone.answer(&question, Via::Udp).await {
                drop(socket.send_to(&answer, client).await);
            }
        });
    }
}

/// Messages with a length of two bytes before each (RFC 1035, section 4.2.2), one after another.
async fn serve_stream(zone: Zone, via: Via, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    while let Ok(length) = stream.read_u16().await {
        let mut bytes = vec![0; usize::from(length)];
        if stream.read_exact(&mut bytes).await.is_err() {
            return;
        }
        let Ok(question) = Message::from_vec(&bytes) else {
            return;
        };
        let Some(answer) = zone.answer(&question, via).await else {
            continue;
        };
        let length = u16::try_from(answer.len()).expect("a message fits its length");
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

/// What one resolver knows, and where it departs from the truth.
#[derive(Clone)]
struct Zone {
    rules: Arc<[DnsRule]>,
    resolver: IpAddr,
    asked: Arc<Mutex<HashSet<(String, RecordType)>>>,
}

impl Zone {
    /// Whether nobody has asked this resolver that before.
    fn is_first(&self, name: &str, kind: RecordType) -> bool {
        let mut asked = self.asked.lock().expect("nobody panics with the lock");
        asked.insert((name.to_owned(), kind))
    }

    /// The bytes of the answer, none when the resolver stays silent.
    async fn answer(&self, question: &Message, via: Via) -> Option<Vec<u8>> {
        let query = question.queries.first()?;
        let name = query
            .name()
            .to_ascii()
            .trim_end_matches('.')
            .to_ascii_lowercase();
        let kind = query.query_type();
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.concerns(self.resolver, via, &name, kind));
        let reply = |code, records| message(question, code, records);
        match rule.map(|rule| &rule.answer) {
            Some(Answer::Silent) => None,
            Some(Answer::Garbage) => Some(b"\xde\xad\xbe\xef".to_vec()),
            Some(Answer::Nxdomain) => reply(ResponseCode::NXDomain, vec![]),
            Some(Answer::Nodata) => reply(ResponseCode::NoError, vec![]),
            Some(Answer::Servfail) => reply(ResponseCode::ServFail, vec![]),
            Some(Answer::ServfailFirst) if self.is_first(&name, kind) => {
                reply(ResponseCode::ServFail, vec![])
            }
            Some(Answer::Refused) => reply(ResponseCode::Refused, vec![]),
            Some(Answer::Truncated) if via == Via::Udp => truncated(question),
            Some(Answer::Addresses(addresses)) => {
                reply(ResponseCode::NoError, of_type(addresses, kind))
            }
            Some(Answer::Targets(targets)) => reply(ResponseCode::NoError, srv(targets)),
            Some(Answer::DelayedMs(delay)) => {
                tokio::time::sleep(Duration::from_millis(*delay)).await;
                truth(question, &name, kind)
            }
            Some(Answer::NxdomainAfterMs(delay)) => {
                tokio::time::sleep(Duration::from_millis(*delay)).await;
                reply(ResponseCode::NXDomain, Vec::new())
            }
            Some(Answer::Truncated | Answer::ServfailFirst) | None => truth(question, &name, kind),
        }
    }
}

impl DnsRule {
    fn concerns(&self, resolver: IpAddr, via: Via, name: &str, kind: RecordType) -> bool {
        let named = match self.name.strip_prefix('*') {
            Some(suffix) => name.ends_with(suffix),
            None => name == self.name,
        };
        named
            && self.via.contains(&via)
            && self.resolver.is_none_or(|one| one == resolver)
            && (self.types.is_empty() || self.types.contains(&kind.to_string()))
    }
}

/// The answer of a resolver that nobody meddles with.
fn truth(question: &Message, name: &str, kind: RecordType) -> Option<Vec<u8>> {
    let addresses = Family::BOTH
        .map(|family| internet::addresses(name, family))
        .concat();
    let targets = internet::srv_targets(name);
    let records = match (kind, &targets, txt(name)) {
        (RecordType::SRV, Some(targets), _) => srv(targets),
        (RecordType::TXT, _, Some(text)) => vec![RData::TXT(TXT::new(vec![text.to_owned()]))],
        _ => of_type(&addresses, kind),
    };
    let exists = !addresses.is_empty() || targets.is_some() || txt(name).is_some();
    message(
        question,
        if exists {
            ResponseCode::NoError
        } else {
            ResponseCode::NXDomain
        },
        records,
    )
}

fn txt(name: &str) -> Option<&'static str> {
    match name {
        "protocol-v2.argotunnel.com" => Some("http2=0;quic=100"),
        "cfd-features.argotunnel.com" => Some("{\"pq\":0}"),
        _ => None,
    }
}

fn of_type(addresses: &[IpAddr], kind: RecordType) -> Vec<RData> {
    addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(v4), RecordType::A) => Some(RData::A(A(*v4))),
            (IpAddr::V6(v6), RecordType::AAAA) => Some(RData::AAAA(AAAA(*v6))),
            _ => None,
        })
        .collect()
}

fn srv(targets: &[String]) -> Vec<RData> {
    (1..)
        .zip(targets)
        .map(|(priority, target)| {
            let target = Name::from_ascii(format!("{target}.")).expect("a valid name");
            RData::SRV(SRV::new(priority, 1, TUNNEL_PORT, target))
        })
        .collect()
}

fn message(question: &Message, code: ResponseCode, records: Vec<RData>) -> Option<Vec<u8>> {
    let mut answer = response(question);
    answer.metadata.response_code = code;
    let name = question.queries.first()?.name();
    answer.answers = records
        .into_iter()
        .map(|data| Record::from_rdata(name.clone(), TTL, data))
        .collect();
    answer.to_vec().ok()
}

fn truncated(question: &Message) -> Option<Vec<u8>> {
    let mut answer = response(question);
    answer.metadata.truncation = true;
    answer.to_vec().ok()
}

fn response(question: &Message) -> Message {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.queries.clone_from(&question.queries);
    answer
}
