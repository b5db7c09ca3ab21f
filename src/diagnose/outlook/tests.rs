//! The forecast of recorded networks, and of networks that differ from them in one thing.

use super::*;
use crate::diagnose::diagnose;
use crate::forecast::Dial::{Fails, Passes};
use crate::model::Family::{Ipv4, Ipv6};
use crate::model::Millis;
use crate::model::{Prospect, RecordType, Report, StepKind};

/// A recorded network.
macro_rules! recorded {
    ($case:literal) => {
        include_str!(concat!("../../../tests/replay/cases/", $case, ".json"))
    };
}

fn forecast(recorded: &str, change: impl Fn(&mut Observations)) -> Option<Forecast> {
    let report: Report = serde_json::from_str(recorded).unwrap();
    let mut seen = report.into_observations();
    change(&mut seen);
    diagnose(seen).forecast
}

fn unchanged(_: &mut Observations) {}

fn outcome(forecast: Option<Forecast>) -> Option<Prospect> {
    forecast.map(|forecast| forecast.outcome)
}

#[test]
fn one_srv_target_ends_the_start() {
    assert_eq!(
        outcome(forecast(recorded!("one-srv-target"), unchanged)),
        Some(Prospect::Exits)
    );
}

#[test]
fn what_is_refused_everywhere_never_connects() {
    for forecast in [
        forecast(recorded!("both-rejected"), unchanged),
        forecast(recorded!("both-intercepted"), unchanged),
        forecast(recorded!("output-rejected"), unchanged),
    ] {
        assert_eq!(outcome(forecast), Some(Prospect::Never));
    }
}

#[test]
fn a_reject_of_this_host_fails_at_once_as_its_drop_does() {
    for forecast in [
        forecast(recorded!("output-udp-dropped"), unchanged),
        forecast(recorded!("output-rejected"), unchanged),
    ] {
        let steps = forecast.unwrap().steps;
        let failure = steps
            .iter()
            .find(|step| step.what == StepKind::FirstFailure);
        assert!(failure.unwrap().at_s.max < 2.0, "{steps:?}");
    }
}

/// A resolver that has to ask others first is slow once. The next question meets its cache, and no question
/// was lost.
#[test]
fn a_slow_first_answer_of_dns_is_neither_loss_nor_a_slow_resolver() {
    let slow = |seen: &mut Observations| {
        for lookup in &mut seen.lookups {
            if lookup.record_type == RecordType::Srv || lookup.name.starts_with("region1") {
                lookup.elapsed_ms = Millis::from(2_500.0);
            }
        }
    };
    let first = forecast(recorded!("all-open"), slow)
        .unwrap()
        .first_connection_s;
    assert!(first.unwrap().max < 2.0, "{first:?}");
}

#[test]
fn a_resolver_that_is_always_slow_is_slow_at_every_lookup() {
    let first = forecast(recorded!("dns-slow"), unchanged)
        .unwrap()
        .first_connection_s
        .unwrap();
    assert!((16.0..17.0).contains(&first.median), "{first:?}");
}

#[test]
fn resolvers_of_which_too_little_is_known_are_not_guessed() {
    let unheard = |seen: &mut Observations| {
        let first = Via::Resolver(seen.resolvers[0]);
        seen.lookups.retain(|lookup| lookup.via != first);
    };
    assert_eq!(forecast(recorded!("first-resolver-dead"), unheard), None);
    // Of an ICMP error the kernel may or may not tell cloudflared.
    assert_eq!(forecast(recorded!("dns-udp-rejected"), unchanged), None);
    assert_eq!(
        outcome(forecast(recorded!("no-default-route"), unchanged)),
        Some(Prospect::Exits)
    );
}

#[test]
fn dns_over_tls_that_was_not_asked_is_not_guessed() {
    let unasked = |seen: &mut Observations| seen.lookups.retain(|l| l.via != Via::Dot);
    assert_eq!(
        forecast(recorded!("srv-stripped-without-dot"), unasked),
        None
    );
}

#[test]
fn addresses_that_cannot_be_the_edges_are_not_left_out() {
    let misled = |seen: &mut Observations| {
        for lookup in &mut seen.lookups {
            if lookup.name.starts_with("region2") && lookup.record_type == RecordType::A {
                lookup.status = LookupStatus::Suspicious;
                lookup.answers = vec!["127.0.0.1".parse().unwrap()];
            }
        }
    };
    assert_eq!(forecast(recorded!("all-open"), misled), None);
}

#[test]
fn given_addresses_make_two_regions() {
    let one = |family, dial| Region {
        families: vec![Addresses {
            family,
            quic: vec![dial],
            http2: vec![dial],
        }],
    };
    let given = [
        one(Ipv4, Fails(5.0)),
        one(Ipv6, Fails(5.0)),
        one(Ipv4, Passes),
        one(Ipv4, Passes),
        one(Ipv6, Passes),
    ];
    let regions = given_regions(given.into_iter());
    let quic = |region: &Region| -> Vec<_> {
        let families = region.families.iter();
        families.map(|of| (of.family, of.quic.clone())).collect()
    };
    // The fifth address is of the family to which the first region never changes.
    assert_eq!(quic(&regions[0]), [(Ipv4, vec![Fails(5.0), Passes])]);
    assert_eq!(
        quic(&regions[1]),
        [(Ipv6, vec![Fails(5.0)]), (Ipv4, vec![Passes])]
    );
}
