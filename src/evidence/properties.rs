//! The published rule (`docs/evidence.md`), written a second time with its numbers, and the rule held
//! against it at the very thresholds: one try less, or a moment earlier, must not suffice. So a
//! threshold that is loosened, or tightened, fails here whatever its name is.

use std::time::Duration;

use proptest::prelude::*;

use super::tests::secs;
use super::*;
use crate::model::Transport;

/// A moment, in seconds.
const MOMENT: f64 = 1e-3;

/// What the page says of a path, in its words.
struct Published {
    round_trip: Option<f64>,
    handshake: Option<f64>,
    icmp_seen: bool,
}

impl Published {
    /// The tries that are needed at a loss.
    fn tries(loss: f64) -> u32 {
        let tries = (1..10_000).find(|t| f64::from(*t) * loss.ln() <= 1e-5_f64.ln() + 1e-12);
        tries.unwrap_or(u32::MAX)
    }

    fn timeout(answer: Option<f64>) -> f64 {
        match answer {
            Some(answer) => (0.15 + 3.0 * answer).min(3.0),
            None => 1.8,
        }
    }

    fn quiet(timeout: f64) -> f64 {
        (2.0 * timeout).min(timeout + 1.5).max(1.5)
    }

    fn of(test: &SilenceTest) -> Self {
        let seconds = |time: Duration| time.as_secs_f64();
        Self {
            round_trip: test.estimate.round_trip.map(seconds),
            handshake: test.estimate.handshake.map(seconds),
            icmp_seen: test.awaits_icmp,
        }
    }

    fn span_of_a_row(&self) -> f64 {
        match (self.round_trip, self.icmp_seen) {
            (_, true) => 4.5,
            (None, false) => 3.6,
            (some, false) => Self::quiet(Self::timeout(some)),
        }
    }

    fn span_of_a_stalled_row(&self) -> f64 {
        match self.handshake {
            None => 5.0,
            some => Self::quiet(Self::timeout(some)),
        }
    }

    fn span_of_a_name(&self) -> f64 {
        match self.handshake {
            None => 5.0,
            some => (2.0 * Self::timeout(some)).max(2.0),
        }
    }
}

/// Any path: how slow, how lossy, and what is known of it.
fn paths() -> impl Strategy<Value = SilenceTest> {
    let time = || proptest::option::weighted(0.8, (0.0..1.5_f64).prop_map(secs));
    let losses = (0.05..0.95_f64, 0.05..0.95_f64);
    (time(), time(), losses, any::<bool>(), any::<bool>()).prop_map(
        |(round_trip, handshake, (loss_rate, refusal_rate), icmp_seen, kind_answers)| SilenceTest {
            estimate: PathEstimate {
                round_trip,
                handshake,
                loss_rate,
                refusal_rate,
                icmp_seen,
                kind_answers,
            },
            awaits_icmp: icmp_seen,
            ..SilenceTest::UNKNOWN
        },
    )
}

/// Whether exactly so many tries over so long a span are the first that prove it.
fn is_threshold(proves: impl Fn(u32, f64) -> bool, tries: u32, span: f64) -> bool {
    proves(tries, span + MOMENT)
        && !proves(tries - 1, span + 100.0)
        && !proves(10_000, span - MOMENT)
}

