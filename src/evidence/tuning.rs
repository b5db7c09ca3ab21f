//! The constants that decide when silence, and other failures, count. [evidence.md] explains the rule
//! that they are part of; whoever changes one changes that page.
//!
//! What is sent, and when, is `plan/`'s. What an operating system or cloudflared does is `catalog/`'s.
//!
//! [evidence.md]: ../../../docs/evidence.md

use std::time::Duration;

// ---- The chance of an error ----

/// The chance of accusing an address that is open, per address, which the rule must stay below. A run
/// has up to 80 addresses, so the chance of any false accusation in it stays below one in a thousand.
pub const ERROR_BOUND: f64 = 1e-5;

/// The loss that is assumed of a path which nothing is known of: worse than any tunnel survives.
pub(crate) const UNKNOWN_LOSS: f64 = 0.5;

/// The least loss that is ever assumed, however well things look: the estimate leaves out what never
/// answered.
pub(crate) const LEAST_LOSS: f64 = 0.05;

/// The most loss that is ever assumed: with a loss of 1 no silence would ever count.
pub(crate) const MOST_LOSS: f64 = 0.95;

/// How many standard errors above the estimate the bound on a loss is: 1 in 44 estimates is worse.
pub(crate) const STANDARD_ERRORS: f64 = 2.0;

/// A flight of a handshake has several packets, and all of them must arrive.
pub(crate) const HANDSHAKE_PACKETS: i32 = 3;

/// How many tries of one address among others that pass are too few, however lossless the path: the
/// estimate may be luck.
pub(crate) const LEAST_TRIES: u32 = 5;

/// From how many answering destinations on a kind of flow is compared with its own kind only. With
/// fewer answers the kind's own loss is not known well enough.
pub(crate) const ANSWERS_OF_A_KIND: usize = 16;

// ---- How long an answer is waited for ----

/// An answer takes up to three round trips, because queues grow, and a little for scheduling.
pub(crate) const TIMEOUT_ROUND_TRIPS: u32 = 3;
/// See [`TIMEOUT_ROUND_TRIPS`].
pub(crate) const TIMEOUT_MARGIN: Duration = Duration::from_millis(150);

/// No answer is waited for longer than this, however slow the path.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_secs(3);

/// How long an answer is waited for when nothing comparable has answered: three round trips of a
/// satellite path.
pub(crate) const UNKNOWN_TIMEOUT: Duration = Duration::from_millis(1800);

/// How long Windows keeps a reset to itself: it tries the connection again, half a second apart, before
/// it reports the reset (Microsoft's article 175523); about two seconds in all.
pub(crate) const LATE_RESET: Duration = Duration::from_millis(2200);

/// Each of the tries that come before a late reset costs a round trip more than the timeout.
pub(crate) const LATE_RESET_ROUND_TRIPS: u32 = 2;

/// How much earlier, or later, than an answered packet another may have been sent and still count.
pub(crate) const SLACK: Duration = Duration::from_millis(50);

// ---- How long silence must last, because losses come in bursts ----

/// How long a row must have been silent when there is something to compare with. An outage of a
/// wireless link is shorter.
pub(crate) const ROW_SPAN: Duration = Duration::from_millis(1500);

/// How many timeouts a row must have been silent for, so that a second answer would have come; on a slow
/// path one timeout and [`ROW_SPAN`] suffice.
pub(crate) const ROW_TIMEOUTS: u32 = 2;

/// How long a row must have been silent when nothing at all answers: six round trips of a satellite path.
pub(crate) const UNKNOWN_SPAN: Duration = Duration::from_millis(3600);

/// How long a row must have been silent when ICMP errors are seen nearby: routers send about one a second
/// (RFC 1812, RFC 4443), so a rejected row may look silent for a while.
pub(crate) const ICMP_SPAN: Duration = Duration::from_millis(4500);

/// How long one address among others that answer must have failed: the answers may be the luck.
pub(crate) const ADDRESS_SPAN: Duration = Duration::from_secs(2);

/// How long a flow that has answered once may keep its handshake waiting when no handshake of its kind
/// has completed, or when it goes to one server of many: the server may be slow, or something nearer may
/// have answered for it.
pub(crate) const STALL_SPAN: Duration = Duration::from_secs(5);

