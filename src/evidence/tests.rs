use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::diagnose::tests::passed;
use crate::model::{
    Attempt, ContactFailure, HandshakeFailure, IcmpError, Millis, Moment, OsError, Outcome,
    Profile, Role, StrayError, Transport,
};

pub(super) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

pub(super) fn attempt(transport: Transport, elapsed: f64, contact: Option<f64>) -> Attempt {
    Attempt {
        host: "region1.v2.argotunnel.com".to_owned(),
        role: Role::Probe,
        address: "198.41.192.7".parse().unwrap(),
        port: 7844,
        transport,
        sni: "probe.cftunnel.com".to_owned(),
        profile: Profile::Cloudflared,
        attempt: 1,
        started_ms: Millis::from(0.0),
        elapsed_ms: Millis::from(elapsed * 1000.0),
        contact_ms: contact.map(|c| Millis::from(c * 1000.0)),
        handshake_ms: None,
        sent: None,
        received: None,
        stray: Vec::new(),
        outcome: match contact {
            Some(_) => passed(),
            None => Outcome::Unanswered {
                failure: ContactFailure::Silent,
            },
        },
    }
}

/// The test that attempts allow.
fn test_of(attempts: &[Attempt]) -> SilenceTest {
    SilenceTest {
        estimate: PathEstimate::of(&attempts.iter()),
        window: Window::of(&attempts.iter()),
        ..SilenceTest::UNKNOWN
    }
}

/// The test where so many flows of another kind are answered after so many seconds.
fn near(answers: usize, contact: f64) -> SilenceTest {
    let attempts: Vec<_> = (0..answers)
        .map(|_| attempt(Transport::Tcp, contact, Some(contact)))
        .collect();
    with(test_of(&attempts), |estimate| estimate.kind_answers = false)
}

/// The test with another estimate.
fn with(test: SilenceTest, change: impl Fn(&mut PathEstimate)) -> SilenceTest {
    let mut test = test;
    change(&mut test.estimate);
    test
}

/// What ten of the one and ten of the other tell of the path.
fn by_turns(one: &Attempt, other: &Attempt) -> PathEstimate {
    let both = [one, other].repeat(10);
    PathEstimate::of(&both.into_iter())
}

#[test]
fn silence_alone_needs_the_timeout_of_a_satellite_path() {
    let unknown = test_of(&[]);
    assert_eq!(unknown.silent_tries(&attempt(Transport::Tcp, 1.7, None)), 0);
    assert_eq!(unknown.silent_tries(&attempt(Transport::Tcp, 1.9, None)), 1);
    assert!(!unknown.proves_row(1000, secs(3.0)));
    assert!(unknown.proves_row(17, secs(3.7)));
    assert!(
        !unknown.proves_row(16, secs(3.7)),
        "0.5^16 is more than the bound"
    );
}

#[test]
fn answers_nearby_make_silence_speak_sooner() {
    let near = near(20, 0.02);
    assert!(near.proves_row(20, secs(1.5)));
    assert!(!near.proves_row(20, secs(1.4)));
    assert!(!near.proves_row(3, secs(5.0)));
}

#[test]
fn one_silent_address_among_many_needs_tries_of_its_own() {
    let near = near(40, 0.02);
    assert!(!near.proves_address(0, 4, secs(5.0)));
    assert!(near.proves_address(0, 6, secs(2.0)));
    assert!(!near.proves_address(0, 6, secs(1.9)));
}

#[test]
fn a_rate_limit_shows_as_loss_and_accuses_nobody() {
    let mut attempts: Vec<_> = (0..10)
        .map(|_| attempt(Transport::Tcp, 0.02, Some(0.02)))
        .collect();
    attempts.extend((0..20).map(|_| attempt(Transport::Tcp, 0.5, None)));
    let limited = test_of(&attempts);
    let loss = limited.estimate.loss_rate;
    assert!(loss > 0.6, "{loss}");
    assert!(!limited.proves_address(0, 10, secs(9.0)));
}

#[test]
fn a_retransmitted_syn_counts_as_loss() {
    let quick = attempt(Transport::Tcp, 0.02, Some(0.02));
    let slow = attempt(Transport::Tcp, 1.02, Some(1.02));
    let lossy = test_of(&[quick.clone(), slow]).estimate;
    let clean = test_of(&[quick.clone(), quick]).estimate;
    assert!(lossy.loss_rate > clean.loss_rate);
}

#[test]
fn silence_from_before_anything_answered_proves_nothing() {
    let mut late = attempt(Transport::Tcp, 0.02, Some(0.02));
    late.started_ms = Millis::from(3000.0);
    let test = test_of(&[late]);
    let silent = attempt(Transport::Udp, 4.0, None);
    // Sent at 0, 0.2, 0.6, 1.4 and 3.0 s, of which the last counts.
    assert_eq!(test.silent_tries(&silent), 1);
    assert_eq!(test.span([silent].iter()), secs(1.0));
}

