//! What lookups mean, where no resolver of the laboratory answers so.

use super::*;
use crate::model::{Lookup, LookupStatus, Observations, Profile, RecordType, Report, Via};

const REGION: &str = "region1.v2.argotunnel.com";

/// A recorded network in which a proxy makes addresses up and carries what is sent there to the edge.
fn fake_ip() -> Observations {
    let text = include_str!("../../tests/replay/cases/fake-ip-proxy-that-works.json");
    let report: Report = serde_json::from_str(text).unwrap();
    report.into_observations()
}

fn is_found(seen: &Observations, name: &str) -> bool {
    let names = Names::settled(&seen.lookups, &seen.attempts);
    matches!(names.addresses(name, Family::Ipv4), Resolution::Found(_))
}

#[test]
fn an_answer_that_cannot_be_right_is_vouched_for_by_its_own_handshake() {
    assert!(is_found(&fake_ip(), REGION));
    let mut seen = fake_ip();
    for attempt in &mut seen.attempts {
        attempt.profile = Profile::SmallPackets;
    }
    assert!(!is_found(&seen, REGION), "an experiment's");
    let mut seen = fake_ip();
    let host = "api.cloudflare.com";
    seen.lookups.retain(|lookup| lookup.name == REGION);
    for lookup in &mut seen.lookups {
        lookup.name = host.to_owned();
    }
    assert!(!is_found(&seen, host), "the edge's");
}

fn service(priority: u16, target: &str) -> Answer {
    Answer::Service {
        priority,
        weight: 1,
        port: 7844,
        target: target.to_owned(),
    }
}

#[test]
fn targets_come_by_priority_and_each_once() {
    let answers = [service(2, "b"), service(1, "a"), service(1, "a")];
    let expected = ["a", "b"].map(|target| (target.to_owned(), 7844));
    assert_eq!(services(&answers), expected);
}

#[test]
fn the_system_is_heard_before_tls() {
    let name = "_v2-origintunneld._tcp.argotunnel.com";
    let mut seen = fake_ip();
    let asked = |l: &&Lookup| l.name == name && l.status == LookupStatus::Ok;
    let by_system = seen.lookups.iter().find(asked).unwrap().clone();
    let over_tls = Lookup {
        via: Via::Dot,
        answers: vec![service(1, "elsewhere.example")],
        ..by_system.clone()
    };
    seen.lookups.insert(0, over_tls);
    let names = Names::settled(&seen.lookups, &seen.attempts);
    let found = names.resolution(name, RecordType::Srv);
    assert_eq!(found, Resolution::Found(by_system.answers));
}

#[test]
fn where_all_resolvers_are_asked_a_denial_decides_nothing() {
    let name = "_v2-origintunneld._tcp.argotunnel.com";
    let mut seen = fake_ip();
    let asked = |l: &&Lookup| l.name == name && l.status == LookupStatus::Ok;
    let given = seen.lookups.iter().find(asked).unwrap().clone();
    let denied = Lookup {
        via: Via::Resolver("192.0.2.53:53".parse().unwrap()),
        status: LookupStatus::NoSuchName,
        answers: Vec::new(),
        ..given.clone()
    };
    seen.lookups.insert(0, denied);
    let names = Names::settled(&seen.lookups, &seen.attempts);
    let found = |any| {
        names
            .where_any_counts(any)
            .resolution(name, RecordType::Srv)
    };
    assert_eq!(found(false), Resolution::Failed(LookupStatus::NoSuchName));
    assert_eq!(found(true), Resolution::Found(given.answers));
    seen.lookups.truncate(1);
    let names = Names::settled(&seen.lookups, &[]).where_any_counts(true);
    let found = names.resolution(name, RecordType::Srv);
    assert_eq!(found, Resolution::Failed(LookupStatus::NoSuchName));
}
