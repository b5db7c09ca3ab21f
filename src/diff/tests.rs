use std::collections::BTreeSet;

use super::*;
use crate::model::{FindingCode, Service, Severity, Source, Status, Transport};

const LEVELS: [Level; 3] = [Level::None, Level::Some, Level::All];

#[test]
fn trends_follow_the_table() {
    use Standing::{Apart, Known, Uncertain};
    for before in LEVELS {
        for after in LEVELS {
            let expected = match before.cmp(&after) {
                std::cmp::Ordering::Greater => Trend::Worse,
                std::cmp::Ordering::Less => Trend::Better,
                std::cmp::Ordering::Equal => Trend::Changed,
            };
            assert_eq!(Trend::of(Known(before), Known(after)), expected);
        }
        assert_eq!(Trend::of(Known(before), Uncertain), Trend::NoLongerCertain);
        assert_eq!(Trend::of(Uncertain, Known(before)), Trend::NowCertain);
        assert_eq!(Trend::of(Known(before), Apart), Trend::Changed);
        assert_eq!(Trend::of(Apart, Known(before)), Trend::Changed);
    }
    assert_eq!(Trend::of(Uncertain, Uncertain), Trend::Changed);
}

#[test]
fn exits_are_those_of_the_documentation() {
    assert_eq!(Outcome::NotWorse.exit_status().code(), 0);
    assert_eq!(Outcome::Worse.exit_status().code(), 1);
    assert_eq!(Outcome::Uncertain.exit_status().code(), 4);
}

/// A row of six addresses: of `1` to `6` those of `passing` pass and those of `blocked` do not.
fn row(passing: &[u8], blocked: &[u8]) -> State {
    let set = |hosts: &[u8]| -> BTreeSet<IpAddr> {
        let address = |host: &u8| IpAddr::from([192, 0, 2, *host]);
        hosts.iter().map(address).collect()
    };
    State::Destination(DestinationState {
        host: "region1.example".to_owned(),
        port: 7844,
        transport: Transport::Udp,
        status: match (passing, blocked) {
            ([], []) => Status::Inconclusive,
            (_, []) => Status::Reachable,
            ([], _) => Status::Blocked,
            _ => Status::Partial,
        },
        cause: None,
        source: Source::Dns,
        total: 6,
        passing: set(passing),
        blocked: set(blocked),
        undecided: &(&set(&[1, 2, 3, 4, 5, 6]) - &set(passing)) - &set(blocked),
    })
}

fn between(before: State, after: State) -> Vec<(Trend, Change)> {
    let subject = Subject::Destination {
        service: Service::Quic,
        place: "region1".to_owned(),
        family: Family::Ipv4,
    };
    let facts = |state| Facts {
        states: [(subject.clone(), state)].into(),
        required: [subject.clone()].into(),
        ..Facts::default()
    };
    changes(&facts(before), &facts(after))
}

const EVERY: &[u8] = &[1, 2, 3, 4, 5, 6];

#[test]
fn addresses_that_passed_and_are_undecided_may_be_lost() {
    let doubted = between(row(EVERY, &[]), row(&[1, 2, 3, 4], &[]));
    assert_eq!(doubted[0].0, Trend::NoLongerCertain);
    let course = "reachable, 6 of 6 addresses -> reachable, 4 of 6 addresses; \
                  undecided now: 192.0.2.5, 192.0.2.6";
    assert_eq!(doubted[0].1.course(), course);
    assert_eq!((doubted.len(), outcome(&doubted)), (1, Outcome::Uncertain));
    // The other way round it is good news.
    let cleared = between(row(&[1, 2, 3, 4], &[]), row(EVERY, &[]));
    assert_eq!(cleared[0].0, Trend::NowCertain);
    assert_eq!((cleared.len(), outcome(&cleared)), (1, Outcome::NotWorse));
    // What was not known on either side is no difference.
    assert!(between(row(&[1, 2], &[]), row(&[1, 2], &[])).is_empty());
}

#[test]
fn addresses_in_doubt_count_by_what_they_may_have_lost() {
    let told = |before, after| outcome(&between(before, after));
    // Blocked before, undecided now: nothing to lose.
    let five = row(&[1, 2, 3, 4], &[5, 6]);
    assert_eq!(
        told(five.clone(), row(&[1, 2, 3, 4], &[5])),
        Outcome::NotWorse
    );
    // Undecided before, blocked now: perhaps it passed.
    assert_eq!(
        told(row(&[1, 2, 3, 4], &[5]), five.clone()),
        Outcome::Uncertain
    );
    // A proof outweighs a doubt, in the same row as elsewhere.
    let worse = between(row(EVERY, &[]), row(&[1, 2, 3], &[4, 5]));
    let trends: Vec<_> = worse.iter().map(|(trend, _)| *trend).collect();
    assert_eq!(trends, [Trend::Worse, Trend::NoLongerCertain]);
    assert_eq!(outcome(&worse), Outcome::Worse);
    // A gain does not.
    let mixed = between(five, row(&[1, 2, 3, 5, 6], &[]));
    let trends: Vec<_> = mixed.iter().map(|(trend, _)| *trend).collect();
    assert_eq!(trends, [Trend::Better, Trend::NoLongerCertain]);
    assert_eq!(outcome(&mixed), Outcome::Uncertain);
}