#[test]
fn a_slow_server_is_not_a_cut() {
    let connected = |count| {
        let mut contact = attempt(Transport::Tcp, 3.0, Some(0.001));
        contact.outcome = Outcome::Unsecured {
            failure: HandshakeFailure::Silent,
        };
        vec![contact; count]
    };
    let test = test_of(&connected(40));
    assert_eq!(
        test.estimate.handshake, None,
        "a SYN-ACK tells nothing of the server behind"
    );
    assert!(!test.proves_stalled_row(1000, secs(4.9)));
    assert!(test.proves_stalled_row(1000, secs(5.0)));
}

#[test]
fn resets_of_what_passes_at_other_times_are_loss() {
    let passes = attempt(Transport::Tcp, 0.02, Some(0.02));
    let mut cut = passes.clone();
    cut.outcome = Outcome::Unsecured {
        failure: HandshakeFailure::Reset,
    };
    assert!(by_turns(&passes, &cut).loss_rate > 0.5);
}

#[test]
fn a_slow_path_is_waited_for() {
    let slow = near(20, 0.6);
    assert!(slow.estimate.timeout() > secs(1.8));
    assert_eq!(slow.silent_tries(&attempt(Transport::Udp, 1.5, None)), 0);
    let near = near(20, 0.02);
    assert_eq!(near.silent_tries(&attempt(Transport::Udp, 1.5, None)), 3);
}

#[test]
fn the_least_loss_asks_for_as_many_tries_as_are_told() {
    let clean = near(200, 0.02);
    assert!(!clean.proves_row(3, secs(9.0)));
    assert!(clean.proves_row(4, secs(9.0)));
    assert!(!clean.proves_address(0, 4, secs(9.0)));
    assert!(clean.proves_address(0, 5, secs(9.0)));
    let clean = with(clean, |estimate| estimate.handshake = Some(secs(0.01)));
    // A flight has three packets, of which one in seven is lost.
    assert!(!clean.proves_stalled_row(5, secs(9.0)));
    assert!(clean.proves_stalled_row(6, secs(9.0)));
}

#[test]
fn spans_grow_with_the_path_and_the_server() {
    let far = near(200, 0.8);
    // The timeout is 0.15 s and three round trips, and a link may be down for 1.5 s.
    assert!(!far.proves_row(100, secs(4.0)));
    assert!(far.proves_row(100, secs(4.1)));
    let nearer = near(200, 0.3);
    assert!(
        !nearer.proves_row(100, secs(2.0)),
        "twice the timeout is less"
    );
    assert!(nearer.proves_row(100, secs(2.2)));
    let slow = |seconds| {
        let handshake = Some(secs(seconds));
        with(near(200, 0.02), |estimate| estimate.handshake = handshake)
    };
    assert!(!slow(0.8).proves_stalled_row(100, secs(4.0)));
    assert!(slow(0.8).proves_stalled_row(100, secs(4.1)));
    assert!(slow(0.01).proves_stalled_row(100, secs(1.6)));
    assert!(
        !slow(0.01).proves_cut_name(100, secs(1.6)),
        "another name passes"
    );
    assert!(slow(0.01).proves_cut_name(100, secs(2.0)));
    assert!(!slow(0.8).proves_cut_name(100, secs(5.0)), "a slow server");
    assert!(slow(0.8).proves_cut_name(100, secs(5.1)));
    assert!(
        !slow(0.01).proves_stalled_address(100, secs(4.9)),
        "one of many"
    );
    assert!(slow(0.01).proves_stalled_address(100, secs(5.0)));
}

#[test]
fn refusals_are_too_many_for_the_loss_where_flows_pass() {
    let near = near(200, 0.02);
    assert!(near.proves_refusals(1, 0, secs(1.0)));
    let among = with(near, |estimate| estimate.kind_answers = true);
    assert!(!among.proves_refusals(3, 0, secs(1.0)));
    assert!(among.proves_refusals(4, 0, secs(1.0)));
    assert!(
        among.proves_refusals(1, 3, secs(1.0)),
        "silence counts as well"
    );
    assert!(!among.proves_refusals(4, 0, secs(0.9)));
}

#[test]
fn a_path_that_loses_much_refuses_nothing() {
    let lossy = with(near(200, 0.02), |estimate| {
        estimate.kind_answers = true;
        estimate.loss_rate = 0.6;
        estimate.refusal_rate = 0.06;
    });
    assert!(lossy.proves_refusals(5, 0, secs(1.0)));
    assert!(lossy.proves_address(5, 0, secs(2.0)));
    assert!(!lossy.proves_address(4, 0, secs(2.0)), "too few");
    assert!(!lossy.proves_address(5, 0, secs(1.9)), "too soon");
    assert!(!lossy.proves_address(3, 7, secs(2.0)), "silence is loss");
    let limited = with(lossy, |estimate| estimate.refusal_rate = 0.6);
    assert!(!limited.proves_refusals(10, 0, secs(1.0)));
    assert!(!limited.proves_address(10, 0, secs(2.0)));
}