proptest! {
    #[test]
    fn a_row_is_silent_as_long_as_the_page_says(path in paths()) {
        let span = Published::of(&path).span_of_a_row();
        let proves = |tries, span| path.proves_row(tries, secs(span));
        prop_assert!(is_threshold(proves, Published::tries(path.estimate.loss_rate), span));
    }

    #[test]
    fn an_address_among_others_needs_what_the_page_says(mut path in paths()) {
        // Refusals are held against the share of refusals too: here they are as good as silence.
        path.estimate.refusal_rate = path.estimate.loss_rate;
        let tries = Published::tries(path.estimate.loss_rate).max(5);
        let silent = |tries, span| path.proves_address(0, tries, secs(span));
        prop_assert!(is_threshold(silent, tries, 2.0));
        let refused = |tries, span| path.proves_address(tries, 0, secs(span));
        prop_assert!(is_threshold(refused, tries, 2.0));
    }

    #[test]
    fn refusals_need_what_the_page_says(mut path in paths()) {
        path.estimate.kind_answers = true;
        let PathEstimate { loss_rate, refusal_rate, .. } = path.estimate;
        let tries = Published::tries(loss_rate.min(refusal_rate));
        let refused = |tries, span| path.proves_refusals(tries, 0, secs(span));
        prop_assert!(is_threshold(refused, tries, 1.0));
        // Silence beside a refusal is held against the loss alone.
        let among_silence = |tries: u32, span| path.proves_refusals(0, tries, secs(span));
        prop_assert!(is_threshold(among_silence, Published::tries(loss_rate), 1.0));
    }

    #[test]
    fn a_handshake_is_silent_as_long_as_the_page_says(mut path in paths()) {
        path.estimate.loss_rate = path.estimate.loss_rate.min(0.7);
        let published = Published::of(&path);
        let tries = Published::tries(1.0 - (1.0 - path.estimate.loss_rate).powi(3));
        let row = |tries, span| path.proves_stalled_row(tries, secs(span));
        prop_assert!(is_threshold(row, tries, published.span_of_a_stalled_row()));
        let name = |tries, span| path.proves_cut_name(tries, secs(span));
        prop_assert!(is_threshold(name, tries, published.span_of_a_name()));
        let address = |tries, span| path.proves_stalled_address(tries, secs(span));
        prop_assert!(is_threshold(address, tries, 5.0));
    }

    #[test]
    fn a_try_counts_after_the_timeout_that_the_page_says(path in paths(), again in 0..3_usize) {
        let sent = [0.0, 1.0, 3.0][again];
        let due = sent + Published::timeout(Published::of(&path).round_trip);
        let counted = |elapsed: f64| {
            let attempt = tests::attempt(Transport::Tcp, elapsed, None);
            path.silent_tries(&attempt)
        };
        prop_assert!(counted(due - MOMENT) < counted(due + MOMENT));
    }

    #[test]
    fn the_loss_is_bounded_as_the_page_says(lost in 0_u32..400, answered in 0_u32..400) {
        let tried = lost + answered;
        let bound = if tried == 0 {
            0.5
        } else {
            let m = f64::from(tried + 4);
            let q = f64::from(lost + 2) / m;
            (q + 2.0 * (q * (1.0 - q) / m).sqrt()).clamp(0.05, 0.95)
        };
        prop_assert!((loss_bound(lost, tried) - bound).abs() < 1e-12);
    }

    /// The chance that an open address is accused, over all estimates that its path may give, is below
    /// what the page promises: an exact sum over the binomial distribution.
    #[test]
    fn an_open_address_is_accused_once_in_a_hundred_thousand(
        loss in 0.005..0.5_f64, tried in 10_u32..120,
    ) {
        let mut chance_of = (1.0 - loss).powf(f64::from(tried));
        let mut accused = 0.0;
        for lost in 0..tried {
            let estimate = PathEstimate {
                round_trip: Some(secs(0.02)),
                loss_rate: loss_bound(lost, tried),
                refusal_rate: 0.95,
                ..PathEstimate::UNKNOWN
            };
            let test = SilenceTest { estimate, ..SilenceTest::UNKNOWN };
            let needed = (1..1000).find(|tries| test.proves_address(0, *tries, secs(60.0)));
            if let Some(needed) = needed {
                accused += chance_of * loss.powf(f64::from(needed));
            }
            chance_of *= f64::from(tried - lost) / f64::from(lost + 1) * loss / (1.0 - loss);
        }
        prop_assert!(accused <= 2e-6, "{accused:e} at {loss} from {tried} tries");
    }
}