/// Over how long refusals must recur before they are more than an accident.
pub(crate) const REFUSAL_SPAN: Duration = Duration::from_secs(1);

// ---- How many refusals count ----

/// A refusal that is seen so often on one address is more than an accident.
pub(crate) const REPEATED: u32 = 2;

/// A refusal that is seen once on an address counts if it is seen so often in its row.
pub(crate) const SEVERAL: u32 = 4;

/// One error of the routing table is proof, because the table fails every attempt alike. Where others
/// pass, or another machine answers with the same error, that machine's may have been taken for this
/// host's own; then it takes so many.
pub(crate) const NO_ROUTE_AMONG_OTHERS: u32 = 3;

// ---- Controls: fresh flows to what has passed ----

/// How many fresh flows have to pass at once: a limit that grants one now and then does not grant several.
pub const CONTROLS_AT_ONCE: usize = 3;

// ---- Experiments ----

/// The chance that an experiment would have passed but for loss when it is called failed. It decides on
/// the wording of an accusation and on no accusation, so one in a thousand is little enough.
pub(crate) const EXPERIMENT_CHANCE: f64 = 1e-3;

/// An experiment gets at least so many tries; where nothing of its kind answers at all, these, which are
/// the tries of the first second, are all.
pub(crate) const FEWEST_EXPERIMENT_TRIES: u32 = 3;
/// An experiment gets at most so many tries.
pub(crate) const MOST_EXPERIMENT_TRIES: u32 = 5;

/// An experiment that has failed so often in another way than by silence has failed.
pub(crate) const EXPERIMENT_FAILURES: usize = 2;

/// How long silence takes to look like a cut that an experiment may explain: not so short that a busy
/// machine looks like a filter, nor as long as a satellite's round trip on a path not yet known.
pub(crate) const LOOKS_CUT_SOONEST: Duration = Duration::from_millis(400);
/// See [`LOOKS_CUT_SOONEST`].
pub(crate) const LOOKS_CUT_LATEST: Duration = Duration::from_millis(800);

/// How many silent tries of an address look like a cut where others pass: fewer may well be loss.
pub(crate) const LOOKS_CUT_TRIES: u32 = 3;
/// How many handshakes that were ended in the middle do: one may be an accident.
pub(crate) const LOOKS_CUT_HANDSHAKES: usize = 2;

// ---- Limits on new flows ----

/// How many addresses must fail one after the other before a limit is suspected. A path that loses a
/// third of all tries does that in one run of a hundred, where the price is a second or two.
pub(crate) const LIMIT_STRETCH: usize = 8;

/// How many addresses must have failed, and how many of them been reached later, before a limit is more
/// than a suspicion: a path that loses a third of all tries does that in one run of ten thousand.
pub(crate) const LIMIT_FAILED: usize = 12;
/// See [`LIMIT_FAILED`].
pub(crate) const LIMIT_RECOVERED: usize = 6;

/// For how long no new flow may have been answered before a limit is suspected. A busy machine finds
/// answers late, but it finds one after the other.
pub(crate) const LIMIT_STOPPED: Duration = Duration::from_millis(300);

/// How long nothing new is sent once a limit is suspected, so that it can recover.
pub(crate) const LIMIT_PAUSE: Duration = Duration::from_millis(500);

/// A first flow looks like a failure after four times the quickest answer and a little for scheduling.
/// The quickest answer can only become less, so what looked like a failure goes on to.
pub(crate) const FLOW_FAILS_ROUND_TRIPS: u32 = 4;
/// See [`FLOW_FAILS_ROUND_TRIPS`].
pub(crate) const FLOW_FAILS_MARGIN: Duration = Duration::from_millis(300);

/// This host may be too busy to read answers where a quarter of the handshakes takes longer than four
/// times the quickest one and a little for scheduling.
pub(crate) const BUSY_HANDSHAKES: u32 = 4;
/// See [`BUSY_HANDSHAKES`].
pub(crate) const BUSY_MARGIN: Duration = Duration::from_millis(200);