#[test]
fn a_row_in_part_gets_worse_by_its_addresses() {
    let trends = |before, after| -> Vec<_> {
        let changes = between(before, after);
        changes.iter().map(|(trend, _)| *trend).collect()
    };
    let (less, more) = (row(&[1, 2], &[3, 4, 5, 6]), row(&[1, 2, 3], &[4, 5, 6]));
    assert_eq!(trends(more.clone(), less.clone()), [Trend::Worse]);
    assert_eq!(trends(less, more), [Trend::Better]);
    let exchanged = between(row(&[1, 2], &[3]), row(&[2, 3], &[1]));
    let lines: Vec<_> = exchanged
        .iter()
        .map(|(_, change)| change.course())
        .collect();
    let both = "partial, 2 of 6 addresses -> partial, 2 of 6 addresses; ";
    assert_eq!(
        lines,
        [
            format!("{both}stopped passing: 192.0.2.1"),
            format!("{both}started to pass: 192.0.2.3")
        ]
    );
    assert_eq!(outcome(&exchanged), Outcome::Worse);
}

#[test]
fn doubt_counts_where_there_may_be_a_loss() {
    let (all, none, unknown) = (row(EVERY, &[]), row(&[], EVERY), row(&[], &[]));
    let told = |before: &State, after: &State| outcome(&between(before.clone(), after.clone()));
    assert_eq!(told(&all, &unknown), Outcome::Uncertain);
    assert_eq!(told(&unknown, &none), Outcome::Uncertain);
    assert_eq!(told(&none, &unknown), Outcome::NotWorse);
    assert_eq!(told(&unknown, &all), Outcome::NotWorse);
    assert_eq!(told(&unknown, &unknown), Outcome::NotWorse);
    assert_eq!(told(&all, &none), Outcome::Worse);
}

#[test]
fn findings_are_worth_what_their_severity_says() {
    let standing = |code, severity| {
        let titles = BTreeSet::new();
        let state = State::Finding { severity, titles };
        Standing::of(&Subject::Finding { code }, Some(&state))
    };
    let none = Standing::Known(Level::None);
    assert_eq!(standing(FindingCode::UdpDropped, Severity::Error), none);
    assert_eq!(standing(FindingCode::Ipv6Broken, Severity::Warning), none);
    assert_eq!(
        standing(FindingCode::DnsDrift, Severity::Info),
        Standing::Apart
    );
    let undecided = standing(FindingCode::Undecided, Severity::Error);
    assert_eq!(undecided, Standing::Uncertain);
    let code = FindingCode::UdpDropped;
    let absent = Standing::of(&Subject::Finding { code }, None);
    assert_eq!(absent, Standing::Known(Level::All));
}

#[test]
fn rows_stand_by_their_status() {
    let standing = |status| {
        let State::Destination(row) = row(EVERY, &[]) else {
            unreachable!("a row");
        };
        let state = State::Destination(DestinationState { status, ..row });
        Standing::of(&Subject::Verdict, Some(&state))
    };
    let known = Standing::Known;
    for (status, expected) in [
        (Status::Reachable, known(Level::All)),
        (Status::Partial, known(Level::Some)),
        (Status::Blocked, known(Level::None)),
        (Status::Unresolved, known(Level::None)),
        (Status::Unavailable, known(Level::None)),
        (Status::Inconclusive, Standing::Uncertain),
        (Status::Skipped, Standing::Apart),
    ] {
        assert_eq!(standing(status), expected, "{status:?}");
    }
}

#[test]
fn what_no_tunnel_needs_never_counts() {
    for (after, trend) in [
        (row(&[], EVERY), Trend::Worse),
        (row(&[], &[]), Trend::NoLongerCertain),
        (row(&[1], &[]), Trend::NoLongerCertain),
    ] {
        let mut changes = between(row(EVERY, &[]), after);
        assert_ne!(outcome(&changes), Outcome::NotWorse);
        for (_, change) in &mut changes {
            change.required = false;
        }
        assert_eq!(changes[0].0, trend);
        assert_eq!(outcome(&changes), Outcome::NotWorse);
    }
}