#[test]
fn what_was_given_up_is_silent_too() {
    let mut given_up = attempt(Transport::Tcp, 1.5, None);
    given_up.outcome = Outcome::Abandoned;
    assert_eq!(near(20, 0.02).silent_tries(&given_up), 2);
    given_up.contact_ms = Some(Millis::from(20.0));
    assert_eq!(near(20, 0.02).silent_tries(&given_up), 0);
}

#[test]
fn stalls_are_counted_as_the_other_side_sends_again() {
    let test = with(near(20, 0.02), |estimate| {
        estimate.handshake = Some(Duration::ZERO);
    });
    let stalled = |transport| {
        let mut stalled = attempt(transport, 1.0, Some(0.001));
        stalled.outcome = Outcome::Abandoned;
        test.stalled_tries(&stalled)
    };
    // After 0, 0.2 and 0.6 s over TCP, after 0 and 1 s over QUIC; the timeout takes 0.15 s.
    assert_eq!(stalled(Transport::Tcp), 3);
    assert_eq!(stalled(Transport::Udp), 1);
}

#[test]
fn too_big_is_no_rejection_and_a_late_one_is_one() {
    let seen = |attempt: &Attempt| PathEstimate::of(&[attempt].into_iter()).icmp_seen;
    let mut met = attempt(Transport::Udp, 4.0, None);
    let failure = |icmp| Outcome::Unanswered {
        failure: ContactFailure::Icmp { icmp },
    };
    met.outcome = failure(IcmpError::v4(3, 4));
    assert!(!seen(&met));
    met.outcome = failure(IcmpError::v4(3, 13));
    assert!(seen(&met));
    met.outcome = Outcome::Abandoned;
    assert!(!seen(&met));
    met.stray.push(StrayError {
        at_ms: Millis::from(3000.0),
        icmp: Some(IcmpError::v4(3, 13)),
        local: false,
        error: OsError {
            code: None,
            text: String::new(),
        },
    });
    assert!(seen(&met));
}

#[test]
fn refusals_of_what_answers_at_other_times_are_loss() {
    let answers = attempt(Transport::Tcp, 0.02, Some(0.02));
    let refused = Attempt {
        outcome: Outcome::Unanswered {
            failure: ContactFailure::Reset,
        },
        ..attempt(Transport::Tcp, 0.02, None)
    };
    assert!(by_turns(&answers, &refused).loss_rate > 0.5);
}

#[test]
fn an_experiment_gets_three_to_five_tries() {
    let among = |loss| {
        with(SilenceTest::UNKNOWN, |estimate| {
            estimate.kind_answers = true;
            estimate.loss_rate = loss;
        })
    };
    assert_eq!(SilenceTest::UNKNOWN.tries_of_an_experiment(), 3);
    assert_eq!(among(0.05).tries_of_an_experiment(), 3);
    assert_eq!(among(0.15).tries_of_an_experiment(), 4);
    assert_eq!(among(0.5).tries_of_an_experiment(), 5);
}

#[test]
fn the_path_is_as_slow_as_most_answers() {
    let times = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
    let attempts = times.map(|time| attempt(Transport::Tcp, time, Some(time)));
    assert_eq!(test_of(&attempts).estimate.round_trip, Some(secs(0.7)));
}

proptest! {
    #[test]
    fn more_loss_never_makes_silence_more_telling(
        lost in 0_u32..200, more in 0_u32..200, answered in 1_u32..200, tries in 0_u32..100,
    ) {
        let bound = |lost| loss_bound(lost, lost + answered);
        prop_assert!(bound(lost + more) >= bound(lost) - 1e-12);
        let proves = |loss| {
            let test = with(near(1, 0.02), |estimate| estimate.loss_rate = loss);
            test.proves_address(0, tries, secs(10.0))
        };
        prop_assert!(proves(bound(lost)) || !proves(bound(lost + more)));
    }
}

#[test]
fn a_window_only_ever_gets_smaller() {
    let [early, late] = [1.0, 2.0].map(|seconds| Moment::START + secs(seconds));
    let window = Window::WHOLE_RUN.from(early).until(late);
    assert_eq!(window.from(Moment::START).until(Moment::NEVER), window);
    let limited = window.after_limit(late);
    assert_eq!((limited.from, limited.resumed), (late, Some(late)));
}

#[test]
fn where_resets_are_told_late_a_connection_is_silent_later() {
    let late = SilenceTest {
        late_resets: true,
        ..near(20, 0.02)
    };
    let tries = |transport, lasts| late.silent_tries(&attempt(transport, lasts, None));
    assert_eq!(tries(Transport::Tcp, 2.3), 0);
    assert_eq!(tries(Transport::Tcp, 2.5), 1);
    assert_eq!(
        tries(Transport::Tcp, 5.3),
        1,
        "older ones send again after 3 s"
    );
    assert_eq!(tries(Transport::Tcp, 5.6), 2);
    assert_eq!(tries(Transport::Udp, 0.5), 2);
}
