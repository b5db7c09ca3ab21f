use std::net::Ipv4Addr;

use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::A;
use proptest::prelude::*;

use super::*;

fn question() -> Question {
    Question {
        name: "region1.v2.argotunnel.com".to_owned(),
        record_type: RecordType::A,
    }
}

fn response(id: u16, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let (_, octets) = encode(&question()).unwrap();
    let query = Message::from_vec(&octets).unwrap();
    let mut message = Message::response(id, OpCode::Query);
    message.metadata.recursion_available = true;
    message.queries = query.queries;
    change(&mut message);
    message.to_vec().unwrap()
}

fn with_address(address: [u8; 4]) -> impl FnOnce(&mut Message) {
    move |message| {
        let name = message.queries[0].name().clone();
        let data = RData::A(A(Ipv4Addr::from(address)));
        message.answers.push(Record::from_rdata(name, 60, data));
    }
}

fn status(octets: &[u8]) -> LookupStatus {
    match decode(octets, 7, &question()) {
        Received::Answer(reply) => reply.status,
        other => panic!("an answer expected, not {other:?}"),
    }
}

#[test]
fn addresses_are_read() {
    let octets = response(7, with_address([198, 41, 192, 7]));
    assert_eq!(status(&octets), LookupStatus::Ok);
}

#[test]
fn sinkholes_are_suspicious() {
    for address in [
        [0, 0, 0, 0],
        [127, 0, 0, 1],
        [10, 1, 2, 3],
        [198, 18, 0, 7],
        [198, 19, 255, 1],
    ] {
        assert_eq!(
            status(&response(7, with_address(address))),
            LookupStatus::Suspicious
        );
    }
}

#[test]
fn other_names_may_lead_into_a_private_network() {
    let plausible = |name: &str, address: &str| is_plausible(name, address.parse().unwrap());
    for address in ["10.1.2.3", "100.64.0.1", "198.18.0.7", "fd00::1"] {
        assert!(plausible("api.cloudflare.com", address), "{address}");
        assert!(
            !plausible("Region1.v2.argotunnel.com", address),
            "{address}"
        );
    }
    for address in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "::", "::1", "ff02::1"] {
        assert!(!plausible("api.cloudflare.com", address), "{address}");
    }
}

#[test]
fn laboratories_and_nat64_are_not_suspicious() {
    for address in [
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "2001:db8::1",
        "64:ff9b::c629:c007",
    ] {
        let name = "region1.v2.argotunnel.com";
        assert!(is_plausible(name, address.parse().unwrap()), "{address}");
    }
}

#[test]
fn a_lame_referral_is_no_denial() {
    let lame = |m: &mut Message| m.metadata.recursion_available = false;
    assert_eq!(status(&response(7, lame)), LookupStatus::ServerFailure);
    let changes: [fn(&mut Message); 2] = [
        |m| m.metadata.authoritative = true,
        |m| m.edns = Some(Edns::new()),
    ];
    for change in changes {
        let octets = response(7, |m| {
            lame(m);
            change(m);
        });
        assert_eq!(status(&octets), LookupStatus::NoRecords);
    }
}

#[test]
fn a_response_without_exactly_our_question_is_foreign() {
    let none = response(7, |m| m.queries.clear());
    let twice = response(7, |m| m.queries.push(m.queries[0].clone()));
    for octets in [none, twice] {
        let received = decode(&octets, 7, &question());
        assert!(matches!(received, Received::Foreign(_)), "{received:?}");
    }
}

#[test]
fn response_codes_keep_their_meaning() {
    let by_code = |code| status(&response(7, |m| m.metadata.response_code = code));
    assert_eq!(by_code(ResponseCode::NXDomain), LookupStatus::NoSuchName);
    assert_eq!(by_code(ResponseCode::ServFail), LookupStatus::ServerFailure);
    assert_eq!(by_code(ResponseCode::Refused), LookupStatus::Refused);
    assert_eq!(by_code(ResponseCode::NoError), LookupStatus::NoRecords);
}

#[test]
fn a_foreign_message_is_not_the_answer() {
    let octets = response(8, with_address([198, 41, 192, 7]));
    assert!(matches!(
        decode(&octets, 7, &question()),
        Received::Foreign(_)
    ));
    let truncated = response(7, |m| m.metadata.truncation = true);
    assert_eq!(decode(&truncated, 7, &question()), Received::Truncated);
}

#[test]
fn drift_is_what_the_documentation_lacks() {
    let address = |text: &str| Answer::Address(text.parse().unwrap());
    let answers = [address("198.41.192.7"), address("198.41.192.8")];
    assert_eq!(
        unexpected("region1.v2.argotunnel.com", &answers),
        [address("198.41.192.8")]
    );
    assert!(unexpected("api.cloudflare.com", &answers).is_empty());
}

proptest! {
    #[test]
    fn garbage_never_panics_and_never_answers(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let received = decode(&octets, 7, &question());
        let answered = matches!(&received, Received::Answer(r) if r.status == LookupStatus::Ok);
        prop_assert!(!answered);
    }
}
