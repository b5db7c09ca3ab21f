//! What the dialects are tried on: a world in order, one that has drifted, and lock-downs.

use std::net::SocketAddr;

use super::{Distribution, Egress, Lockdown, Session, Ssh, Surroundings};
use crate::catalog;
use crate::model::{
    Answer, Family, IpVersionChoice, Lookup, LookupStatus, Millis, Options, ProtocolChoice,
    RecordType, Via,
};
pub(crate) use crate::report::samples::options;

/// A Debian host with two resolvers.
pub(crate) fn surroundings() -> Surroundings {
    Surroundings {
        made_at: "2026-01-02T03:04:05Z".to_owned(),
        resolvers: ["9.9.9.9:53", "[2620:fe::fe]:53"]
            .map(|s| s.parse().unwrap())
            .to_vec(),
        distribution: Distribution::Debian,
        offline: false,
    }
}

/// An answer of the first resolver.
pub(crate) fn lookup(name: &str, record_type: RecordType, answers: Vec<Answer>) -> Lookup {
    let resolver: SocketAddr = "9.9.9.9:53".parse().unwrap();
    Lookup {
        name: name.to_owned(),
        record_type,
        via: Via::Resolver(resolver),
        status: LookupStatus::Ok,
        answers,
        unexpected: Vec::new(),
        elapsed_ms: Millis::from(1.0),
        detail: None,
        truncated: false,
    }
}

/// The lookups of a world in which DNS tells what is documented.
pub(crate) fn lookups() -> Vec<Lookup> {
    let service = |number: u16, target: &str| Answer::Service {
        priority: number,
        weight: 1,
        port: 7844,
        target: target.to_owned(),
    };
    let [first, second] = catalog::usual_targets(None);
    let targets = vec![service(1, &first), service(2, &second)];
    let mut lookups = vec![lookup(&catalog::srv_name(None), RecordType::Srv, targets)];
    for host in [first, second] {
        for family in Family::BOTH {
            let documented = catalog::documented(&host, family);
            let answers = documented.into_iter().map(Answer::Address).collect();
            lookups.push(lookup(&host, RecordType::of(family), answers));
        }
    }
    for (host, v4, v6) in [
        (
            "api.cloudflare.com",
            "104.19.193.29",
            "2606:4700:300a::6813:c11d",
        ),
        (
            "update.argotunnel.com",
            "104.18.25.129",
            "2606:4700::6812:1981",
        ),
    ] {
        for (text, record_type) in [(v4, RecordType::A), (v6, RecordType::Aaaa)] {
            let answer = Answer::Address(text.parse().unwrap());
            lookups.push(lookup(host, record_type, vec![answer]));
        }
    }
    lookups
}

/// The usual options in a world in order.
pub(crate) fn whole() -> Egress {
    Egress::new(&options(), &lookups(), surroundings())
}

/// One address has gone, another has come, and a resolver lies about the second region.
pub(crate) fn drifted() -> Egress {
    let mut lookups = lookups();
    let mut answers = lookups[1].answers.clone();
    answers[0] = Answer::Address("198.41.192.99".parse().unwrap());
    lookups[1].answers = answers;
    lookups[3].status = LookupStatus::Suspicious;
    lookups[3].answers = vec![Answer::Address("198.18.0.7".parse().unwrap())];
    let options = Options {
        optional: false,
        optional_hosts: Some(Vec::new()),
        protocol: ProtocolChoice::Quic,
        ..options()
    };
    Egress::new(&options, &lookups, surroundings())
}

/// HTTP/2 over IPv4, without DNS.
pub(crate) fn http2_ipv4() -> Egress {
    let options = Options {
        optional: false,
        optional_hosts: Some(Vec::new()),
        protocol: ProtocolChoice::Http2,
        edge_ip_version: IpVersionChoice::V4,
        ..options()
    };
    let surroundings = Surroundings {
        offline: true,
        ..surroundings()
    };
    Egress::new(&options, &[], surroundings)
}

/// SSH from everywhere, and a session that tells where it comes from.
pub(crate) fn lockdown() -> Lockdown {
    Lockdown {
        ssh: Ssh {
            ports: vec![22],
            from: Vec::new(),
            session: Some(Session {
                peer: "192.0.2.7".parse().unwrap(),
                port: 22,
            }),
            guessed: false,
        },
    }
}

/// SSH on two ports from one network, and no session to be seen.
pub(crate) fn narrow() -> Lockdown {
    Lockdown {
        ssh: Ssh {
            ports: vec![22, 2222],
            from: vec!["192.0.2.0/24".parse().unwrap()],
            session: None,
            guessed: false,
        },
    }
}
